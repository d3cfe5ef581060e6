//! Reads messages one after the other.

use std::io::{self, Read};
use std::time::{Instant, SystemTime};

use super::message::{HEADER, Header, sum};
use super::picture::{Place, picture};
use crate::features::Geometry;
use crate::input::{Image, InputError, ReadOptions};
use crate::names::printable;

/// The longest body of an IMAGE message that is read: 4096 x 4096 px in four bytes each.
const MAX_BODY: u64 = 64 << 20;

/// The longest body that is passed over. A larger one is taken for bytes that are no header.
const MAX_PASSED: u64 = 1 << 30;

/// A body is read into memory that grows as its bytes come, from this many on.
const FIRST: usize = 1 << 20;

/// Bytes of the extended header of versions 2 and 3 that are known.
const EXTENDED: usize = 12;

/// Reads OpenIGTLink messages: pictures, and what is passed over.
pub struct IgtlReader<R> {
    name: String,
    reader: R,
    options: ReadOptions,
    body: Vec<u8>,
}

/// A message.
#[derive(Debug)]
pub enum IgtlMessage {
    /// A picture.
    Picture(IgtlPicture),
    /// An IMAGE message that cannot be used; others may follow.
    Lost(InputError),
    /// Another message, of this type and device; or an IMAGE message that is not wanted.
    Other {
        /// Type.
        kind: String,
        /// Name of the device.
        device: String,
    },
}

/// A picture that came.
#[derive(Debug)]
pub struct IgtlPicture {
    /// Its pixels.
    pub image: Image,
    /// Their spacing, if it is known.
    pub geometry: Geometry,
    /// When it was exposed: the header's time if that is plausible, else the moment at which it was complete.
    pub exposed: Instant,
    pub(super) place: Place,
}

impl<R: Read> IgtlReader<R> {
    /// Reads from `reader`, which `name` names in messages.
    pub fn new(name: impl Into<String>, reader: R, options: &ReadOptions) -> IgtlReader<R> {
        IgtlReader { name: name.into(), reader, options: options.clone(), body: Vec::new() }
    }

    /// What it reads from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next message; `None` at the end. IMAGE messages whose device `wanted` refuses are passed over.
    ///
    /// # Errors
    /// [`InputError::Stream`] if it ends within a message, cannot be read, or is no OpenIGTLink; nothing after it can
    /// be found then.
    pub fn next(&mut self, wanted: &mut dyn FnMut(&str) -> bool) -> Result<Option<IgtlMessage>, InputError> {
        let Some(header) = self.header()? else { return Ok(None) };
        let length = header.body;
        if header.kind != "IMAGE" || !wanted(&header.device) {
            self.pass(length)?;
            let Header { kind, device, .. } = header;
            return Ok(Some(IgtlMessage::Other { kind, device }));
        }
        if length > MAX_BODY {
            self.pass(length)?;
            let problem =
                format!("has {length} bytes, and at most {MAX_BODY} are read: send smaller pictures");
            return Ok(Some(self.lost(&header, problem)));
        }
        self.read(length as usize)?;
        let (now, clock) = (Instant::now(), SystemTime::now());
        if sum(&self.body) != header.crc {
            return Ok(Some(self.lost(&header, "has a wrong checksum: its bytes were changed on the way")));
        }
        let read = content(header.version, &self.body)
            .and_then(|content| picture(content, header.stamp, &self.options));
        Ok(Some(match read {
            Ok((image, geometry, place)) => {
                let exposed = header.stamp.exposed(now, clock);
                IgtlMessage::Picture(IgtlPicture { image, geometry, exposed, place })
            }
            Err(problem) => self.lost(&header, problem),
        }))
    }

    fn lost(&self, header: &Header, problem: impl Into<String>) -> IgtlMessage {
        let name = format!("{}: IMAGE '{}'", self.name, printable(&header.device).replace('\n', " "));
        IgtlMessage::Lost(InputError::Stream { name, problem: problem.into() })
    }

    fn broken(&self, problem: impl Into<String>) -> InputError {
        InputError::Stream { name: self.name.clone(), problem: problem.into() }
    }

    fn failed(&self, error: &io::Error) -> InputError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.broken("ended within a message"),
            _ => self.broken(format!("cannot be read ({error})")),
        }
    }

    fn header(&mut self) -> Result<Option<Header>, InputError> {
        let mut bytes = [0; HEADER];
        // An end before the first byte is one between messages.
        let first = loop {
            match self.reader.read(&mut bytes[..1]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                first => break first,
            }
        };
        match first.and_then(|first| {
            if first == 0 { Ok(0) } else { self.reader.read_exact(&mut bytes[1..]).map(|()| 1) }
        }) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        match Header::parse(&bytes) {
            Some(header) if header.body <= MAX_PASSED => Ok(Some(header)),
            _ => Err(self.broken("sends what is no OpenIGTLink message of versions 1 to 3")),
        }
    }

    /// Reads a body.
    fn read(&mut self, length: usize) -> Result<(), InputError> {
        self.body.clear();
        self.body.reserve(length.min(FIRST));
        match self.reader.by_ref().take(length as u64).read_to_end(&mut self.body) {
            Ok(read) if read == length => Ok(()),
            Ok(_) => Err(self.failed(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Passes over a body.
    fn pass(&mut self, length: u64) -> Result<(), InputError> {
        match io::copy(&mut self.reader.by_ref().take(length), &mut io::sink()) {
            Ok(passed) if passed == length => Ok(()),
            Ok(_) => Err(self.failed(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// The content of a body: in versions 2 and 3 what lies between the extended header and the metadata.
fn content(version: u16, body: &[u8]) -> Result<&[u8], String> {
    if version == 1 {
        return Ok(body);
    }
    let between = || {
        let (extended, _) = body.split_first_chunk::<EXTENDED>()?;
        let short = |at: usize| usize::from(u16::from_be_bytes([extended[at], extended[at + 1]]));
        let metadata = u32::from_be_bytes([extended[4], extended[5], extended[6], extended[7]]);
        let end = body.len().checked_sub(short(2))?.checked_sub(usize::try_from(metadata).ok()?)?;
        // The identifier of the message, bytes 8 to 11, is of no use here.
        body.get(short(0).max(EXTENDED)..end)
    };
    between().ok_or_else(|| "has an extended header or metadata longer than itself".into())
}
