//! The connections: one that is made again when it is lost, or those of several peers.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::address::IgtlAddress;
use super::message::{Code, capability, status};
use super::outbox::Outbox;
use super::patient::{Patient, prepare};
use super::picture::Place;
use super::reader::{IgtlMessage, IgtlPicture, IgtlReader};
use crate::input::{InputError, ReadOptions};

/// Names of our own devices begin so; their pictures are not answered, whoever sends them back.
pub(super) const DEVICE: &str = "microraptor";

/// At most so many peers connect to us.
const PEERS: usize = 8;

/// How long it is until the next attempt to connect: at first, and at last.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(3);

/// How often an idle thread looks around.
const POLL: Duration = Duration::from_millis(20);

/// What comes from the connections; with a picture, the number of its feeder.
pub(super) type Item = Result<(IgtlPicture, u32), InputError>;

/// What all connections share.
pub(super) struct Link {
    pub name: String,
    /// The device whose pictures are wanted; the first one that comes if `None`.
    pub device: Option<String>,
    pub options: ReadOptions,
    /// Nobody reads or writes any more.
    pub closed: AtomicBool,
    pub left_out: Arc<AtomicU64>,
    pub state: Mutex<State>,
}

/// The connection and device that pictures are taken from.
struct Feeder {
    id: u64,
    device: String,
    /// Whether any could be read. A device whose pictures cannot be, such as volumes, makes place for others.
    proven: bool,
}

pub(super) struct State {
    peers: BTreeMap<u64, Outbox>,
    feeder: Option<Feeder>,
    /// Number of the last feeder among all that there were.
    feeders: u32,
    /// What every peer is told first.
    hello: Option<Arc<[u8]>>,
    pub code: Code,
    /// Of the last frames.
    pub places: BTreeMap<u64, Place>,
    next: u64,
}

#[cfg(test)]
impl State {
    /// Whether pictures are taken from anybody.
    pub fn feeds(&self) -> bool {
        self.feeder.is_some()
    }
}

