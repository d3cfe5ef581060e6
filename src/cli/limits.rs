//! Resource limits of a command: time per file, memory above its model, frames of a scan.
//!
//! Readers check the sizes in a header before they allocate. These limits are for costs that no header shows, such as a
//! decoder that takes minutes or gigabytes. While a file is processed, a thread polls the clock and the memory of the
//! process. If a limit is exceeded, it prints one line like any failure and ends the process, because third-party code
//! cannot be interrupted from outside.

use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use microraptor::board::Root;
use microraptor::board::sensors::process_memory;

use super::failure::{FAILURE, report};

/// Polling interval. Memory can grow by about 50 MB in that time; one poll takes 50 microseconds.
const POLL: Duration = Duration::from_millis(10);

/// Default limit of memory above the model.
const MEMORY: Bytes = Bytes(1 << 30);

/// Default timeout for a file in `predict`, and for planning an ONNX graph that tract runs in any command.
pub const USUAL_TIMEOUT: Seconds = Seconds(60.0);

/// The limits of every command.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Give up on a file after this many seconds; 0 for no limit [default: 60 for `predict` and `node`, else 0]
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<Seconds>,
    /// Give up on a file that needs more memory than this above the model, such as 512MiB; 0 for no limit [default:
    /// 1GiB]
    #[arg(long, global = true, value_name = "SIZE")]
    max_memory: Option<Bytes>,
    /// Refuse clips and volumes with more frames or slices than this [default: 4096]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_frames: Option<u32>,
    /// How to decode JPEG 2000 [default: MICRORAPTOR_JPEG2000, or fenced]
    #[arg(long, global = true, value_enum)]
    pub jpeg2000: Option<Jpeg2000>,
}

/// How JPEG 2000 is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Jpeg2000 {
    /// In a process without files and network, within these limits
    Fenced,
    /// In this process
    Direct,
    /// Not at all: refuse it
    Refuse,
}

/// The limits of this process, including the command's defaults.
#[derive(Clone, Copy, Debug)]
struct Limits {
    asked: LimitArgs,
    timeout: Seconds,
}

static LIMITS: OnceLock<Limits> = OnceLock::new();

/// Sets the requested limits, with the command's default timeout for a file.
pub fn choose(asked: LimitArgs, usual_timeout: Seconds) {
    // Called once, by `main`.
    let _ = LIMITS.set(Limits { asked, timeout: asked.timeout.unwrap_or(usual_timeout) });
}

/// Makes a process that aborts, as Rust does when an allocation fails, exit with the exit code of every failure. The
/// one line of the failure is what Rust printed before.
#[cfg(unix)]
pub fn catch_aborts() {
    static ALWAYS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    let abort = signal_hook::consts::SIGABRT;
    if let Err(error) = signal_hook::flag::register_conditional_shutdown(abort, FAILURE.into(), &ALWAYS) {
        log::warn!("an allocation that fails will end the program by a signal: {error}");
    }
}

#[cfg(not(unix))]
pub fn catch_aborts() {}

/// Maximum number of frames of a scan, if one was given.
pub fn max_frames() -> Option<usize> {
    LIMITS.get()?.asked.max_frames.map(|frames| frames as usize)
}

/// Whether a limit of time or memory was given.
pub fn asked() -> bool {
    LIMITS.get().is_some_and(|limits| limits.asked.timeout.is_some() || limits.asked.max_memory.is_some())
}

/// Limit of memory above the model; `None` for no limit.
pub fn max_memory() -> Option<Bytes> {
    let bytes = LIMITS.get().and_then(|limits| limits.asked.max_memory).unwrap_or(MEMORY);
    (bytes.0 > 0).then_some(bytes)
}

