//! An association that was accepted, until it ends: C-ECHO and C-STORE (PS3.7, 9.1).

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::command::{CANCEL, ECHO, MAX_COMMAND, RESPONSE, STORE};
use super::connection::{Connection, chain};
use super::negotiate::Context;
use super::queue::{Arrival, Queue, QueueError, Stored};
use super::{Command, Event, Report, Rules, classes};
use crate::input::dicom_elements;

/// Statuses of C-STORE (PS3.4, B.2.3, and PS3.7, C).
mod status {
    pub const SUCCESS: u16 = 0x0000;
    pub const CLASS_NOT_SUPPORTED: u16 = 0x0122;
    pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;
    pub const INVALID_INSTANCE: u16 = 0x0117;
    pub const OUT_OF_RESOURCES: u16 = 0xA700;
    pub const DATA_SET_DOES_NOT_MATCH: u16 = 0xA900;
    pub const CANNOT_UNDERSTAND: u16 = 0xC000;
}

/// An object that is refused: the status and the reason.
type Refusal = (u16, String);

/// Serves one association.
pub(super) struct Service<'a, S> {
    pub connection: Connection<S>,
    pub contexts: Vec<Context>,
    pub queue: &'a Queue,
    pub rules: &'a Rules,
    pub report: &'a Report,
    /// Number of the association.
    pub number: u64,
    pub peer: String,
    pub calling: String,
    /// Objects acknowledged so far.
    pub stored: u64,
    pub message: Message,
}

/// What of a message has come.
#[derive(Default)]
pub(super) enum Message {
    /// Fragments of a command set, all of one presentation context.
    #[default]
    Nothing,
    Command {
        context: u8,
        bytes: Vec<u8>,
    },
    /// A command whose data set comes.
    Data {
        context: u8,
        command: Command,
        sink: Result<Arrival, Refusal>,
    },
}

