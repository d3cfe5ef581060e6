//! The frame of a message: 58 bytes of header, then the body (OpenIGTLink protocol, versions 1 to 3: "Message header").
//! All numbers are big-endian.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crc::{CRC_64_ECMA_182, Crc, Table};

/// Bytes of a header.
pub(super) const HEADER: usize = 58;

/// Bytes of the name of a type.
const KIND: usize = 12;

/// Bytes of the name of a device.
const DEVICE: usize = 20;

/// The most bytes of text that a STRING message holds: its length has 16 bits.
const MAX_TEXT: usize = u16::MAX as usize;

/// The character set of STRING messages: UTF-8, of which ASCII is a part (IANA's MIBenum).
const UTF8: u16 = 106;
const ASCII: u16 = 3;

/// An age above this is a clock that is set otherwise than ours, or a recording.
const OLDEST: Duration = Duration::from_secs(10);

/// The sum of a body. Sixteen bytes at a time: a frame of 1 MB takes half a millisecond or so, and not three.
static SUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_ECMA_182);

/// The sum of a body, as its header has it.
pub(super) fn sum(body: &[u8]) -> u64 {
    SUM.checksum(body)
}

/// Takes `N` bytes from the front of `bytes`.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// A moment by the clock of the one who sent it: seconds since 1970 in the upper 32 bits, and a fraction; 0 if it does
/// not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(pub u64);

impl Stamp {
    /// This moment.
    pub fn now() -> Stamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        // Seconds of 32 bits last until 2106.
        Stamp((since.as_secs() << 32) | fraction)
    }

    /// The same moment by our clocks: `now` if it is not stated, lies in the future, or is more than ten seconds old.
    pub fn exposed(self, now: Instant, clock: SystemTime) -> Instant {
        let fraction = Duration::from_nanos(((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32);
        let stated = UNIX_EPOCH.checked_add(Duration::from_secs(self.0 >> 32) + fraction);
        let age = stated.and_then(|stated| clock.duration_since(stated).ok());
        age.filter(|age| *age <= OLDEST).and_then(|age| now.checked_sub(age)).unwrap_or(now)
    }
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// 1, or 2 and 3 with an extended header in the body.
    pub version: u16,
    /// Type of the message.
    pub kind: String,
    /// Name of the device that it is from.
    pub device: String,
    /// When it was made.
    pub stamp: Stamp,
    /// Bytes that follow.
    pub body: u64,
    /// Sum of these.
    pub crc: u64,
}

impl Header {
    /// Reads a header; `None` if these bytes are none, so that nobody knows where the next one begins.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<Header> {
        let mut rest = &bytes[..];
        let version = u16::from_be_bytes(take(&mut rest)?);
        let kind = name(&take::<KIND>(&mut rest)?);
        let device = name(&take::<DEVICE>(&mut rest)?);
        let [stamp, body, crc] =
            [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_be_bytes);
        let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=3).contains(&version) && is_kind).then_some(Header {
            version,
            kind,
            device,
            stamp: Stamp(stamp),
            body,
            crc,
        })
    }
}

/// A name that is padded with NUL; blanks at its end do not count either.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// A message of version 1, which every receiver reads.
pub(super) fn message(kind: &str, device: &str, stamp: Stamp, body: &[u8]) -> Vec<u8> {
    let padded = |name: &str, length: usize| {
        let mut bytes = name.as_bytes()[..name.len().min(length)].to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(1_u16.to_be_bytes());
    bytes.extend(padded(kind, KIND));
    bytes.extend(padded(device, DEVICE));
    bytes.extend(stamp.0.to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend(sum(body).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A STRING message; `None` if the text is longer than one can be.
pub(super) fn string(device: &str, stamp: Stamp, text: &str) -> Option<Vec<u8>> {
    let length = u16::try_from(text.len()).ok().filter(|&length| usize::from(length) <= MAX_TEXT)?;
    let set = if text.is_ascii() { ASCII } else { UTF8 };
    let body = [&set.to_be_bytes(), &length.to_be_bytes(), text.as_bytes()].concat();
    Some(message("STRING", device, stamp, &body))
}

/// Codes of STATUS messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    Ok = 1,
    TimeOut = 7,
    NotReady = 13,
    Shutdown = 19,
}

/// A STATUS message.
pub(super) fn status(device: &str, code: Code, text: &str) -> Vec<u8> {
    let mut body = (code as u16).to_be_bytes().to_vec();
    body.extend(0_i64.to_be_bytes());
    let mut name = format!("{code:?}").into_bytes();
    name.resize(20, 0);
    body.extend(name);
    body.extend(text.bytes().filter(|&byte| byte != 0));
    body.push(0);
    message("STATUS", device, Stamp::now(), &body)
}

/// A CAPABILITY message: the types that are read or written.
pub(super) fn capability(device: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for kind in ["IMAGE", "STRING", "STATUS", "GET_STATUS", "GET_CAPABIL", "CAPABILITY"] {
        let end = body.len() + KIND;
        body.extend(kind.bytes());
        body.resize(end, 0);
    }
    message("CAPABILITY", device, Stamp::now(), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_written_and_read() {
        // The check value of the catalogue of CRCs (reveng.sourceforge.io).
        assert_eq!(sum(b"123456789"), 0x6c40_df5f_0b49_7347);
        let bytes = message("STRING", "a name that is longer than twenty", Stamp(5 << 32), b"body");
        let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((header.version, header.kind.as_str(), header.body), (1, "STRING", 4));
        assert_eq!((header.device.as_str(), header.crc), ("a name that is longe", sum(b"body")));
        for (at, value) in [(1, 0), (1, 4), (0, 1), (2, 0), (2, b' '), (3, 200)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert_eq!(Header::parse(bad.first_chunk().unwrap()), None, "{at}");
        }
        assert!(string("d", Stamp(0), &"x".repeat(65535)).is_some());
        assert!(string("d", Stamp(0), &"x".repeat(65536)).is_none());
    }

    #[test]
    fn a_moment_that_is_not_plausible_is_now() {
        let (now, clock) = (Instant::now(), UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        let ago = |stamp: u64| now.duration_since(Stamp(stamp).exposed(now, clock)).as_secs_f64();
        assert_eq!(ago(0), 0.0);
        assert!((ago(1_700_000_000 << 32) - 0.5).abs() < 1e-6);
        assert!((ago((1_699_999_999 << 32) | (1 << 31)) - 1.0).abs() < 1e-6);
        assert_eq!(ago(1_700_000_001 << 32), 0.0, "in the future");
        assert_eq!(ago(1_699_999_990 << 32), 0.0, "more than ten seconds ago");
        assert_eq!(ago(u64::MAX), 0.0);
        assert!(Stamp::now().exposed(now, SystemTime::now()) <= Instant::now());
    }
}
