//! A benchmark case: a backbone or a peer at one input size on one number of threads.

use std::time::Instant;

use super::peer::Peer;
use super::{ProfileError, Row};
use crate::board::Cores;
use crate::encoder::OperatorTimes;
use crate::engine::{Engine, Session};
use crate::input::{Image, PhantomKind, phantom};
use crate::vit::Size;

/// One row of the table before its measurement, with the code that runs it.
pub(super) struct BenchCase {
    /// The row, without measurements.
    pub row: Row,
    pub cores: Cores,
    pub runner: Runner,
}

/// What runs a case.
pub(super) enum Runner {
    Engine {
        engine: Engine,
        /// Index of the session, which is shared with the cases of other sizes.
        session: usize,
        pixels: Vec<f32>,
    },
    Peer(Peer),
}

/// A phantom image for timing; the latency does not depend on the image's content.
pub fn picture(size: Size) -> Image {
    phantom(0, PhantomKind::Mass, size.height.max(size.width).clamp(64, 512)).image
}

impl BenchCase {
    /// Key of this case's parts in the journal: everything that identifies the row.
    pub fn key(&self) -> String {
        let row = &self.row;
        let isa = row.isa.as_deref().unwrap_or("-");
        let (name, backend) = (&row.model, &row.backend);
        format!(
            "{}/{name}/{backend}/{isa}/{}/{}@{}",
            row.sha256,
            row.size(),
            self.cores.threads(),
            self.cores.cpus()
        )
    }

    /// Runs once without timing: builds the plan, and refills the caches after another case has run.
    pub fn warm_up(&mut self, sessions: &mut [Session]) -> Result<(), ProfileError> {
        self.run(sessions).map(drop)
    }

    /// Runs once and returns the time in seconds.
    pub fn run(&mut self, sessions: &mut [Session]) -> Result<f64, ProfileError> {
        let size = self.row.size();
        match &mut self.runner {
            Runner::Engine { session, pixels, .. } => {
                let start = Instant::now();
                sessions[*session].run(pixels, size)?;
                Ok(start.elapsed().as_secs_f64())
            }
            Runner::Peer(peer) => Ok(peer.run()?.seconds),
        }
    }

    /// Runs one query of `images` images.
    pub fn query(&mut self, sessions: &mut [Session], images: usize) -> Result<(), ProfileError> {
        let size = self.row.size();
        match &mut self.runner {
            Runner::Engine { session, pixels, .. } if images == 1 => {
                sessions[*session].run(pixels, size)?;
            }
            Runner::Engine { session, pixels, .. } => {
                sessions[*session].run_batch(&vec![pixels.as_slice(); images], size)?;
            }
            // A peer processes one image at a time.
            Runner::Peer(peer) => (0..images).try_for_each(|_| peer.run().map(drop))?,
        }
        Ok(())
    }

    /// Times of the operators in the fastest of `runs` runs. The fastest is used because time that another process
    /// takes from a thread is attributed to the operator it interrupted. `None` if other code runs the model.
    pub fn operators(
        &mut self,
        sessions: &mut [Session],
        runs: usize,
    ) -> Result<Option<OperatorTimes>, ProfileError> {
        let Runner::Engine { session, pixels, .. } = &self.runner else { return Ok(None) };
        let (session, size) = (&mut sessions[*session], self.row.size());
        session.time_operators(true);
        let mut best: Option<OperatorTimes> = None;
        for _ in 0..runs {
            session.run(pixels, size)?;
            let Some(times) = session.operator_times() else { break };
            if best.is_none_or(|best| times.wall() < best.wall()) {
                best = Some(times);
            }
        }
        session.time_operators(false);
        Ok(best)
    }
}