/// Timeout for what another process does: planning an ONNX graph that tract runs, decoding JPEG 2000; `None` for no limit.
#[cfg(any(feature = "onnx", feature = "dicom"))]
pub fn timeout_apart() -> Option<Seconds> {
    let asked = LIMITS.get().and_then(|limits| limits.asked.timeout).unwrap_or(USUAL_TIMEOUT);
    (asked.0 > 0.0).then_some(asked)
}

fn timeout() -> Option<Seconds> {
    LIMITS.get().map(|limits| limits.timeout).filter(|timeout| timeout.0 > 0.0)
}

/// A file that is being processed. The limits apply until this is dropped; then those of the file before, with its clock
/// started anew.
pub struct Watched(Option<Work>);

impl Watched {
    /// Starts to watch the work on `name`. The memory limit is relative to what the process uses now.
    pub fn new(name: impl Into<String>) -> Watched {
        Watched(Watch::get().set(Some(Work::new(name.into()))))
    }

    /// Continues with `name`, with new limits of time and memory.
    pub fn next(&self, name: impl Into<String>) {
        Watch::get().set(Some(Work::new(name.into())));
    }

    /// Restarts the clock, after a wait for input.
    pub fn restart(&self) {
        if let Some(work) = Watch::get().work.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            work.started = Instant::now();
        }
    }
}

/// Calls `f`, which waits or has its own limits, with the clock of the current file stopped.
pub fn apart<T>(f: impl FnOnce() -> T) -> T {
    let watch = Watch::get();
    let work = watch.work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let began = Instant::now();
    let result = f();
    watch.set(work.map(|work| Work { started: work.started + began.elapsed(), ..work }));
    result
}

/// Calls `f`, which ends by itself within the time that it gets: what is left for the current file, or
/// [`timeout_apart`] if no file has a clock; `None` for no limit. That time counts, but only `f` acts on its end.
#[cfg(feature = "dicom")]
pub fn within<T>(f: impl FnOnce(Option<Duration>) -> T) -> T {
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            HELD.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let watch = Watch::get();
    HELD.fetch_add(1, Ordering::SeqCst);
    let held = Held;
    let limit = |seconds: Seconds| Duration::from_secs_f64(seconds.0);
    let started = watch.work.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|work| work.started);
    let left = match (timeout(), started) {
        (Some(timeout), Some(started)) => Some(limit(timeout).saturating_sub(started.elapsed())),
        _ => timeout_apart().map(limit),
    };
    let began = Instant::now();
    let result = f(left);
    // `f` returned an error, which the caller shall have the time to report.
    if left.is_some_and(|left| began.elapsed() >= left)
        && let Some(work) = watch.work.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
    {
        work.started = Instant::now();
    }
    drop(held);
    result
}

impl Drop for Watched {
    fn drop(&mut self) {
        let before = self.0.take().map(|work| Work { started: Instant::now(), ..work });
        Watch::get().set(before);
    }
}

/// How many threads are in [`within`]: the time of the file is theirs to watch.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Work {
    name: String,
    started: Instant,
    /// Resident bytes above which the process is ended.
    ceiling: Option<u64>,
}

impl Work {
    fn new(name: String) -> Work {
        let ceiling = max_memory().zip(resident()).map(|(most, now)| now.saturating_add(most.0));
        Work { name, started: Instant::now(), ceiling }
    }

    /// Message for the limit that is exceeded, if any.
    fn excess(&self) -> Option<String> {
        let Work { name, started, ceiling } = self;
        let late = |timeout: &Seconds| {
            HELD.load(Ordering::SeqCst) == 0 && started.elapsed().as_secs_f64() > timeout.0
        };
        if let Some(timeout) = timeout().filter(late) {
            return Some(format!(
                "{name}: takes longer than {timeout}: leave it out, or give it more with --timeout"
            ));
        }
        let (most, _) =
            max_memory().zip(ceiling.filter(|&ceiling| resident().is_some_and(|now| now > ceiling)))?;
        Some(format!(
            "{name}: needs more than {most} of memory above the model: leave it out, or give it more with --max-memory"
        ))
    }
}

