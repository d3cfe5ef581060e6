//! What passes between the program and a worker: on its standard input requests, on its standard output one greeting
//! and then an answer to each request. Numbers are little-endian.
//!
//! | | |
//! |---|---|
//! | greeting | `J2K`, and what the system granted: bit 0 the limits, bit 1 the filter of system calls |
//! | request | rows, columns, components, bytes per sample: u32 each; length: u64; the codestream |
//! | answer | 0 and the samples, or 1 and a message; before either its length: u64 |

use std::io::{self, ErrorKind, Read, Write};

use microraptor::input::Codestream;

const MAGIC: [u8; 3] = *b"J2K";

/// Maximum length of a message in bytes.
const MESSAGE: usize = 1024;

/// What the system granted to confine a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Limits of memory, time and files.
    pub limits: bool,
    /// Only the system calls of a decoder.
    pub calls: bool,
}

/// Greets the program.
pub fn greet(out: &mut impl Write, granted: Granted) -> io::Result<()> {
    let [a, b, c] = MAGIC;
    out.write_all(&[a, b, c, u8::from(granted.limits) | u8::from(granted.calls) << 1])?;
    out.flush()
}

/// Reads a worker's greeting.
pub fn greeting(from: &mut impl Read) -> io::Result<Granted> {
    match array(from)? {
        [a, b, c, flags @ 0..=3] if [a, b, c] == MAGIC => {
            Ok(Granted { limits: flags & 1 != 0, calls: flags & 2 != 0 })
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// Sends a request.
pub fn ask(out: &mut impl Write, codestream: &Codestream<'_>) -> io::Result<()> {
    let Codestream { bytes, rows, columns, components, width } = codestream;
    let mut header = Vec::with_capacity(24);
    for number in [rows, columns, components, width] {
        header.extend(u32::try_from(*number).map_err(|_| ErrorKind::InvalidInput)?.to_le_bytes());
    }
    header.extend((bytes.len() as u64).to_le_bytes());
    out.write_all(&header)?;
    out.write_all(bytes)?;
    out.flush()
}

/// A request that was received.
pub struct Request {
    numbers: [usize; 4],
    bytes: Vec<u8>,
}

impl Request {
    /// Reads a request; `None` at the end of the input.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Request>> {
        let first = match array::<4>(from) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            first => first?,
        };
        let mut numbers = [u32::from_le_bytes(first) as usize, 0, 0, 0];
        for number in &mut numbers[1..] {
            *number = u32::from_le_bytes(array(from)?) as usize;
        }
        let length = u64::from_le_bytes(array(from)?);
        let mut bytes = Vec::new();
        from.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length {
            Ok(Some(Request { numbers, bytes }))
        } else {
            Err(ErrorKind::UnexpectedEof.into())
        }
    }

    /// What is to be decoded.
    pub fn codestream(&self) -> Codestream<'_> {
        let [rows, columns, components, width] = self.numbers;
        Codestream { bytes: &self.bytes, rows, columns, components, width }
    }
}

/// Answers a request.
pub fn answer(out: &mut impl Write, answer: &Result<Vec<u8>, String>) -> io::Result<()> {
    let (kind, body) = match answer {
        Ok(samples) => (0, samples.as_slice()),
        Err(message) => (1, &message.as_bytes()[..message.len().min(MESSAGE)]),
    };
    out.write_all(&[kind])?;
    out.write_all(&(body.len() as u64).to_le_bytes())?;
    out.write_all(body)?;
    out.flush()
}

/// Reads an answer, whose samples must be `expected` bytes. The worker may say anything: no memory is allocated for a
/// length that it states, and a message is made one line.
pub fn answered(from: &mut impl Read, expected: usize) -> io::Result<Result<Vec<u8>, String>> {
    let [kind] = array(from)?;
    let length = u64::from_le_bytes(array(from)?);
    match kind {
        0 if length == expected as u64 => {
            let mut samples = vec![0; expected];
            from.read_exact(&mut samples)?;
            Ok(Ok(samples))
        }
        1 if length <= MESSAGE as u64 => {
            let mut message = Vec::with_capacity(MESSAGE);
            from.take(length).read_to_end(&mut message)?;
            let message = String::from_utf8_lossy(&message);
            Ok(Err(message.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let codestream = Codestream { bytes: b"stream", rows: 2, columns: 3, components: 1, width: 2 };
        let mut sent = Vec::new();
        ask(&mut sent, &codestream).unwrap();
        let mut from = sent.as_slice();
        assert_eq!(Request::read(&mut from).unwrap().unwrap().codestream(), codestream);
        assert!(Request::read(&mut from).unwrap().is_none());
        for cut in 4..sent.len() {
            assert!(Request::read(&mut &sent[..cut]).is_err(), "{cut}");
        }
        for reply in [Ok(vec![1, 2, 3]), Err("it is damaged".to_owned())] {
            let mut sent = Vec::new();
            answer(&mut sent, &reply).unwrap();
            assert_eq!(answered(&mut sent.as_slice(), 3).unwrap(), reply);
        }
        for granted in [Granted::default(), Granted { limits: true, calls: true }] {
            let mut sent = Vec::new();
            greet(&mut sent, granted).unwrap();
            assert_eq!(greeting(&mut sent.as_slice()).unwrap(), granted);
        }
    }

    #[test]
    fn a_worker_that_lies_is_not_believed() {
        let kind = |kind: u8, length: u64, body: &[u8]| {
            let sent = [&[kind], length.to_le_bytes().as_slice(), body].concat();
            answered(&mut sent.as_slice(), 3).map_err(|error| error.kind())
        };
        assert_eq!(kind(0, 4, &[0; 4]), Err(ErrorKind::InvalidData));
        assert_eq!(kind(0, u64::MAX, &[0; 4]), Err(ErrorKind::InvalidData));
        assert_eq!(kind(0, 3, &[0; 2]), Err(ErrorKind::UnexpectedEof));
        assert_eq!(kind(1, 1 << 40, b"much"), Err(ErrorKind::InvalidData));
        assert_eq!(kind(2, 0, &[]), Err(ErrorKind::InvalidData));
        assert_eq!(kind(1, 9, b"two\nlines"), Ok(Err("two lines".to_owned())));
        assert!(greeting(&mut b"error: no such command".as_slice()).is_err());
    }
}
