//! A connection that may be silent between messages, but not within one.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

/// How often a silent connection is looked after.
const TICK: Duration = Duration::from_millis(250);

/// How long a peer may be silent within a message. On a local network the rest of one follows within milliseconds.
const SILENCE: Duration = Duration::from_secs(5);

/// A peer may take so long to take a part of what it is sent.
const DELAY: Duration = Duration::from_secs(5);

/// Sets what a connection needs. Without a sign of life in between, one whose other machine was switched off would be
/// silent for ever: after five silent seconds it is asked for one, three times in six seconds.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(DELAY))?;
    let alive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(2));
    #[cfg(not(any(target_os = "openbsd", target_os = "windows")))]
    let alive = alive.with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&alive)
}

/// Reads from a connection.
pub(super) struct Patient<'a> {
    stream: TcpStream,
    /// Whether nobody reads any more.
    closed: &'a AtomicBool,
    /// When the last byte of this message came; `None` before the first.
    last: Option<Instant>,
}

impl Patient<'_> {
    pub fn new(stream: TcpStream, closed: &AtomicBool) -> Patient<'_> {
        Patient { stream, closed, last: None }
    }

    /// A message was whole; how long the next one takes to begin does not matter.
    pub fn begin(&mut self) {
        self.last = None;
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.closed.load(Relaxed) {
                return Err(io::Error::other("nobody reads it any more"));
            }
            match self.stream.read(bytes) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if let Some(last) = self.last
                        && last.elapsed() >= SILENCE
                    {
                        let problem = format!("silent within a message for {} s", SILENCE.as_secs());
                        return Err(io::Error::new(ErrorKind::TimedOut, problem));
                    }
                }
                read => {
                    self.last = Some(Instant::now());
                    return read;
                }
            }
        }
    }
}
