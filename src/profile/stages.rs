//! Times the stages from a file to a prediction.

use std::time::Instant;

use super::case::{BenchCase, Runner};
use super::stats::median;
use super::{Data, Options, ProfileError, Stages};
use crate::encoder::Operator;
use crate::engine::{Engine, Session};
use crate::features::{Collector, Geometry};
use crate::heads::{HeadModel, Predictor};
use crate::input::{Dataset, Preprocessor, Source};
use crate::kernels::Isa;

/// Maximum number of files that stages are measured on; only the first frame of each is used.
const FILES: usize = 16;

/// Times of one file, milliseconds.
struct Times {
    decode: f64,
    resize: f64,
    embed: f64,
    blocks: f64,
    head: Option<f64>,
}

/// Median time of each stage over the first files of `data`; `None` if the images are not files or a peer runs the
/// model.
///
/// # Errors
/// [`ProfileError`] if a file cannot be read or the backbone fails.
pub(super) fn measure(
    case: &BenchCase,
    sessions: &mut [Session],
    data: &Data,
    options: &Options,
    head: Option<&HeadModel>,
) -> Result<Option<Stages>, ProfileError> {
    let Runner::Engine { session, .. } = &case.runner else { return Ok(None) };
    let session = &mut sessions[*session];
    let size = case.row.size();
    let layers = options.recipe.tokens();
    session.keep_layers(layers.unwrap_or_default())?;
    session.time_operators(true);
    let head = head.map(|model| predictor(session.engine(), model));
    let mut preprocessor = Preprocessor::new(size, session.engine().about().preprocess);
    let mut pixels = Vec::new();
    let mut all = Vec::new();
    for source in files(&data.set) {
        let start = Instant::now();
        let mut scan = source.scan(&options.read)?;
        let Some(frame) = scan.next().transpose()? else { continue };
        let decoded = Instant::now();
        preprocessor.run(&frame, &mut pixels);
        let resized = Instant::now();
        // Builds the plan and fills the caches before timing.
        session.run(&pixels, size)?;
        let running = Instant::now();
        let features = session.run(&pixels, size)?;
        let backbone = running.elapsed();
        let mut collector = Collector::new(layers.map(|layers| (0..layers.len()).collect()));
        collector.add(features)?;
        let times = session.operator_times();
        let embed = times.map_or(0, |t| t.of(Operator::PatchEmbed) / t.threads().max(1) as u64) as f64 / 1e6;
        let features = collector.finish(Geometry::of(scan.info(), &frame));
        let predicting = Instant::now();
        let answered = head.as_ref().map(|head| head.predict(&features)).transpose()?;
        let head = answered.map(|_| predicting.elapsed().as_secs_f64() * 1e3);
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        all.push(Times {
            decode: ms(decoded - start),
            resize: ms(resized - decoded),
            embed,
            blocks: ms(backbone) - embed,
            head,
        });
    }
    session.time_operators(false);
    session.keep_layers(&[])?;
    Ok(summary(&all))
}

/// The head on the instruction set that `engine` runs on, or on the best one available if other code runs the backbone.
fn predictor<'a>(engine: &Engine, model: &'a HeadModel) -> Predictor<'a> {
    Predictor::new(model, engine.about().backend.isa().unwrap_or_else(Isa::best))
}

fn summary(all: &[Times]) -> Option<Stages> {
    let of = |stage: fn(&Times) -> Option<f64>| median(&all.iter().filter_map(stage).collect::<Vec<_>>());
    let whole = |t: &Times| Some(t.decode + t.resize + t.embed + t.blocks + t.head.unwrap_or(0.0));
    Some(Stages {
        images: all.len(),
        decode_ms: of(|t| Some(t.decode))?,
        resize_ms: of(|t| Some(t.resize))?,
        embed_ms: of(|t| Some(t.embed))?,
        blocks_ms: of(|t| Some(t.blocks))?,
        head_ms: of(|t| t.head),
        total_ms: of(whole)?,
    })
}

fn files(data: &Dataset) -> impl Iterator<Item = &Source> {
    let is_file = |source: &&Source| matches!(source, Source::File(_));
    data.samples.iter().map(|sample| &sample.source).filter(is_file).take(FILES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Model;
    use crate::heads::LinearHead;

    #[test]
    fn the_head_runs_on_the_instruction_set_of_the_row() {
        let parts = [vec![0.0], vec![1.0], vec![0.5; 2], vec![0.0; 2]];
        let head = LinearHead::new(vec!["a".into(), "b".into()], false, 0.5, parts).unwrap();
        let head = HeadModel::Linear(head);
        for isa in Isa::available() {
            let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), isa);
            assert_eq!(predictor(&engine, &head).isa(), isa);
        }
    }
}
