//! Reads an input for the heads that read it in the same way.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::ProgressBar;
use microraptor::features::Geometry;
use microraptor::input::{Image, ReadOptions, Scan, ScanInfo, StreamFormat};
use microraptor::pipeline::{Answer, Pipeline};

use super::args::ChoiceArgs;
use super::loaded::Loaded;
use super::{limits, progress};

/// Heads with the same reading options: each file is decoded once for all of them.
pub struct Reading {
    pub read: ReadOptions,
    /// Indices of the heads.
    pub heads: Vec<usize>,
}

/// Groups `heads`, whose own options the command line's `choices` override.
pub fn readings(heads: &[Loaded], choices: &ChoiceArgs) -> Vec<Reading> {
    let mut readings: Vec<Reading> = Vec::new();
    for (i, Loaded { head, .. }) in heads.iter().enumerate() {
        let read = choices.over(&head.read);
        match readings.iter_mut().find(|reading| reading.read == read) {
            Some(reading) => reading.heads.push(i),
            None => readings.push(Reading { read, heads: vec![i] }),
        }
    }
    readings
}

/// A file that was read, and the answers of the heads.
pub struct Read {
    pub info: ScanInfo,
    pub geometry: Geometry,
    pub frames: usize,
    pub answers: Vec<Answer>,
}

impl Reading {
    /// Feeds the frames of `path` to the pipeline, in which these heads are selected; `-` is standard input in the format
    /// `stdin`.
    pub fn run(
        &self,
        pipeline: &mut Pipeline,
        path: &Path,
        stdin: StreamFormat,
        decode: &mut Duration,
        watched: &limits::Watched,
    ) -> anyhow::Result<Read> {
        let opened = Instant::now();
        let mut scan = match path.to_str() {
            Some("-") => Scan::from_stream("standard input", io::stdin(), stdin, &self.read)?,
            _ => Scan::open(path, &self.read)?,
        };
        *decode += opened.elapsed();
        // All threads share a single image. If there are many frames, each thread runs whole ones.
        let decoded = scan.info().size.map_or(0, |(height, width)| 3 * height * width);
        let together = if scan.info().frames == Some(1) { 1 } else { pipeline.together(decoded) };
        let bar = match scan.info().frames {
            Some(1) => ProgressBar::hidden(),
            Some(frames) => progress::bar(frames, "frames"),
            None => progress::spinner("frames"),
        };
        let mut seen = None;
        let mut count = 0;
        loop {
            let started = Instant::now();
            let frames = scan.by_ref().take(together).collect::<Result<Vec<Image>, _>>()?;
            *decode += started.elapsed();
            let Some(first) = frames.first() else { break };
            if path == Path::new("-") {
                // A live source may pause between frames: the time limit is for processing, not for waiting.
                watched.restart();
            }
            if seen.is_none() {
                let geometry = Geometry::of(scan.info(), first);
                pipeline.begin(&path.display().to_string(), geometry);
                seen = Some(geometry);
            }
            pipeline.extend(&frames)?;
            count += frames.len();
            bar.inc(frames.len() as u64);
        }
        bar.finish_and_clear();
        let Some(geometry) = seen else { bail!("{}: holds no frames", path.display()) };
        let answers = pipeline.finish()?;
        Ok(Read { info: scan.info().clone(), geometry, frames: count, answers })
    }
}
