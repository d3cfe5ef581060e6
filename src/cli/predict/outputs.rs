//! `predict --output`: outputs of the model's own graph in place of heads.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use microraptor::Engine;
use microraptor::heads::{Head, OutputHead, class_names};

use crate::cli::args::PredictArgs;
use crate::cli::backbone;
use crate::cli::loaded::Loaded;

/// The outputs that the arguments name, as heads. The model runs once, on waves, to tell their shapes.
pub fn heads(engine: &Engine, args: &PredictArgs) -> anyhow::Result<Vec<Loaded>> {
    let about = engine.about();
    let size = backbone::size(args.size.or(engine.fixed_size()), &about.preprocess);
    engine.check_size(size)?;
    let mut session = engine.session(1)?;
    let pixels: Vec<f32> = (0..3 * size.area()).map(|i| (i as f32 * 0.37).sin()).collect();
    let features = session.run(&pixels, size)?;
    let names = args.classes.as_deref().map(class_names).transpose()?;
    let mut heads = Vec::new();
    for name in &args.outputs {
        let Some(output) = features.output(name) else {
            let others: Vec<&str> = features.outputs.iter().map(|output| output.name.as_str()).collect();
            match &others[..] {
                [] => bail!("{} has no output '{name}': it gives features only, for a head", about.name),
                others => bail!("{} has no output '{name}': it has {}", about.name, others.join(", ")),
            }
        };
        let mask = output.shape.len() > 2;
        let classes = match (&names, &output.shape[..]) {
            (Some(names), _) => names.clone(),
            (None, &[1, 1, _, _]) => vec!["0".into(), "1".into()],
            (None, &[1, classes] | &[1, classes, _, _]) => {
                (0..classes).map(|class| class.to_string()).collect()
            }
            (None, shape) => {
                bail!("output '{name}' of shape {shape:?} does not tell its classes: name them (--classes)")
            }
        };
        let head = OutputHead::new(name.clone(), classes, args.activation, mask, args.threshold)
            .with_context(|| format!("output '{name}'"))?;
        let head = Arc::new(Head::of_output(head, about, size));
        heads.push(Loaded {
            path: PathBuf::from(name),
            sha256: about.sha256.clone(),
            head,
            sets: None,
            contours: None,
        });
    }
    Ok(heads)
}
