//! Pins of the board: what lamps show, and what a pedal asks for.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use microraptor::board::hal::Signals;
use microraptor::board::{Board, BoardError, Machine, Root, Signal};

use super::line::Event;
use super::outlet::{Outlet, Told};
use crate::cli::args::StreamArgs;

/// How long the trigger is waited for at a time.
const TRIGGER: Duration = Duration::from_secs(1);

/// The pins that were asked for, each opened by itself since others use them.
#[derive(Default)]
pub struct Pins {
    pub busy: Option<Signals>,
    pub status: Option<Signals>,
    pub trigger: Option<Trigger>,
}

impl Pins {
    /// Opens the pins that `args` name.
    pub fn open(args: &StreamArgs) -> anyhow::Result<Pins> {
        let mut pins = Pins::default();
        if args.signals.is_empty() {
            return Ok(pins);
        }
        if args.signals.contains(&Signal::Trigger) && (args.smooth > 1 || args.window.is_some()) {
            bail!(
                "--signals trigger: presses may be minutes apart, and their frames not be averaged: leave --smooth and --window out"
            );
        }
        let machine = Machine::read(&Root::live());
        let Some(board) = args.answering.threads.placement.board_or_recognised(&machine)? else {
            bail!("--signals: no board file fits this machine: name one with --board");
        };
        let open = |board: &Board, signal| Signals::open(&board.pins_for(&[signal])?);
        for &signal in &args.signals {
            match signal {
                Signal::Busy => pins.busy = Some(open(&board, signal)?),
                Signal::Status => pins.status = Some(open(&board, signal)?),
                Signal::Trigger => pins.trigger = Some(Trigger::new(open(&board, signal)?)?),
            }
        }
        Ok(pins)
    }
}

/// A pedal or a button. A thread waits for it.
pub struct Trigger(Arc<Mutex<Pressed>>);

#[derive(Default)]
struct Pressed {
    last: Option<Instant>,
    failed: Option<BoardError>,
}

impl Trigger {
    fn new(mut signals: Signals) -> anyhow::Result<Trigger> {
        let trigger = Trigger(Arc::default());
        let pressed = Arc::downgrade(&trigger.0);
        thread::Builder::new().name("trigger".into()).spawn(move || {
            while let Some(pressed) = pressed.upgrade() {
                let waited = signals.wait(TRIGGER);
                let mut pressed = pressed.lock().unwrap_or_else(PoisonError::into_inner);
                match waited {
                    Ok(true) => pressed.last = Some(Instant::now()),
                    Ok(false) => {}
                    Err(error) => {
                        pressed.failed = Some(error);
                        return;
                    }
                }
            }
        })?;
        Ok(trigger)
    }

    /// Whether it was pressed since the last call, and before `exposed`.
    pub fn asks_for(&self, exposed: Instant) -> anyhow::Result<bool> {
        let mut pressed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = pressed.failed.take() {
            return Err(failed.into());
        }
        Ok(pressed.last.take_if(|pressed| *pressed <= exposed).is_some())
    }
}

/// A lamp: on while answers are in time.
pub struct StatusPin<L>(pub L);

/// What can be switched on and off.
pub trait Lamp: Send {
    fn set(&mut self, on: bool) -> Result<(), BoardError>;
}

impl Lamp for Signals {
    fn set(&mut self, on: bool) -> Result<(), BoardError> {
        self.status(on)
    }
}

impl<L: Lamp> Outlet for StatusPin<L> {
    fn name(&self) -> String {
        "--signals status".into()
    }

    fn told(&mut self, told: &Told) -> anyhow::Result<()> {
        let on = match told.event {
            Event::Frame(line) => {
                let answered = told.seen.is_some_and(|seen| seen.outcomes.iter().any(Option::is_some));
                answered && line.late != Some(true)
            }
            Event::Stalled { .. } | Event::Stuck { .. } | Event::Ended { .. } => false,
            _ => return Ok(()),
        };
        Ok(self.0.set(on)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stream::line::Counts;

    struct Seen(Vec<bool>);

    impl Lamp for Seen {
        fn set(&mut self, on: bool) -> Result<(), BoardError> {
            self.0.push(on);
            Ok(())
        }
    }

    #[test]
    fn a_lamp_goes_out_with_a_stall_and_at_the_end() {
        let mut pin = StatusPin(Seen(Vec::new()));
        let counts = Counts::default();
        for event in [
            Event::Stalled { seconds: 2.0, blank: false },
            Event::Resumed,
            Event::Ended { reason: "signal", problem: None, counts },
        ] {
            pin.told(&Told { event: &event, json: "", counts, seen: None }).unwrap();
        }
        assert_eq!(pin.0.0, [false, false]);
    }

    #[test]
    fn a_press_asks_for_one_frame_that_is_exposed_after_it() {
        let trigger = Trigger(Arc::default());
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!trigger.asks_for(after(0)).unwrap());
        trigger.0.lock().unwrap().last = Some(after(10));
        assert!(!trigger.asks_for(after(9)).unwrap());
        assert!(trigger.asks_for(after(11)).unwrap());
        assert!(!trigger.asks_for(after(12)).unwrap());
        trigger.0.lock().unwrap().failed = Some(BoardError::NotOpened(Signal::Trigger));
        assert!(trigger.asks_for(after(13)).is_err());
    }
}
