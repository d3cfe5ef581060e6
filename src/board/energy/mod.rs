//! Energy: power meters, detection of this machine's meters, and a thread that reads them during a measurement.

mod rail;
mod rapl;
mod sampler;

pub use rail::RailMeter;
pub use rapl::{RaplMeter, package_joules};
pub use sampler::{DEFAULT_INTERVAL, Measured, Sampler};

use super::{Board, BoardError, Root};

/// A power meter.
pub trait PowerMeter: Send {
    /// What the meter is and what it measures, for people.
    fn name(&self) -> String;

    /// Current power, or the mean since the last reading if the hardware counts energy.
    ///
    /// # Errors
    /// [`BoardError::Meter`]: the meter cannot be read.
    fn milliwatts(&mut self) -> Result<f64, BoardError>;

    /// Energy in joules since the meter was created, if the hardware counts it; `None` if it must be integrated from
    /// power readings.
    fn joules(&mut self) -> Option<f64> {
        None
    }
}

/// This machine's built-in meters: the rail of its board file, and RAPL if it is readable. Empty on most boards and, as
/// RAPL requires root, on most PCs.
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
