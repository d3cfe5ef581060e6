//! PDUs as bytes, written down from PS3.8, 9.3, so that the node is not tested with its own crate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
pub const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.22";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";

pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0], &(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn item(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn title(text: &str) -> Vec<u8> {
    format!("{text:<16}").into_bytes()
}

/// A request for an association; `contexts` are class and transfer syntax, numbered 1, 3, and so on.
pub fn request(called: &str, calling: &str, contexts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [&[0, 1, 0, 0], &title(called)[..], &title(calling), &[0; 32]].concat();
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (n, (class, syntax)) in contexts.iter().enumerate() {
        let inner = [item(0x30, class.as_bytes()), item(0x40, syntax.as_bytes())].concat();
        body.extend(item(0x20, &[&[2 * n as u8 + 1, 0, 0, 0], &inner[..]].concat()));
    }
    body.extend(item(0x50, &item(0x51, &16384_u32.to_be_bytes())));
    pdu(1, &body)
}

/// A P-DATA-TF with one value.
pub fn data(context: u8, is_command: bool, last: bool, bytes: &[u8]) -> Vec<u8> {
    let control = u8::from(is_command) | u8::from(last) << 1;
    let length = (bytes.len() as u32 + 2).to_be_bytes();
    pdu(4, &[&length[..], &[context, control], bytes].concat())
}

pub fn element(group: u16, number: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u32).to_le_bytes();
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &length, value].concat()
}

fn uid(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// A C-STORE-RQ.
pub fn store(class: &str, instance: &str) -> Vec<u8> {
    [
        element(0, 0x0002, &uid(class)),
        element(0, 0x0100, &1_u16.to_le_bytes()),
        element(0, 0x0110, &7_u16.to_le_bytes()),
        element(0, 0x0700, &[0, 0]),
        element(0, 0x0800, &[0, 0]),
        element(0, 0x1000, &uid(instance)),
    ]
    .concat()
}

/// A C-ECHO-RQ.
pub fn echo() -> Vec<u8> {
    [
        element(0, 0x0002, &uid(VERIFICATION)),
        element(0, 0x0100, &0x30_u16.to_le_bytes()),
        element(0, 0x0110, &7_u16.to_le_bytes()),
        element(0, 0x0800, &0x0101_u16.to_le_bytes()),
    ]
    .concat()
}

/// A data set in Implicit VR Little Endian of an image of 8 x 8 grey pixels.
pub fn object(class: &str, instance: &str) -> Vec<u8> {
    let number = |n: u16| n.to_le_bytes();
    [
        element(0x0008, 0x0016, &uid(class)),
        element(0x0008, 0x0018, &uid(instance)),
        element(0x0008, 0x0060, b"OT"),
        element(0x0020, 0x000D, &uid("1.2.3")),
        element(0x0020, 0x000E, &uid("1.2.3.4")),
        element(0x0028, 0x0002, &number(1)),
        element(0x0028, 0x0004, b"MONOCHROME2 "),
        element(0x0028, 0x0010, &number(8)),
        element(0x0028, 0x0011, &number(8)),
        element(0x0028, 0x0100, &number(8)),
        element(0x0028, 0x0101, &number(8)),
        element(0x0028, 0x0102, &number(7)),
        element(0x0028, 0x0103, &number(0)),
        element(0x7FE0, 0x0010, &[7; 64]),
    ]
    .concat()
}

/// A caller.
pub struct Caller(pub TcpStream);

impl Caller {
    pub fn new(address: SocketAddr) -> Caller {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Caller(socket)
    }

    /// Calls, and sends the request for an association.
    pub fn call(address: SocketAddr, called: &str, calling: &str, contexts: &[(&str, &str)]) -> Caller {
        let mut caller = Caller::new(address);
        caller.send(&request(called, calling, contexts));
        caller
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The node may have closed the connection already.
        let _ = self.0.write_all(bytes);
    }

    /// The next PDU: its kind and its body; `None` if the connection was closed.
    pub fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 6];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// The status of the next response.
    pub fn status(&mut self) -> Option<u16> {
        let (kind, body) = self.receive()?;
        assert_eq!(kind, 4, "P-DATA-TF");
        let mut rest = &body[6..];
        while let Some((head, after)) = rest.split_at_checked(8) {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            if head[..4] == [0, 0, 0, 9] {
                return Some(u16::from_le_bytes([after[0], after[1]]));
            }
            rest = &after[length..];
        }
        None
    }
}