impl Link {
    pub fn new(address: &IgtlAddress, device: Option<String>, options: &ReadOptions) -> Link {
        let state = State {
            peers: BTreeMap::new(),
            feeder: None,
            feeders: 0,
            hello: None,
            code: Code::NotReady,
            places: BTreeMap::new(),
            next: 0,
        };
        Link {
            name: address.to_string(),
            device,
            options: options.clone(),
            closed: AtomicBool::new(false),
            left_out: Arc::default(),
            state: Mutex::new(state),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between two statements, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Connects to `address` again and again.
    pub fn connect(&self, address: &IgtlAddress, frames: &SyncSender<Item>) {
        let (mut pause, mut said) = (PAUSES[0], false);
        while !self.is_closed() {
            match attempt(address) {
                Ok(stream) => {
                    log::info!("{}: connected", self.name);
                    said = false;
                    let id = self.id();
                    match self.serve(id, stream, frames) {
                        // It was the right peer, and will be again.
                        true => pause = PAUSES[0],
                        false => pause = (2 * pause).min(PAUSES[1]),
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        log::warn!("{}: cannot be reached ({error}): trying again", self.name);
                    }
                    pause = (2 * pause).min(PAUSES[1]);
                }
            }
            self.rest(pause);
        }
    }

    /// Takes those that connect.
    pub fn listen(self: &Arc<Link>, listener: &TcpListener, frames: &SyncSender<Item>) {
        // One for each that is connected, and this one.
        let seats = Arc::new(());
        while !self.is_closed() {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        log::debug!("{}: {error}", self.name);
                    }
                    thread::sleep(POLL);
                    continue;
                }
            };
            let seat = seats.clone();
            if Arc::strong_count(&seats) > PEERS + 1 {
                log::warn!("{}: {peer} is turned away, since {PEERS} others are connected", self.name);
                continue;
            }
            log::info!("{}: {peer} is connected", self.name);
            let (link, frames, id) = (self.clone(), frames.clone(), self.id());
            let serve = move || {
                let served = stream.set_nonblocking(false).is_ok() && link.serve(id, stream, &frames);
                drop(seat);
                served
            };
            if let Err(error) = thread::Builder::new().name("igtl reader".into()).spawn(serve) {
                log::warn!("{}: {peer} is turned away ({error})", self.name);
            }
        }
    }

    fn id(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    /// Sleeps, but not when all is closed.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.is_closed() {
            thread::sleep(POLL);
        }
    }

    /// Reads a connection to its end; whether any message came.
    fn serve(&self, id: u64, stream: TcpStream, frames: &SyncSender<Item>) -> bool {
        let peer =
            stream.peer_addr().map_or_else(|_| self.name.clone(), |peer| format!("{} ({peer})", self.name));
        let outbox =
            prepare(&stream).and_then(|()| Outbox::start(stream.try_clone()?, &peer, self.left_out.clone()));
        let outbox = match outbox {
            Ok(outbox) => outbox,
            Err(error) => {
                log::warn!("{peer}: cannot be used ({error})");
                return false;
            }
        };
        let seat = Seat { link: self, id };
        {
            let mut state = self.lock();
            if let Some(hello) = &state.hello {
                outbox.post(hello.clone(), false);
            }
            state.peers.insert(id, outbox);
        }
        let mut any = false;
        let mut reader = IgtlReader::new(&*peer, Patient::new(stream, &self.closed), &self.options);
        let why = loop {
            reader.get_mut().begin();
            let item = match reader.next(&mut |device| self.wants(id, device, &peer)) {
                Ok(Some(IgtlMessage::Picture(picture))) => Ok(picture),
                Ok(Some(IgtlMessage::Lost(problem))) => Err(problem),
                Ok(Some(IgtlMessage::Other { kind, .. })) => {
                    any = true;
                    self.reply(id, &kind, &peer);
                    continue;
                }
                Ok(None) => break format!("{peer}: was closed by the other side"),
                Err(error) => break error.to_string(),
            };
            any = true;
            let feeder = self.prove(item.is_ok());
            if frames.send(item.map(|picture| (picture, feeder))).is_err() {
                // Nobody reads any more, but the last words may still have to be written.
                while !self.is_closed() {
                    thread::sleep(POLL);
                }
            }
        };
        if !self.is_closed() {
            let level = if seat.feeds() { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "{why}: the connection has ended");
        }
        any
    }

    /// Whether the pictures of `device` on connection `id` are taken: those of one device on one connection are, as two
    /// would be mixed.
    fn wants(&self, id: u64, device: &str, peer: &str) -> bool {
        match &self.device {
            Some(only) if only != device => return false,
            None if device.starts_with(DEVICE) => return false,
            _ => {}
        }
        let mut state = self.lock();
        let State { feeder, feeders, .. } = &mut *state;
        let feeder = feeder.get_or_insert_with(|| {
            log::info!("{peer}: pictures of '{device}' are taken");
            *feeders = feeders.wrapping_add(1);
            Feeder { id, device: device.to_owned(), proven: false }
        });
        feeder.id == id && feeder.device == device
    }

    /// A picture of the feeder could be read, or not; the number of the feeder.
    fn prove(&self, readable: bool) -> u32 {
        let mut state = self.lock();
        let number = state.feeders;
        match &mut state.feeder {
            Some(feeder) if readable => feeder.proven = true,
            Some(Feeder { proven: false, .. }) => state.feeder = None,
            _ => {}
        }
        number
    }

    /// Answers a question.
    fn reply(&self, id: u64, kind: &str, peer: &str) {
        let state = self.lock();
        let Some(outbox) = state.peers.get(&id) else { return };
        match kind {
            "GET_STATUS" => outbox.post(status(DEVICE, state.code, "").into(), false),
            "GET_CAPABIL" => outbox.post(capability(DEVICE).into(), false),
            "VIDEO" => log::debug!("{peer}: VIDEO messages are not read: let it send IMAGE"),
            _ => log::debug!("{peer}: {kind} is passed over"),
        }
    }

    /// Sends to all, and to those that connect later before anything else.
    pub fn post_first(&self, bytes: Arc<[u8]>) {
        // In one step, so that nobody who connects meanwhile is sent it twice.
        let mut state = self.lock();
        state.peers.values().for_each(|outbox| outbox.post(bytes.clone(), false));
        state.hello = Some(bytes);
    }

    /// Sends to all.
    pub fn post(&self, bytes: &Arc<[u8]>, answer: bool) {
        self.lock().peers.values().for_each(|outbox| outbox.post(bytes.clone(), answer));
    }

    /// Waits until all was sent, but not longer than `most`.
    pub fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        while !self.lock().peers.values().all(Outbox::is_empty) && Instant::now() < until {
            thread::sleep(POLL / 10);
        }
    }
}

/// Tries each address of a host.
fn attempt(address: &IgtlAddress) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for place in address.endpoint().to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, ATTEMPT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection's place among the others.
struct Seat<'a> {
    link: &'a Link,
    id: u64,
}

impl Seat<'_> {
    /// Whether pictures are taken from it.
    fn feeds(&self) -> bool {
        self.link.lock().feeder.as_ref().is_some_and(|feeder| feeder.id == self.id)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.peers.remove(&self.id);
        state.feeder.take_if(|feeder| feeder.id == self.id);
    }
}
