//! A worker, as the program sees it: a process that is started, asked, and killed when its time is over.

use std::io::{self, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use microraptor::input::Codestream;

use super::wire::{self, Granted};
use crate::cli::limits::{self, Bytes, Seconds};

/// A worker that has worked this long is replaced. So its limit of processor time, which counts from its start, leaves
/// each frame its own.
const WORN: Duration = Duration::from_secs(60);

/// What the decoder may say on standard error before it dies.
const LAST_WORDS: u64 = 4096;

/// A process that decodes JPEG 2000. Dropping it ends it.
pub struct Worker {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    /// What it may use above its own memory.
    memory: Option<Bytes>,
    greeted: bool,
    worked: Duration,
}

impl Worker {
    /// Starts a worker that may use `memory` above its own.
    pub fn start(memory: Option<Bytes>) -> Result<Worker, String> {
        let mut command = Command::new(program().map_err(|error| absent(&error))?);
        command.arg("jpeg2000");
        if let Some(Bytes(memory)) = memory {
            command.args(["--memory", &memory.to_string()]);
        }
        if let Some(Seconds(seconds)) = limits::timeout_apart() {
            let seconds = (seconds + WORN.as_secs_f64()).ceil() + 10.0;
            command.args(["--seconds", &seconds.to_string()]);
        }
        command.env_clear().env("RUST_BACKTRACE", "0");
        #[cfg(debug_assertions)]
        super::faults::pass(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the program, which may still want the frame that is being decoded.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| absent(&error))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(absent(&"it has no pipes"));
        };
        Ok(Worker { child, to, from, memory, greeted: false, worked: Duration::ZERO })
    }

    /// Decodes `codestream` within `left`. The outer error means that this worker must not be asked again.
    pub fn decode(
        &mut self,
        codestream: &Codestream<'_>,
        left: Option<Duration>,
    ) -> Result<Result<Vec<u8>, String>, String> {
        let began = Instant::now();
        let (answer, late) = self.ask(codestream, left);
        self.worked += began.elapsed();
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if late => {
                let most =
                    limits::timeout_apart().map_or(String::new(), |most| format!(" ({most} for a file)"));
                return Err(format!(
                    "holds JPEG 2000 that takes too long to decode{most}: leave it out, or give it more with --timeout"
                ));
            }
            Err(error) => return Err(self.ended(&error)),
        };
        Ok(match (answer, self.memory) {
            // malloc told the decoder that there is no more, and it only says that it failed.
            (Err(_), Some(memory)) if least_memory(codestream) > memory.0 => Err(starved(memory)),
            (answer, _) => answer,
        })
    }

    /// The answer, and whether the worker was killed for being late.
    fn ask(
        &mut self,
        codestream: &Codestream<'_>,
        left: Option<Duration>,
    ) -> (io::Result<Result<Vec<u8>, String>>, bool) {
        let Worker { child, to, from, greeted, .. } = self;
        let mut exchange = || {
            if !*greeted {
                let Granted { limits, calls } = wire::greeting(from)?;
                log::debug!(
                    "JPEG 2000 is decoded in a process with limits: {limits}, and few system calls: {calls}"
                );
                *greeted = true;
            }
            let expected = codestream.decoded_bytes().ok_or(io::ErrorKind::InvalidInput)?;
            wire::ask(to, codestream)?;
            wire::answered(from, expected)
        };
        let Some(left) = left else { return (exchange(), false) };
        thread::scope(|scope| {
            let (done, waiting) = mpsc::channel::<()>();
            let watch = move || {
                let late = waiting.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
                // Its pipes then end, and with them the exchange.
                late && child.kill().is_ok()
            };
            let watching = thread::Builder::new().name("fence".into()).stack_size(64 << 10);
            let watching = match watching.spawn_scoped(scope, watch) {
                Ok(watching) => watching,
                Err(error) => return (Err(error), false),
            };
            let answer = exchange();
            drop(done);
            (answer, watching.join().unwrap_or(false))
        })
    }

    /// Why the worker broke off.
    fn ended(&mut self, error: &io::Error) -> String {
        // It may have closed its pipes and live on.
        let _ = self.child.kill();
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return absent(&error),
        };
        let mut said = Vec::new();
        let _ = self.child.stderr.take().map(|stderr| stderr.take(LAST_WORDS).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        log::debug!("the JPEG 2000 decoder ended ({status}, {error}): {said}");
        match self.memory {
            Some(memory) if said.contains("memory allocation of") => starved(memory),
            _ if !self.greeted => absent(&status),
            _ if error.kind() == io::ErrorKind::InvalidData => {
                "holds JPEG 2000 on which the decoder answered nonsense: the file is damaged".to_owned()
            }
            _ => format!("holds JPEG 2000 on which the decoder ended ({status}): the file is damaged"),
        }
    }

    /// Whether the process is still there.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has worked so long that a new one should do the rest.
    pub fn is_worn(&self) -> bool {
        self.worked >= WORN
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program. On Linux the link names the file that runs even if it was replaced or deleted meanwhile.
fn program() -> io::Result<std::path::PathBuf> {
    let link = std::path::Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && link.exists() { Ok(link.into()) } else { std::env::current_exe() }
}

/// At least this much memory is needed: 32 bits a sample for the tile and for the picture, and what comes in and out.
fn least_memory(codestream: &Codestream<'_>) -> u64 {
    let samples = codestream.rows.saturating_mul(codestream.columns).saturating_mul(codestream.components);
    (samples as u64).saturating_mul(8 + codestream.width as u64).saturating_add(codestream.bytes.len() as u64)
}

fn starved(memory: Bytes) -> String {
    format!(
        "holds JPEG 2000 that needs more than {memory} of memory to decode: leave it out, or give it more with --max-memory"
    )
}

fn absent(why: &dyn std::fmt::Display) -> String {
    format!(
        "is in JPEG 2000, and no process can be started to decode it ({why}): give --jpeg2000 direct to decode it in this one"
    )
}
