//! Command sets (PS3.7, 6.3): elements of group 0000 in Implicit VR Little Endian, before the data set of a message.

use std::collections::BTreeMap;

/// The largest command set that is read, in bytes. Those of C-ECHO and C-STORE have a few hundred.
pub(super) const MAX_COMMAND: usize = 16 << 10;

/// C-STORE-RQ, C-FIND-RQ, C-ECHO-RQ and C-CANCEL-RQ of (0000,0100) CommandField (PS3.7, E.1).
pub(super) const STORE: u16 = 0x0001;
pub(super) const FIND: u16 = 0x0020;
pub(super) const ECHO: u16 = 0x0030;
pub(super) const CANCEL: u16 = 0x0FFF;
/// Set in the command field of a response.
pub(super) const RESPONSE: u16 = 0x8000;
/// (0000,0800) CommandDataSetType of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;

const GROUP_LENGTH: u16 = 0x0000;
const CLASS: u16 = 0x0002;
const FIELD: u16 = 0x0100;
const MESSAGE: u16 = 0x0110;
const RESPONDED_TO: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const COMMENT: u16 = 0x0902;
const INSTANCE: u16 = 0x1000;

/// A command set: the values of its elements, by the element number in group 0000.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    values: BTreeMap<u16, Vec<u8>>,
}

impl Command {
    /// Reads a command set. Elements that are not known are kept and ignored.
    ///
    /// # Errors
    /// What is wrong, in a few words: the bytes end within an element, or another group than 0000 comes.
    pub fn read(mut bytes: &[u8]) -> Result<Command, String> {
        let mut values = BTreeMap::new();
        while !bytes.is_empty() {
            let Some((&[g0, g1, e0, e1, l0, l1, l2, l3], rest)) = bytes.split_first_chunk() else {
                return Err("the command set ends within an element".into());
            };
            let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            if group != 0 {
                return Err(format!("the command set has an element of group {group:04x}"));
            }
            let value = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
            let Some((value, rest)) = value else {
                return Err(format!("element (0000,{element:04x}) announces {length} bytes and has fewer"));
            };
            values.insert(element, value.to_vec());
            bytes = rest;
        }
        Ok(Command { values })
    }

    /// The bytes of the command set, with its group length.
    pub fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (element, value) in self.values.iter().filter(|(element, _)| **element != GROUP_LENGTH) {
            push(&mut body, *element, value);
        }
        let mut bytes = Vec::with_capacity(body.len() + 12);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        push(&mut bytes, GROUP_LENGTH, &length.to_le_bytes());
        bytes.append(&mut body);
        bytes
    }

    /// A C-STORE-RQ for an object of `class` and `instance` (PS3.7, 9.3.1.1).
    pub(super) fn store(message: u16, class: &str, instance: &str) -> Command {
        let command = Command::default().with(CLASS, uid(class)).with_number(FIELD, STORE);
        command
            .with_number(MESSAGE, message)
            .with_number(PRIORITY, 0)
            .with_number(DATA_SET, 1)
            .with(INSTANCE, uid(instance))
    }

    /// A C-FIND-RQ in the information model `model` (PS3.7, 9.3.2.1).
    pub(super) fn find(message: u16, model: &str) -> Command {
        let command = Command::default().with(CLASS, uid(model)).with_number(FIELD, FIND);
        command.with_number(MESSAGE, message).with_number(PRIORITY, 0).with_number(DATA_SET, 1)
    }

    /// The response to this command, with `status` and a comment on it (PS3.7, 9.3.1.2 and C).
    pub(super) fn response(&self, status: u16, comment: &str) -> Command {
        let mut response = Command::default()
            .with_number(FIELD, self.field().unwrap_or_default() | RESPONSE)
            .with_number(RESPONDED_TO, self.number(MESSAGE).unwrap_or_default())
            .with_number(DATA_SET, NO_DATA_SET)
            .with_number(STATUS, status);
        for element in [CLASS, INSTANCE] {
            if let Some(value) = self.values.get(&element) {
                response = response.with(element, value.clone());
            }
        }
        if comment.is_empty() {
            return response;
        }
        // LO: at most 64 characters (PS3.5, 6.2).
        let plain = comment.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' });
        response.with(COMMENT, even(plain.take(64).collect::<String>().into_bytes(), b' '))
    }

    /// (0000,0100) CommandField.
    pub(super) fn field(&self) -> Option<u16> {
        self.number(FIELD)
    }

    /// (0000,0900) Status of a response.
    pub(super) fn status(&self) -> Option<u16> {
        self.number(STATUS)
    }

    /// (0000,0120) MessageIDBeingRespondedTo of a response.
    pub(super) fn responded_to(&self) -> Option<u16> {
        self.number(RESPONDED_TO)
    }

    /// Whether a data set follows.
    pub(super) fn has_data_set(&self) -> bool {
        self.number(DATA_SET).is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// (0000,0002) AffectedSOPClassUID, as it is written there without its padding.
    pub(super) fn class(&self) -> Option<&str> {
        self.text(CLASS)
    }

    /// (0000,1000) AffectedSOPInstanceUID.
    pub(super) fn instance(&self) -> Option<&str> {
        self.text(INSTANCE)
    }

    fn number(&self, element: u16) -> Option<u16> {
        let value = self.values.get(&element)?;
        Some(u16::from_le_bytes(value.as_slice().try_into().ok()?))
    }

    fn text(&self, element: u16) -> Option<&str> {
        std::str::from_utf8(self.values.get(&element)?).ok().map(super::classes::trimmed)
    }

    fn with(mut self, element: u16, value: Vec<u8>) -> Command {
        self.values.insert(element, value);
        self
    }

    fn with_number(self, element: u16, number: u16) -> Command {
        self.with(element, number.to_le_bytes().to_vec())
    }
}

fn push(bytes: &mut Vec<u8>, element: u16, value: &[u8]) {
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&element.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(value);
}

/// A UID padded with a zero byte to an even length (PS3.5, 9.1).
fn uid(text: &str) -> Vec<u8> {
    even(text.as_bytes().to_vec(), 0)
}

fn even(mut value: Vec<u8>, padding: u8) -> Vec<u8> {
    if value.len() % 2 == 1 {
        value.push(padding);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let request = Command::store(7, "1.2.840.10008.5.1.4.1.1.7", "1.2.3");
        let read = Command::read(&request.write()).unwrap();
        assert_eq!(
            (read.field(), read.class(), read.instance()),
            (Some(STORE), request.class(), Some("1.2.3"))
        );
        assert!(read.has_data_set());
        let response = Command::read(&read.response(0xA700, "the disk is full").write()).unwrap();
        assert_eq!((response.field(), response.status()), (Some(0x8001), Some(0xA700)));
        assert_eq!((response.responded_to(), response.has_data_set()), (Some(7), false));
        assert_eq!(response.instance(), Some("1.2.3"));
    }

    #[test]
    fn damaged_command_sets_are_refused() {
        let whole = Command::store(7, "1.2", "1.2.3").write();
        for length in 1..whole.len() {
            // A cut between two elements leaves a shorter command set.
            if let Ok(command) = Command::read(&whole[..length]) {
                assert!(command.values.len() < 7, "{length}");
            }
        }
        let mut huge = whole.clone();
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Command::read(&huge).unwrap_err().contains("announces 4294967295 bytes"));
        let mut group = whole;
        group[0] = 8;
        assert!(Command::read(&group).unwrap_err().contains("group 0008"));
    }
}
