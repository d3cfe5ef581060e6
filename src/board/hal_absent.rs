//! Stub for external meters and pins in builds without them: every request returns an error that says so.

use std::time::Duration;

use super::energy::PowerMeter;
use super::{BoardError, MeterSpec, Pin, Pins, Signal};

/// Always fails in this build.
///
/// # Errors
/// [`BoardError::NotBuilt`], always.
pub fn open_meter(spec: &MeterSpec) -> Result<Box<dyn PowerMeter>, BoardError> {
    Err(absent(format!("read the {spec}")))
}

/// Open pins. In this build there can be none, so no value of this type exists.
#[derive(Debug)]
pub enum Signals {}

impl Signals {
    /// Always fails in this build.
    ///
    /// # Errors
    /// [`BoardError::NotBuilt`], always.
    pub fn open(pins: &Pins) -> Result<Signals, BoardError> {
        let named = [&pins.busy, &pins.status, &pins.trigger].into_iter().flatten();
        let lines = named.map(|Pin { chip, line, .. }| format!("{chip} line {line}"));
        Err(absent(format!("use pins ({})", lines.collect::<Vec<_>>().join(", "))))
    }

    /// Whether there is a pin for this signal.
    pub fn has(&self, _: Signal) -> bool {
        match *self {}
    }

    /// Runs `work`.
    ///
    /// # Errors
    /// Never.
    pub fn around<T>(&mut self, _: impl FnOnce() -> T) -> Result<T, BoardError> {
        match *self {}
    }

    /// Sets the status pin.
    ///
    /// # Errors
    /// Never.
    pub fn status(&mut self, _: bool) -> Result<(), BoardError> {
        match *self {}
    }

    /// Waits for the trigger.
    ///
    /// # Errors
    /// Never.
    pub fn wait(&mut self, _: Duration) -> Result<bool, BoardError> {
        match *self {}
    }
}

fn absent(what: String) -> BoardError {
    BoardError::NotBuilt { what, feature: "hal" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;

    #[test]
    fn what_is_left_out_says_how_to_get_it() {
        let spec: MeterSpec = "ina226:/dev/i2c-1:0x40:0.01".parse().unwrap();
        let error = open_meter(&spec).map(|meter| meter.name()).unwrap_err().to_string();
        let expected = "this build cannot read the ina226 at address 0x40 of /dev/i2c-1: build it on Linux with the feature hal";
        assert_eq!(error, expected);
        let pins = Board::named("raspberry-pi-5").unwrap().pins_for(&[Signal::Busy]).unwrap();
        let error = Signals::open(&pins).unwrap_err().to_string();
        assert!(error.starts_with("this build cannot use pins (pinctrl-rp1 line 25): build"), "{error}");
    }
}
