//! A signal that ends the program takes its temporary files with it. What is whole stays; the program then dies of the signal,
//! as whoever sent it expects (a shell shows 130 for SIGINT and 143 for SIGTERM).

/// Begins to wait for signals, on a thread of its own.
#[cfg(unix)]
pub fn handle() {
    use microraptor::files::remove_temporaries;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let ignored = ignored();
    // What `nohup` or a shell's `&` told this process to ignore stays ignored.
    let ends = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let waiting = Signals::new(ends).and_then(|mut signals| {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove_temporaries();
                // It ends the process; if it cannot, the second signal does no more than the first.
                let _ = emulate_default_handler(signal);
                std::process::exit(128 + signal);
            }
        })
    });
    if let Err(error) = waiting {
        log::debug!("signals end the program at once: {error}");
    }
}

/// The signals that this process ignores from its start on, a bit each; none where that is not known.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Elsewhere a program that is ended leaves its temporary files to the next run, which sweeps them.
#[cfg(not(unix))]
pub fn handle() {}