struct Watch {
    work: Mutex<Option<Work>>,
    changed: Condvar,
}

impl Watch {
    /// The watch of this process; its thread starts with the first file.
    fn get() -> &'static Watch {
        static WATCH: Watch = Watch { work: Mutex::new(None), changed: Condvar::new() };
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| {
            let thread = thread::Builder::new().name("limits".into()).stack_size(256 << 10);
            if let Err(error) = thread.spawn(|| WATCH.run()) {
                log::warn!(
                    "no thread can be started, so that --timeout and --max-memory do not hold: {error}"
                );
            }
        });
        &WATCH
    }

    /// What was watched before.
    fn set(&self, work: Option<Work>) -> Option<Work> {
        let before = std::mem::replace(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner), work);
        self.changed.notify_one();
        before
    }

    fn run(&self) {
        loop {
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            while work.is_none() {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            // The lock is held until exit, so that the command cannot finish this file and print something else.
            if let Some(problem) = work.as_ref().and_then(Work::excess) {
                report(&anyhow!(problem));
                microraptor::files::remove_temporaries();
                process::exit(FAILURE.into());
            }
            drop(work);
            thread::sleep(POLL);
        }
    }
}

/// The address space of this process, in bytes; 0 if the system does not report it.
#[cfg(any(feature = "dicom", feature = "onnx"))]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux limits it"))]
pub fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Resident memory of this process in bytes; `None` if the system does not report it.
fn resident() -> Option<u64> {
    process_memory(&Root::live()).map(|memory| memory.resident_kib << 10)
}

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub f64);

impl FromStr for Seconds {
    type Err = String;

    /// Reads `60`, `60s` or `0.5`.
    fn from_str(text: &str) -> Result<Seconds, String> {
        let number = text.trim().trim_end_matches('s').trim_end().parse::<f64>().ok();
        // At most a year, so that it fits a `Duration`.
        let number = number.filter(|seconds| (0.0..=3.2e7).contains(seconds));
        number
            .map(Seconds)
            .ok_or_else(|| format!("'{text}' is no time: give seconds, as in 60, or 0 for no limit"))
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// An amount of memory on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Units; each one precedes those that are a suffix of it.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = String;

    /// Reads `512MiB`, `1.5GiB`, `800MB` or a number of bytes.
    fn from_str(text: &str) -> Result<Bytes, String> {
        let wrong =
            || format!("'{text}' is no amount of memory: give one as in 512MiB or 1.5GiB, or 0 for no limit");
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))
            .unwrap_or((text, 1));
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let bytes = number * unit as f64;
        if (0.0..=1e15).contains(&bytes) { Ok(Bytes(bytes as u64)) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = UNITS[..3].iter().rev().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match whole {
            Some((name, unit)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        for (text, bytes) in [("1GiB", 1 << 30), ("512 MiB", 512 << 20), ("800MB", 800_000_000), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        assert_eq!("1.5KiB".parse(), Ok(Bytes(1536)));
        for text in ["", "GiB", "-1MiB", "1TiB", "nan", "1e99GiB"] {
            assert!(text.parse::<Bytes>().unwrap_err().contains("no amount of memory"), "{text}");
        }
        assert_eq!(Bytes(1 << 30).to_string(), "1 GiB");
        assert_eq!(Bytes(1536 << 10).to_string(), "1536 KiB");
        assert_eq!(Bytes(1001).to_string(), "1001 bytes");
        for (text, seconds) in [("60", 60.0), ("0.5", 0.5), ("2 s", 2.0), ("0", 0.0)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "inf", "nan", "1m"] {
            assert!(text.parse::<Seconds>().unwrap_err().contains("no time"), "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_touched_is_seen() {
        let before = resident().unwrap();
        let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident().unwrap();
        assert!(after >= before + (60 << 20), "{before} {after} {}", pages.len());
    }
}
