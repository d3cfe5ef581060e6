//! A power rail with a hwmon sensor, as a meter.

use super::PowerMeter;
use crate::board::sensors::{Channel, channels};
use crate::board::{Board, BoardError, MeterError, Rail, Root};

/// Text in board files for a rail that feeds the whole module.
const WHOLE: &str = "the whole module";

/// A power rail in hwmon.
#[derive(Clone, Debug)]
pub struct RailMeter {
    root: Root,
    channel: Channel,
    feeds: Option<String>,
}

impl RailMeter {
    /// The rail with label `label` of the hwmon device `chip`; `None` if it is missing or cannot be read.
    pub fn find(root: &Root, chip: &str, label: &str) -> Option<RailMeter> {
        let same = |channel: &Channel| channel.chip == chip && channel.label == label;
        let channel = channels(root).into_iter().map(|(channel, ..)| channel).find(same)?;
        Some(RailMeter { root: root.clone(), channel, feeds: None })
    }

    /// The board file's rail that feeds the whole module, otherwise the first one listed. On some boards (Jetson AGX
    /// Orin) no rail feeds everything, so the meter's name states what it feeds.
    pub fn of_board(root: &Root, board: &Board) -> Option<RailMeter> {
        let rails = &board.sensors.power;
        let rail = rails.iter().find(|rail| rail.feeds == WHOLE).or(rails.first())?;
        let Rail { chip, label, feeds } = rail;
        Some(RailMeter { feeds: Some(feeds.clone()), ..RailMeter::find(root, chip, label)? })
    }
}

impl PowerMeter for RailMeter {
    fn name(&self) -> String {
        let feeds = self.feeds.as_ref().map(|feeds| format!(" ({feeds})")).unwrap_or_default();
        format!("{} {}{feeds}", self.channel.chip, self.channel.label)
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        let reading = self.channel.read(&self.root).map(|(milliwatts, _)| milliwatts);
        reading.ok_or_else(|| BoardError::Meter { meter: self.name(), reason: MeterError::NoSensor })
    }
}
