//! Purposes of a board's pins.

use std::fmt;
use std::str::FromStr;

use super::{Board, BoardError, Pin, Pins};

/// Purpose of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Output, high during an inference: for a logic analyser.
    Busy,
    /// Output, high during a measurement: an LED.
    Status,
    /// Input: a foot pedal or a button.
    Trigger,
}

impl Signal {
    /// All signals.
    pub const ALL: [Signal; 3] = [Signal::Busy, Signal::Status, Signal::Trigger];

    /// Name in board files: `busy`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Busy => "busy",
            Signal::Status => "status",
            Signal::Trigger => "trigger",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(name: &str) -> Result<Signal, String> {
        let found = Signal::ALL.into_iter().find(|signal| signal.name() == name);
        found.ok_or_else(|| "a signal is busy, status or trigger".to_owned())
    }
}

impl Board {
    /// Only the pins for these signals.
    ///
    /// # Errors
    /// [`BoardError::NoPin`]: the board file has no such pin.
    pub fn pins_for(&self, signals: &[Signal]) -> Result<Pins, BoardError> {
        let of = |signal: Signal, pin: &Option<Pin>| {
            let wanted = signals.contains(&signal);
            if wanted && pin.is_none() {
                return Err(BoardError::NoPin { signal, board: self.name.clone() });
            }
            Ok(pin.clone().filter(|_| wanted))
        };
        Ok(Pins {
            busy: of(Signal::Busy, &self.pins.busy)?,
            status: of(Signal::Status, &self.pins.status)?,
            trigger: of(Signal::Trigger, &self.pins.trigger)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pins_that_were_asked_for() {
        let board = Board::named("raspberry-pi-5").unwrap();
        let pins = board.pins_for(&[Signal::Busy]).unwrap();
        assert_eq!(pins, Pins { busy: board.pins.busy.clone(), ..Pins::default() });
        assert_eq!(board.pins_for(&Signal::ALL).unwrap(), board.pins);
        let pc = Board::named("generic-x86-64").unwrap();
        assert_eq!(pc.pins_for(&[]).unwrap(), Pins::default());
        let error = pc.pins_for(&["trigger".parse().unwrap()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "pin trigger (board generic-x86-64): its file names no such pin: add trigger to [pins] in one of your own"
        );
        assert!("led".parse::<Signal>().unwrap_err().contains("busy, status or trigger"));
    }
}
