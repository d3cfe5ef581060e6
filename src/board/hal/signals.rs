//! Signals to and from external hardware: busy, status, trigger.

use std::fmt::Display;
use std::time::{Duration, Instant};

use embedded_hal::digital::{InputPin, OutputPin};
use linux_embedded_hal::CdevPin;

use super::debounce::Debounce;
use crate::board::{BoardError, PinError, Signal};

/// Interval between two readings of the trigger.
const POLL: Duration = Duration::from_millis(2);

/// An open pin.
#[derive(Debug)]
pub struct OpenPin<P> {
    /// The pin.
    pub pin: P,
    /// Chip and line, for error messages: `pinctrl-rp1 line 25`.
    pub place: String,
}

/// The requested pins. Outputs are set low on drop.
pub struct Signals<P: OutputPin<Error: Display> = CdevPin, I: InputPin<Error: Display> = CdevPin> {
    /// High during an inference.
    pub busy: Option<OpenPin<P>>,
    /// High during a measurement.
    pub status: Option<OpenPin<P>>,
    /// Goes from low to high when pressed.
    pub trigger: Option<OpenPin<I>>,
}

impl<P: OutputPin<Error: Display>, I: InputPin<Error: Display>> Signals<P, I> {
    /// Whether there is a pin for this signal.
    pub fn has(&self, signal: Signal) -> bool {
        match signal {
            Signal::Busy => self.busy.is_some(),
            Signal::Status => self.status.is_some(),
            Signal::Trigger => self.trigger.is_some(),
        }
    }

    /// Runs `work` with the busy pin high, if there is one, and lowers the pin afterwards, even on a panic. The pin is
    /// high for the duration of `work` plus two system calls.
    ///
    /// # Errors
    /// [`BoardError::Pin`]: the pin cannot be raised, in which case `work` does not run, or it cannot be lowered.
    pub fn around<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, BoardError> {
        let Some(busy) = &mut self.busy else { return Ok(work()) };
        let raised = Raised(busy);
        raised.0.set(Signal::Busy, true)?;
        let result = work();
        raised.0.set(Signal::Busy, false)?;
        std::mem::forget(raised);
        Ok(result)
    }

    /// Sets the status pin, if there is one.
    ///
    /// # Errors
    /// [`BoardError::Pin`]: the pin cannot be set.
    pub fn status(&mut self, on: bool) -> Result<(), BoardError> {
        self.status.as_mut().map_or(Ok(()), |status| status.set(Signal::Status, on))
    }

    /// Waits until the trigger is pressed: low for 10 ms, then high for 10 ms. Returns whether it was pressed within
    /// `timeout`. A press while nothing is waiting is lost.
    ///
    /// # Errors
    /// [`BoardError::Pin`]: the pin cannot be read. [`BoardError::NotOpened`]: it was not requested.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, BoardError> {
        let signal = Signal::Trigger;
        let Some(OpenPin { pin, place }) = &mut self.trigger else {
            return Err(BoardError::NotOpened(signal));
        };
        let start = Instant::now();
        let mut debounce = Debounce::new();
        loop {
            let high = pin.is_high().map_err(|error| {
                let reason = PinError::Read(error.to_string());
                BoardError::Pin { signal, place: place.clone(), reason }
            })?;
            if debounce.press(high) {
                return Ok(true);
            }
            if start.elapsed() >= timeout {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl<P: OutputPin<Error: Display>> OpenPin<P> {
    fn set(&mut self, signal: Signal, high: bool) -> Result<(), BoardError> {
        self.pin.set_state(high.into()).map_err(|error| {
            let reason = PinError::Set { high, error: error.to_string() };
            BoardError::Pin { signal, place: self.place.clone(), reason }
        })
    }
}

impl<P: OutputPin<Error: Display>, I: InputPin<Error: Display>> Drop for Signals<P, I> {
    fn drop(&mut self) {
        for output in self.busy.iter_mut().chain(&mut self.status) {
            let _ = output.pin.set_low();
        }
    }
}

/// Lowers the pin on drop.
struct Raised<'a, P: OutputPin>(&'a mut OpenPin<P>);

impl<P: OutputPin> Drop for Raised<'_, P> {
    fn drop(&mut self) {
        let _ = self.0.pin.set_low();
    }
}
