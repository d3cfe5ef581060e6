//! Checks an ONNX file before it is decoded, by stepping over protobuf fields by their length.
//!
//! A decoder reads a whole file before it reaches the first wrong byte, and a file of 2 GiB may be sparse: one page and
//! a hole. A hole shows here as a field of number 0, which no message has, or as weights that do not match their shape.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};

/// Messages on the path to weights; the field numbers are those of `onnx.proto`.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

impl Message {
    /// The message in field `number`, if it is on the path to weights.
    fn within(self, number: u64) -> Option<Message> {
        match (self, number) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Some(Message::Graph),
            (Message::Graph, 1) => Some(Message::Node),
            (Message::Node, 5) => Some(Message::Attribute),
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) => Some(Message::Tensor),
            _ => None,
        }
    }
}

/// Maximum nesting depth of messages: tract's decoder also stops at 100.
const MAX_DEPTH: usize = 100;

/// Steps through the fields of the model in `file`, which has `length` bytes; the error describes what is wrong.
pub(super) fn skim(file: &File, length: u64) -> Result<(), String> {
    let mut fields = Fields { reader: BufReader::new(file), at: 0 };
    fields.message(Message::Model, length, 0).map_err(|e| e.to_string())
}

struct Fields<'a> {
    reader: BufReader<&'a File>,
    at: u64,
}

fn wrong(problem: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem.into())
}

impl Fields<'_> {
    /// Checks the fields of a message that ends at `end`.
    fn message(&mut self, kind: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(wrong("its messages lie too deep within each other"));
        }
        let (mut values, mut bits, mut raw) = (1_u64, None, None);
        while self.at < end {
            let tag = self.varint()?;
            let number = tag >> 3;
            if number == 0 {
                return Err(wrong(format!("the field at byte {} has no number", self.at)));
            }
            let length = match tag & 7 {
                0 => {
                    let value = self.varint()?;
                    match (kind, number) {
                        (Message::Tensor, 1) => values = values.saturating_mul(value),
                        (Message::Tensor, 2) => bits = bits_of(value),
                        _ => {}
                    }
                    continue;
                }
                1 => 8,
                2 => self.varint()?,
                5 => 4,
                other => {
                    return Err(wrong(format!("the field at byte {} is of the wire type {other}", self.at)));
                }
            };
            let stop = self.at.checked_add(length).filter(|&stop| stop <= end);
            let stop = stop.ok_or_else(|| wrong(format!("the field at byte {} is cut short", self.at)))?;
            match kind.within(number) {
                Some(inner) if tag & 7 == 2 => self.message(inner, stop, depth + 1)?,
                _ if matches!((kind, number, tag & 7), (Message::Tensor, 1, 2)) => {
                    while self.at < stop {
                        values = values.saturating_mul(self.varint()?);
                    }
                }
                _ => {
                    if matches!((kind, number), (Message::Tensor, 9)) {
                        raw = Some(length);
                    }
                    self.skip(length)?;
                }
            }
        }
        let expected = bits.map(|bits: u64| values.saturating_mul(bits / 8));
        match (raw, expected) {
            (Some(held), Some(expected)) if held > 0 && held != expected => {
                Err(wrong(format!("a tensor of {values} values has {held} bytes instead of {expected}")))
            }
            _ => Ok(()),
        }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let &[byte, ..] = self.reader.fill_buf()? else { return Err(wrong("it ends within a field")) };
            self.reader.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(wrong(format!("the number at byte {} is too long", self.at)))
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.reader.seek_relative(length.cast_signed())?;
        self.at += length;
        Ok(())
    }
}

/// Bits per value of the data type `code` (`TensorProto.DataType`); `None` for a type that tract does not read.
pub(super) fn bits_of(code: u64) -> Option<u64> {
    match code {
        2 | 3 | 9 => Some(8),
        4 | 5 | 10 | 16 => Some(16),
        1 | 6 | 12 => Some(32),
        7 | 11 | 13 => Some(64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;

    fn skimmed(start: &[u8], length: u64) -> Result<(), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(start).unwrap();
        file.set_len(length).unwrap();
        let mut from_start = &file;
        io::Seek::rewind(&mut from_start).unwrap();
        skim(&file, length)
    }

    #[test]
    fn sound_files_pass_and_holes_do_not() {
        for name in ["cnn-fixed.onnx", "tiny/dynamo-fixed.onnx", "tiny/torchscript-dynamic.onnx"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx").join(name);
            let bytes = std::fs::read(path).unwrap();
            let length = bytes.len() as u64;
            assert_eq!(skimmed(&bytes, length), Ok(()), "{name}");
            assert!(skimmed(&bytes, 2 << 30).unwrap_err().contains("no number"), "{name}");
            assert!(
                skimmed(&bytes[..bytes.len() / 2], length / 2).unwrap_err().contains("cut short"),
                "{name}"
            );
        }
        // graph { initializer { dims: 4, data_type: FLOAT, raw_data: a hole of 1 MiB } }
        let inner = [&[0x08, 4, 0x10, 1, 0x4a, 0x80, 0x80, 0x40][..]].concat();
        let within = |tag: u8, length: usize| {
            vec![tag, (length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8]
        };
        let tensor = inner.len() + (1 << 20);
        let start = [within(0x3a, tensor + 4), within(0x2a, tensor), inner].concat();
        let length = start.len() as u64 + (1 << 20);
        let problem = skimmed(&start, length).unwrap_err();
        assert_eq!(problem, "a tensor of 4 values has 1048576 bytes instead of 16");
    }
}
