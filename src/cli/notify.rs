//! What systemd is told (sd_notify(3)); without it, as on other systems, nobody.

use std::time::{Duration, Instant};

/// How often the status is told.
const OFTEN: Duration = Duration::from_secs(1);

/// The supervisor.
#[derive(Default)]
pub struct Supervisor {
    last: Option<Instant>,
}

impl Supervisor {
    /// Model and source are open.
    pub fn ready(&self) {
        tell("READY=1");
    }

    /// The program lives; `status`, which is asked for once a second, says what it does.
    pub fn alive(&mut self, status: impl FnOnce() -> String) {
        if self.last.is_none_or(|last| last.elapsed() >= OFTEN) {
            self.last = Some(Instant::now());
            tell(&format!("WATCHDOG=1\nSTATUS={}", status().replace('\n', " ")));
        }
    }

    /// The program ends.
    pub fn stopping(&self) {
        tell("STOPPING=1");
    }
}

#[cfg(target_os = "linux")]
fn tell(what: &str) {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Custom(what)]) {
        log::debug!("the supervisor cannot be told: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_: &str) {}
