//! What is timed: a backbone, or a peer, at one size on some threads.

use std::time::Instant;

use super::peer::Peer;
use super::{ProfileError, Row};
use crate::board::Cores;
use crate::encoder::OperatorTimes;
use crate::engine::{Engine, Session};
use crate::input::{Image, PhantomKind, phantom};
use crate::vit::Size;

/// A row to be, and what runs it.
pub(super) struct BenchCase {
    /// The row, without what is measured.
    pub row: Row,
    pub cores: Cores,
    pub runner: Runner,
}

/// What runs a case.
pub(super) enum Runner {
    Engine {
        engine: Engine,
        /// Number of the session, which cases of other sizes share.
        session: usize,
        pixels: Vec<f32>,
    },
    Peer(Peer),
}

/// A picture like those of the field, for timing: the time does not depend on what it shows.
pub fn picture(size: Size) -> Image {
    phantom(0, PhantomKind::Mass, size.height.max(size.width).clamp(64, 512)).image
}

impl BenchCase {
    /// The key of its parts in the journal: what the row is, to the last digit.
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

    /// Runs once without a clock: builds the plan, and brings the caches back after another case's turn.
    pub fn warm_up(&mut self, sessions: &mut [Session]) -> Result<(), ProfileError> {
        self.run(sessions).map(drop)
    }

    /// Seconds of one run.
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

    /// Runs `images` images at once.
    pub fn query(&mut self, sessions: &mut [Session], images: usize) -> Result<(), ProfileError> {
        let size = self.row.size();
        match &mut self.runner {
            Runner::Engine { session, pixels, .. } if images == 1 => {
                sessions[*session].run(pixels, size)?;
            }
            Runner::Engine { session, pixels, .. } => {
                sessions[*session].run_batch(&vec![pixels.as_slice(); images], size)?;
            }
            // A peer takes one image after the other.
            Runner::Peer(peer) => (0..images).try_for_each(|_| peer.run().map(drop))?,
        }
        Ok(())
    }

    /// Times of the operators in the fastest of `runs` runs: what another process takes of a thread counts to whichever
    /// operator it was in. None where other code runs the model.
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
