//! The settings of the terminal while a password is typed: a signal must not leave a terminal that shows nothing.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal, and its settings before it was asked for a password.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Runs `ask`, which changes the terminal's settings for a while.
pub fn kept<T>(ask: impl FnOnce() -> T) -> T {
    let terminal = File::options().read(true).write(true).open("/dev/tty").ok();
    let settings = terminal.and_then(|terminal| tcgetattr(&terminal).ok().map(|now| (terminal, now)));
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    let answer = ask();
    restore();
    answer
}

/// Puts the settings back, if they are changed now.
pub fn restore() {
    if let Some((terminal, settings)) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs none.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &settings);
    }
}
