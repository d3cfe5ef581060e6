//! Accepts connections, a thread for each, and watches over their number and pace.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dicom_ul::pdu::Pdu;

use super::connection::Connection;
use super::negotiate::{self, Accepted, Rejected};
use super::scp::{Message, Service};
use super::watch::Pace;
use super::{Event, Queue, Report, Rules, Tls};
use crate::guarded::caught;

/// How often the listener looks for connections, and at their pace.
const TICK: Duration = Duration::from_millis(20);

/// Connections beyond the associations, which are told that there are too many.
const SPARE: usize = 8;

/// A listener and its associations.
pub struct Listener {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Arc<Queue>,
    rules: Rules,
    tls: Option<Tls>,
    report: Report,
    /// Connections that are open.
    open: Mutex<Vec<Arc<Pace>>>,
    number: AtomicU64,
}

impl Listener {
    /// Listens at `address`; objects go into `queue`.
    ///
    /// # Errors
    /// [`io::Error`] of binding the address or starting the thread.
    pub fn start(
        address: SocketAddr,
        queue: Arc<Queue>,
        rules: Rules,
        tls: Option<Tls>,
        report: Report,
    ) -> io::Result<Listener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (open, number) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { queue, rules, tls, report, open, number });
        let ended = Arc::new(AtomicBool::new(false));
        let (held, until) = (shared.clone(), ended.clone());
        let named = thread::Builder::new().name("listener".into());
        let thread = named.spawn(move || accept(&listener, &held, &until))?;
        Ok(Listener { address, ended, thread, shared })
    }

    /// Where it listens: with the port that the system chose, if it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more; associations have `grace` to end, and are shut down then. What they have acknowledged is safe.
    pub fn stop(self, grace: Duration) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        let start = Instant::now();
        while self.shared.watch() > 0 {
            if start.elapsed() > grace {
                self.shared.open().iter().for_each(|pace| pace.end());
            }
            if start.elapsed() > grace + Duration::from_secs(5) {
                return;
            }
            thread::sleep(TICK);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let open = shared.watch();
        // More wait in the system's queue.
        let next = if open < shared.rules.max_associations + SPARE { listener.accept() } else { wait() };
        match next {
            Ok((socket, peer)) => {
                if let Err(error) = start(shared, socket, peer) {
                    log::warn!("{peer}: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(TICK),
            Err(error) => {
                // Such as too many open files, which may pass.
                log::warn!("no connection can be accepted: {error}");
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn wait<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Starts the thread of a connection.
fn start(shared: &Arc<Shared>, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    // A write blocks if the peer does not read; reads end when the pace's shutdown does it.
    socket.set_write_timeout(Some(shared.rules.idle))?;
    let pace = Arc::new(Pace::new(Some(socket.try_clone()?), shared.rules.idle, shared.rules.max_message));
    let crowded = {
        let mut open = shared.open();
        open.push(pace.clone());
        open.len() > shared.rules.max_associations
    };
    let (shared, held) = (shared.clone(), pace.clone());
    let run = move || {
        // A panic would leave the connection in the list.
        let ran = caught(|| connect(&shared, socket, &peer.to_string(), &pace, crowded));
        if let Err(panic) = ran {
            log::error!("{peer}: the association failed: {panic}");
        }
        shared.open().retain(|open| !Arc::ptr_eq(open, &pace));
    };
    let started = thread::Builder::new().name("association".into()).stack_size(1 << 20).spawn(run);
    if started.is_err() {
        held.end();
    }
    started.map(drop)
}

/// Serves one connection over which `sent` comes and nothing more, without a network: what the node answers, and how it
/// ended. For tests.
///
/// # Errors
/// Why no association came about.
pub fn converse(sent: &[u8], queue: Arc<Queue>, rules: Rules) -> Result<Vec<u8>, String> {
    /// What a peer sends, and what it is answered.
    struct Pipe<'a>(&'a [u8], Vec<u8>);
    impl Read for Pipe<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }
    impl Write for Pipe<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pace = Arc::new(Pace::new(None, rules.idle, rules.max_message));
    let (open, number) = (Mutex::default(), AtomicU64::new(0));
    let shared = Shared { queue, rules, tls: None, report: Arc::new(|_| {}), open, number };
    let mut pipe = Pipe(sent, Vec::new());
    associate(&shared, &mut pipe, "a test", &pace, false).map(|()| pipe.1)
}

/// Serves a connection, through TLS if that is asked for.
fn connect(shared: &Shared, socket: TcpStream, peer: &str, pace: &Arc<Pace>, crowded: bool) {
    let served = match &shared.tls {
        None => associate(shared, socket, peer, pace, crowded),
        Some(tls) => match tls.accept(socket) {
            Ok(stream) => associate(shared, stream, peer, pace, crowded),
            Err(problem) => Err(pace.over().unwrap_or(problem)),
        },
    };
    if let Err(reason) = served {
        let (peer, calling, object, status) = (peer.to_owned(), None, None, None);
        (shared.report)(Event::Refused { peer, calling, object, status, reason });
    }
}

/// Negotiates an association and serves it; an error if it does not come about.
fn associate<S: Read + Write>(
    shared: &Shared,
    stream: S,
    peer: &str,
    pace: &Arc<Pace>,
    crowded: bool,
) -> Result<(), String> {
    let Shared { queue, rules, report, number, .. } = shared;
    let mut connection = Connection::new(stream, rules.max_pdu, pace.clone());
    let Pdu::AssociationRQ(request) = connection.receive()? else {
        connection.abort();
        return Err("it does not begin with a request for an association".into());
    };
    let calling = request.calling_ae_title.clone();
    let Accepted { answer, contexts, refused } = match negotiate::answer(request, rules, crowded) {
        Ok(accepted) => accepted,
        Err(rejected) => {
            let Rejected { answer, reason } = *rejected;
            connection.send(&Pdu::AssociationRJ(answer))?;
            let (peer, calling, object, status) = (peer.to_owned(), Some(calling), None, None);
            report(Event::Refused { peer, calling, object, status, reason });
            return Ok(());
        }
    };
    let association = number.fetch_add(1, Ordering::Relaxed) + 1;
    let (peer, accepted) = (peer.to_owned(), contexts.len());
    report(Event::Association {
        association,
        peer: peer.clone(),
        calling: calling.clone(),
        accepted,
        refused,
    });
    connection.send(&Pdu::AssociationAC(answer))?;
    let (number, message) = (association, Message::default());
    let mut service =
        Service { connection, contexts, queue, rules, report, number, peer, calling, stored: 0, message };
    let ended = service.serve();
    let reason = ended.err().unwrap_or_else(|| "released".into());
    report(Event::Closed { association, stored: service.stored, reason });
    Ok(())
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Pace>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shuts down the connections that are too slow; how many are open.
    fn watch(&self) -> usize {
        let open = self.open();
        open.iter().for_each(|pace| pace.check());
        open.len()
    }
}
