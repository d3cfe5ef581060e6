//! What is counted.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::cli::stream::line::{Counts, Event, FrameLine};
use crate::cli::stream::opened::Opened;

/// Upper bounds of the buckets of a histogram, in seconds: a frame of a camera takes 0.033 or 0.017, and a run from a
/// millisecond to a second.
pub const BOUNDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.017, 0.025, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

/// How often a time was how long.
#[derive(Clone, Default)]
pub struct Histogram {
    /// Of each bucket, and above the last one; not of those below.
    pub counts: [u64; BOUNDS.len() + 1],
    /// In seconds.
    pub sum: f64,
}

impl Histogram {
    fn add(&mut self, milliseconds: f64) {
        let seconds = milliseconds / 1e3;
        self.counts[BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len())] += 1;
        self.sum += seconds;
    }
}

/// A model or head, by what it is called and its digest.
#[derive(Clone)]
pub struct Named {
    pub name: String,
    pub sha256: String,
}

/// All that is known of a stream.
#[derive(Clone)]
pub struct Numbers {
    pub model: Named,
    pub runs_on: String,
    pub heads: Vec<Named>,
    pub counts: Counts,
    pub age: Histogram,
    /// Where the time went: name and times.
    pub stages: [(&'static str, Histogram); 4],
    pub stalled: bool,
    pub stuck: bool,
    /// When the last frame was told of, or the start.
    pub last: Instant,
    /// In seconds.
    pub deadline: Option<f64>,
}

impl Numbers {
    pub fn new(opened: &Opened) -> Numbers {
        let heads =
            opened.heads.iter().map(|head| Named { name: stem(&head.path), sha256: head.sha256.clone() });
        let (model, runs_on) = model(&opened.about());
        Numbers {
            model,
            runs_on,
            heads: heads.collect(),
            counts: Counts::default(),
            age: Histogram::default(),
            stages: ["wait", "resize", "backbone", "heads"].map(|stage| (stage, Histogram::default())),
            stalled: false,
            stuck: false,
            last: Instant::now(),
            deadline: None,
        }
    }

    /// Adds what happened.
    pub fn add(&mut self, event: &Event, counts: Counts) {
        self.counts = counts;
        match event {
            Event::Started { deadline_ms, .. } => self.deadline = deadline_ms.map(|ms| ms / 1e3),
            Event::Frame(line) => self.frame(line),
            Event::Stalled { .. } => self.stalled = true,
            Event::Resumed => self.stalled = false,
            Event::Stuck { .. } => self.stuck = true,
            Event::Reloaded { model: value, .. } => (self.model, self.runs_on) = model(value),
            _ => {}
        }
    }

    fn frame(&mut self, line: &FrameLine) {
        self.last = Instant::now();
        self.stuck = false;
        if line.withheld.is_some() {
            return;
        }
        self.age.add(line.ms.age);
        let times = [line.ms.wait, line.ms.resize, line.ms.backbone, line.ms.head];
        self.stages.iter_mut().zip(times).for_each(|((_, stage), time)| stage.add(time));
        // Others after SIGHUP.
        let changed = self.heads.len() != line.heads.len()
            || self.heads.iter().zip(&line.heads).any(|(known, head)| known.sha256 != head.sha256());
        if changed {
            let named = |head: &crate::cli::head_line::HeadLine| Named {
                name: stem(Path::new(head.file())),
                sha256: head.sha256().to_owned(),
            };
            self.heads = line.heads.iter().map(named).collect();
        }
    }
}

/// A head's file without its folders, which may be anything.
fn stem(path: &Path) -> String {
    microraptor::names::shown(path.file_stem().unwrap_or(path.as_os_str()))
}

fn model(about: &Value) -> (Named, String) {
    let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
    (Named { name: text("name"), sha256: text("sha256") }, text("runs_on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for milliseconds in [0.0, 1.0, 1.001, 33.0, 5000.0, 1e6] {
            histogram.add(milliseconds);
        }
        let mut expected = [0; BOUNDS.len() + 1];
        for (bucket, count) in [(0, 2), (1, 1), (6, 1), (12, 1), (13, 1)] {
            expected[bucket] = count;
        }
        assert_eq!(histogram.counts, expected);
        assert!((histogram.sum - 1_005.035_001).abs() < 1e-9);
    }
}
