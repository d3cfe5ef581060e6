//! Removes temporary files when a signal ends the program. Complete files stay. The program then dies from the signal,
//! as the sender expects (a shell shows 130 for SIGINT and 143 for SIGTERM).

/// Starts a thread that waits for signals.
#[cfg(unix)]
pub fn handle() {
    use microraptor::files::remove_temporaries;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let ignored = ignored();
    // Signals that this process was started to ignore, by `nohup` or a shell's `&`, stay ignored.
    let ends = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let waiting = Signals::new(ends).and_then(|mut signals| {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove_temporaries();
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
