//! Removes temporary files when a signal ends the program. Complete files stay. The program then dies from the signal,
//! as the sender expects (a shell shows 130 for SIGINT and 143 for SIGTERM).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Starts a thread that waits for signals.
#[cfg(unix)]
pub fn handle() {
    use microraptor::files::remove_temporaries;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let waiting = Signals::new(heard([SIGHUP, SIGINT, SIGTERM])).and_then(|mut signals| {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove_temporaries();
                #[cfg(feature = "sign")]
                super::echo::restore();
                // This ends the process. If it fails, the exit below does.
                let _ = emulate_default_handler(signal);
                std::process::exit(128 + signal);
            }
        })
    });
    if let Err(error) = waiting {
        log::debug!("signals end the program at once: {error}");
    }
}

/// Those of `signals` that this process was not started to ignore: by `nohup` or a shell's `&`, they stay ignored.
#[cfg(unix)]
fn heard<const N: usize>(signals: [i32; N]) -> impl Iterator<Item = i32> {
    let ignored = ignored();
    signals.into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

/// Bit mask of the signals that this process has ignored since its start; 0 if not known.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// On other systems a killed program leaves its temporary files; the next run removes them.
#[cfg(not(unix))]
pub fn handle() {}

/// Signals of a program that runs until it is told to end, and is told to read its files again.
#[derive(Clone, Debug, Default)]
pub struct Live {
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are no signals"))]
    ended: Arc<AtomicBool>,
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are no signals"))]
    reload: Arc<AtomicBool>,
}

impl Live {
    /// From now on signals are noted; a second one that ends the program ends it at once.
    #[cfg(unix)]
    pub fn handle() -> Live {
        use signal_hook::flag;
        let live = Live::default();
        let noted = heard([SIGINT, SIGTERM]).try_for_each(|signal| {
            flag::register_conditional_default(signal, live.ended.clone())?;
            flag::register(signal, live.ended.clone()).map(drop)
        });
        if let Err(error) = noted.and_then(|()| flag::register(SIGHUP, live.reload.clone()).map(drop)) {
            log::warn!("signals end the program at once: {error}");
        }
        live
    }

    #[cfg(not(unix))]
    pub fn handle() -> Live {
        Live::default()
    }

    /// Whether the program is to end.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether files are to be read again since the last call.
    pub fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }
}
