//! Energy: meters of power, what this machine has of them, and a thread that reads them while something runs.

mod rail;
mod rapl;
mod sampler;

pub use rail::RailMeter;
pub use rapl::{RaplMeter, package_joules};
pub use sampler::{DEFAULT_INTERVAL, Measured, Sampler};

use super::{Board, BoardError, Root};

/// Something that measures power.
pub trait PowerMeter: Send {
    /// What it is and what it measures, for people.
    fn name(&self) -> String;

    /// Power now, or since the last reading where the hardware counts energy.
    ///
    /// # Errors
    /// [`BoardError::Meter`]: the meter cannot be read.
    fn milliwatts(&mut self) -> Result<f64, BoardError>;

    /// Energy in joules since the meter was made, where the hardware counts it; None where it has to be summed from
    /// readings of the power.
    fn joules(&mut self) -> Option<f64> {
        None
    }
}

/// The meters that this machine has built in: the rail of its board file, and RAPL where it may be read. Empty on most
/// boards and, as RAPL is root's, on most PCs.
pub fn meters(root: &Root, board: Option<&Board>) -> Vec<Box<dyn PowerMeter>> {
    let mut all: Vec<Box<dyn PowerMeter>> = Vec::new();
    if let Some(rail) = board.and_then(|board| RailMeter::of_board(root, board)) {
        all.push(Box::new(rail));
    }
    if let Some(rapl) = RaplMeter::open(root) {
        all.push(Box::new(rapl));
    }
    all
}

#[cfg(test)]
mod tests;
