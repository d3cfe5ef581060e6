//! Trains a linear head on frozen features, saves it, and reports its performance on the held-out images:
//! `cargo run --release --example train_and_predict -- MODEL HEAD [DATA]`
//!
//! DATA is a folder with one subfolder per class, or a CSV table (docs/heads.md); without it, phantoms are generated.

use std::error::Error;

use microraptor::training::{
    Bootstrap, Dataset, DrawnSplit, EvaluationSet, Provenance, Recipe, Request, evaluate, gather,
    phantom_dataset,
};
use microraptor::{Engine, Head, Isa, ReadOptions, Size};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, output, rest @ ..] = &args[..] else { return Err("give MODEL and HEAD".into()) };
    let data = match rest.first() {
        Some(path) => Dataset::open(path)?,
        None => phantom_dataset(1, 12, 96),
    };

    // Compute the features of all images once.
    let engine = Engine::open(model)?;
    let mut session = engine.session(2)?;
    let (size, read) = (Size::square(96), ReadOptions::default());
    let request = Request { size, preprocess: &engine.about().preprocess, read: &read, tokens: None };
    let all: Vec<usize> = (0..data.samples.len()).collect();
    let features = gather(&mut session, &data, &all, &request, None, &|| {})?;

    // A quarter of each class is held out.
    let parts = data.split(1, 0.25)?;
    let multi_label = data.is_multi_label();
    let set = EvaluationSet { data: &data, mask_classes: &[], features: &features, masks: &[], multi_label };
    let recipe = Recipe::default();
    let fitted = recipe.fit(&set, &parts.train, &parts.val, Isa::best(), &mut |_, _| {})?;
    let judgement = evaluate(&fitted.model, &set, &parts.val, None, Isa::best(), &Bootstrap::default())?;
    let (examples, validation) = ((&parts.train[..], &parts.val[..]), (&judgement).into());
    let provenance = Provenance { read, drawn: DrawnSplit::of(&data, 1, 0.25) };
    let head = Head::fitted(engine.about(), size, &set, examples, fitted, validation, provenance)?;
    head.save(output)?;
    println!("{output}: classes {:?}", head.model.classes());
    println!("{:?}", head.training.validation);
    Ok(())
}
