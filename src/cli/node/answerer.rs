//! Model and heads, and their answers to an object as DICOM files.

use std::path::Path;
use std::time::Duration;

use microraptor::Engine;
use microraptor::input::StreamFormat;
use microraptor::names::shown;
use microraptor::output::Inputs;
use microraptor::pipeline::{Answer, Pipeline};
use serde_json::{Value, json};

use crate::cli::answering::Answering;
use crate::cli::args::{ChoiceArgs, NodeArgs};
use crate::cli::attest::at_start;
use crate::cli::audit::Audit;
use crate::cli::loaded::{Loaded, named_in};
use crate::cli::reading::{Read, Reading, readings};
use crate::cli::{limits, objects};

/// What answers objects.
pub struct Answerer {
    engine: Engine,
    pipeline: Pipeline,
    heads: Vec<Loaded>,
    readings: Vec<Reading>,
    /// The files that were read.
    pub files: Inputs,
    /// Whether this machine computes what was validated.
    pub attest: Value,
}

impl Answerer {
    /// Opens all that `args` name.
    pub fn new(args: &NodeArgs) -> anyhow::Result<Answerer> {
        let chosen = Answering::new(&args.answering)?;
        if let Some(rest) = &chosen.rest {
            anyhow::bail!("{}: --deploy names the model: leave MODEL out", rest.display());
        }
        let heads = chosen.heads()?;
        let engine = chosen.engine()?;
        let mut pipeline = chosen.pipeline(&engine, &heads)?;
        let attest = at_start(args.start, &chosen, &engine, &heads)?;
        pipeline
            .limit(limits::max_memory().map_or(usize::MAX, |bytes| bytes.0.try_into().unwrap_or(usize::MAX)));
        let readings = readings(&heads, &ChoiceArgs::default());
        let mut files = Inputs::default();
        chosen.add_files(&mut files);
        Ok(Answerer { engine, pipeline, heads, readings, files, attest })
    }

    /// Answers the object in the file `path`: writes a file for each head into `folder`. Returns their kinds.
    pub fn answer(&mut self, path: &Path, folder: &Path) -> anyhow::Result<Vec<&'static str>> {
        let answered = self.answer_by_each(path, folder);
        if answered.is_err() {
            self.pipeline.clear();
        }
        answered
    }

    fn answer_by_each(&mut self, path: &Path, folder: &Path) -> anyhow::Result<Vec<&'static str>> {
        let Answerer { engine, pipeline, heads, readings, .. } = self;
        let watched = limits::Watched::new(path.display().to_string());
        let mut kinds = Vec::new();
        for reading in readings.iter() {
            pipeline.select(&reading.heads);
            let found = reading.run(pipeline, path, StreamFormat::Y4m, &mut Duration::default(), &watched);
            let Read { info, answers, .. } = found.map_err(|error| named_in(error, path, heads))?;
            for Answer { head, outcome, ood, .. } in answers {
                let kind = objects::kind(&outcome);
                let to = folder.join(format!("{}.{kind}.dcm", head + 1));
                objects::write(&to, &info, &heads[head], &outcome, ood, engine.about())?;
                kinds.push(kind);
            }
        }
        Ok(kinds)
    }

    /// Writes down what answers.
    pub fn write_down(&self, audit: &mut Audit) -> anyhow::Result<()> {
        audit.loaded(self.engine.about(), &self.heads, self.pipeline.session().threads())?;
        audit.attested(&self.attest)
    }

    /// The model in a line.
    pub fn about(&self) -> Value {
        let about = self.engine.about();
        json!({"name": about.name, "sha256": about.sha256, "runs_on": about.runs_on()})
    }

    /// The heads' files.
    pub fn names(&self) -> Vec<String> {
        self.heads.iter().map(|loaded| shown(&loaded.path)).collect()
    }
}
