//! Connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::host::names_this_machine;
use super::request::{MAX_HEAD, Request};
use crate::cli::args::{Address, is_loopback};

/// At most so many connections at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 24;

/// A request must be complete after so long, and as long may an answer take to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may take to close, after the answer.
const CLOSING: Duration = Duration::from_millis(500);

/// What is said in answer to requests.
pub trait Site: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;
}

/// Tells a client what happens, until it is gone.
type Events = Box<dyn FnOnce(&mut Client) -> io::Result<()>>;

/// An answer.
pub enum Reply {
    /// As a whole.
    Whole { status: u16, kind: &'static str, fields: Vec<(&'static str, String)>, body: Vec<u8> },
    /// As long as the client listens.
    #[cfg_attr(not(feature = "page"), allow(dead_code, reason = "the page alone has it"))]
    Events(Events),
}

impl Reply {
    pub fn text(status: u16, text: impl Into<String>) -> Reply {
        Reply::Whole {
            status,
            kind: "text/plain; charset=utf-8",
            fields: Vec::new(),
            body: text.into().into_bytes(),
        }
    }
}

/// A server that answers until the program ends.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Starts to answer at `address`.
    ///
    /// # Errors
    /// If the address is taken, or none of this machine.
    pub fn start(name: &str, address: Address, site: Arc<dyn Site>) -> io::Result<Server> {
        let listener = TcpListener::bind(address.0)?;
        let address = listener.local_addr()?;
        let local = is_loopback(address.ip());
        thread::Builder::new().name(name.into()).spawn(move || {
            stand_back();
            serve(&listener, local, &site);
        })?;
        Ok(Server { address })
    }

    /// Where `path` is found: of all addresses of this machine, at the one that leads to the others.
    pub fn url(&self, path: &str) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(outward(address.ip()).unwrap_or(address.ip()));
        }
        format!("http://{address}{path}")
    }
}

/// The address of this machine that others see. Nothing is sent: a datagram socket only looks the route up. The far end
/// is one for documentation (RFC 5737, RFC 3849).
fn outward(ip: IpAddr) -> Option<IpAddr> {
    let far: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((ip, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Lets frames go first: this thread and those that it starts get less of a core that both want.
#[cfg(target_os = "linux")]
pub fn stand_back() {
    if let Err(error) = rustix::process::nice(10) {
        log::debug!("the priority of a thread cannot be lowered: {error}");
    }
}

/// On other systems the priority is one of the whole process.
#[cfg(not(target_os = "linux"))]
pub fn stand_back() {}

fn serve(listener: &TcpListener, local: bool, site: &Arc<dyn Site>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptor is free: it may be soon.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Some(place) = Place::take(&open) else { continue };
        let site = site.clone();
        let connection = move || {
            let _place = place;
            // The client is gone or too slow: nobody is left to be told.
            let _ = answer(Client::new(stream), local, &*site);
        };
        let spawned =
            thread::Builder::new().name("connection".into()).stack_size(256 << 10).spawn(connection);
        if let Err(error) = spawned {
            log::debug!("a connection has no thread: {error}");
        }
    }
}

/// One of the connections that may be open.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(open.clone());
        (open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(mut client: Client, local: bool, site: &dyn Site) -> io::Result<()> {
    let reply = match client.request()? {
        Ok(request) if local && !names_this_machine(&request.host) => {
            Reply::text(403, "this server answers as localhost only\n")
        }
        Ok(request) => site.answer(&request),
        Err((status, text)) => Reply::text(status, text),
    };
    match reply {
        Reply::Whole { status, kind, fields, body } => {
            let length = ("Content-Length", body.len().to_string());
            client.send(head(status, kind, fields.into_iter().chain([length])).as_bytes(), PATIENCE)?;
            client.send(&body, PATIENCE)?;
            client.close()
        }
        Reply::Events(told) => {
            client.send(head(200, "text/event-stream", []).as_bytes(), PATIENCE)?;
            told(&mut client)
        }
    }
}

fn head(status: u16, kind: &str, fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Refused",
    };
    let mut head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    );
    if status == 405 {
        head.push_str("Allow: GET\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// A connection on which everything has an end: a client that sends or takes one byte now and then gains no time.
pub struct Client(TcpStream);

impl Client {
    fn new(stream: TcpStream) -> Client {
        // Without it an event waits for the client's word on the one before.
        let _ = stream.set_nodelay(true);
        Client(stream)
    }

    /// Reads the head of a request.
    fn request(&mut self) -> io::Result<Result<Request, (u16, &'static str)>> {
        let until = Instant::now() + PATIENCE;
        let mut head = Vec::with_capacity(1024);
        let mut part = [0; 1024];
        loop {
            self.0.set_read_timeout(Some(left(until)?))?;
            let room = part.len().min(MAX_HEAD - head.len());
            match self.0.read(&mut part[..room])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => head.extend_from_slice(&part[..count]),
            }
            match Request::parse(&head) {
                Ok(Some(request)) => return Ok(Ok(request)),
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// Sends `bytes`, all of which must be taken `within` a time.
    pub fn send(&mut self, mut bytes: &[u8], within: Duration) -> io::Result<()> {
        let until = Instant::now() + within;
        while !bytes.is_empty() {
            self.0.set_write_timeout(Some(left(until)?))?;
            match self.0.write(bytes)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Ends the answer. What the client still sends is read for a while: a connection that is closed on it may lose the
    /// answer.
    fn close(mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)?;
        let until = Instant::now() + CLOSING;
        let mut part = [0; 1024];
        loop {
            self.0.set_read_timeout(Some(left(until)?))?;
            if self.0.read(&mut part)? == 0 {
                return Ok(());
            }
        }
    }
}

/// The time until then; an error if there is none.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