impl<S: Read + Write> Service<'_, S> {
    /// Serves until the peer releases the association; the error says what else ended it.
    pub fn serve(&mut self) -> Result<(), String> {
        loop {
            match self.connection.receive()? {
                Pdu::PData { data } => {
                    for value in data {
                        let taken = self.take(value);
                        if taken.is_err() {
                            self.connection.abort();
                        }
                        taken?;
                    }
                }
                Pdu::ReleaseRQ => return self.connection.send(&Pdu::ReleaseRP),
                Pdu::AbortRQ { .. } => return Err("the peer aborted".into()),
                _ => {
                    self.connection.abort();
                    return Err("a PDU came that does not belong here".into());
                }
            }
        }
    }

    /// Takes a fragment of a message.
    fn take(&mut self, value: PDataValue) -> Result<(), String> {
        let PDataValue { presentation_context_id: id, value_type, is_last, data } = value;
        if !self.contexts.iter().any(|context| context.id == id) {
            return Err(format!("a message came in presentation context {id}, which was not accepted"));
        }
        match (std::mem::take(&mut self.message), value_type) {
            (Message::Nothing, PDataValueType::Command) => self.command(id, data, is_last),
            (Message::Command { context, mut bytes }, PDataValueType::Command) if context == id => {
                bytes.extend_from_slice(&data);
                self.command(id, bytes, is_last)
            }
            (Message::Data { context, command, sink }, PDataValueType::Data) if context == id => {
                let sink = sink.and_then(|arrival| self.append(arrival, &data));
                if is_last {
                    return self.end(id, &command, sink);
                }
                self.message = Message::Data { context, command, sink };
                Ok(())
            }
            _ => Err("a fragment came that does not belong to its message".into()),
        }
    }

    /// Takes what has come of a command set; acts on it if it is complete.
    fn command(&mut self, id: u8, bytes: Vec<u8>, complete: bool) -> Result<(), String> {
        if bytes.len() > MAX_COMMAND {
            return Err(format!("the command set has more than {MAX_COMMAND} bytes"));
        }
        if !complete {
            self.message = Message::Command { context: id, bytes };
            return Ok(());
        }
        let command = Command::read(&bytes)?;
        let field = command.field().ok_or("the command set has no command field")?;
        if field == CANCEL || field & RESPONSE != 0 {
            // There is nothing to cancel, and nothing was asked.
            return if command.has_data_set() {
                Err("a response came with a data set".into())
            } else {
                Ok(())
            };
        }
        if command.has_data_set() {
            let sink = if field == STORE { self.begin(id, &command) } else { Err(unknown(field)) };
            self.message = Message::Data { context: id, command, sink };
            return Ok(());
        }
        self.connection.pace.message();
        let (status, comment) = match field {
            ECHO => (status::SUCCESS, String::new()),
            STORE => (status::CANNOT_UNDERSTAND, "no data set follows".into()),
            _ => unknown(field),
        };
        self.connection.command(id, &command.response(status, &comment))
    }

    /// Begins to store an object: its file begins with the file meta information (PS3.10, 7.1).
    fn begin(&self, id: u8, command: &Command) -> Result<Arrival, Refusal> {
        let Some(context) = self.contexts.iter().find(|context| context.id == id) else {
            return Err((status::CANNOT_UNDERSTAND, "unknown presentation context".into()));
        };
        let (class, uid) = (command.class().unwrap_or_default(), command.instance().unwrap_or_default());
        if class != context.class || !classes::is_storage(class) {
            return Err((
                status::CLASS_NOT_SUPPORTED,
                "not the SOP class of its presentation context".into(),
            ));
        }
        let mut arrival = self.queue.receive(uid).map_err(|error| self.refusal(error))?;
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(uid)
            .transfer_syntax(&*context.syntax)
            .source_application_entity_title(&*self.calling)
            .build();
        let mut head = [&[0; 128], b"DICM".as_slice()].concat();
        let written = meta.and_then(|meta| meta.write(&mut head));
        written.map_err(|error| (status::CANNOT_UNDERSTAND, chain(&error)))?;
        arrival.write(&head).map_err(|error| self.refusal(error))?;
        Ok(arrival)
    }

    /// Appends a fragment of a data set.
    fn append(&self, mut arrival: Arrival, data: &[u8]) -> Result<Arrival, Refusal> {
        if arrival.written() + data.len() as u64 > self.rules.max_object {
            let most = self.rules.max_object >> 20;
            return Err((status::OUT_OF_RESOURCES, format!("larger than {most} MiB")));
        }
        arrival.write(data).map_err(|error| self.refusal(error))?;
        Ok(arrival)
    }

    /// The data set is complete: stores the object, and answers.
    fn end(&mut self, id: u8, command: &Command, sink: Result<Arrival, Refusal>) -> Result<(), String> {
        let stored = sink.and_then(|arrival| self.store(arrival, command));
        // What took time was our disk.
        self.connection.pace.message();
        match stored {
            Ok(()) => {
                self.stored += 1;
                self.connection.command(id, &command.response(status::SUCCESS, ""))
            }
            Err((status, reason)) => {
                (self.report)(Event::Refused {
                    peer: self.peer.clone(),
                    calling: Some(self.calling.clone()),
                    object: command.instance().map(str::to_owned),
                    status: Some(format!("{status:04X}")),
                    reason: reason.clone(),
                });
                self.connection.command(id, &command.response(status, &reason))
            }
        }
    }

    fn store(&self, mut arrival: Arrival, command: &Command) -> Result<(), Refusal> {
        let uid = command.instance().unwrap_or_default();
        arrival.close().map_err(|error| self.refusal(error))?;
        check(arrival.path(), command)?;
        let bytes = arrival.written();
        let stored = self.queue.store(arrival, uid).map_err(|error| self.refusal(error))?;
        let (association, object) = (self.number, uid.to_owned());
        let duplicate = stored == Stored::Duplicate;
        (self.report)(Event::Stored { association, object, bytes, duplicate });
        Ok(())
    }

    /// What a peer is told of an error of the queue; the details are for the log.
    fn refusal(&self, error: QueueError) -> Refusal {
        match error {
            QueueError::Uid(_) => (status::INVALID_INSTANCE, "not a valid SOP Instance UID".into()),
            error => {
                log::warn!("{}", chain(&error));
                let reason = if error.is_full() { "the disk is full" } else { "cannot write to the disk" };
                (status::OUT_OF_RESOURCES, reason.into())
            }
        }
    }
}

/// Refuses a data set that cannot be read up to its pixels, or is another object than announced.
fn check(path: &Path, command: &Command) -> Result<(), Refusal> {
    // A deflated data set is in memory meanwhile: one at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let object = dicom_elements(path).map_err(|problem| (status::CANNOT_UNDERSTAND, problem))?;
    let text = |tag| object.get(tag).and_then(|element| element.to_str().ok());
    for (tag, expected, name) in [
        (tags::SOP_CLASS_UID, command.class(), "SOP Class UID"),
        (tags::SOP_INSTANCE_UID, command.instance(), "SOP Instance UID"),
    ] {
        if text(tag).as_deref().map(classes::trimmed) != expected {
            return Err((status::DATA_SET_DOES_NOT_MATCH, format!("the data set has another {name}")));
        }
    }
    Ok(())
}

fn unknown(field: u16) -> Refusal {
    (status::UNRECOGNIZED_OPERATION, format!("command {field:04x} is not known"))
}
