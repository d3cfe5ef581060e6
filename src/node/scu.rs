//! Sends results over an association that we request (PS3.7, 9.1.1).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::{FileDicomObject, InMemDicomObject, open_file};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::association::{Association, CloseSocket, SyncAssociation};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::classes::trimmed;
use super::command::MAX_COMMAND;
use super::connection::chain;
use super::find::{PENDING, identifier, names};
use super::{AeTitle, Command, Destination, Tls, Unsent};
use crate::guarded::guarded;

/// The classes of results.
const RESULTS: [&str; 2] = [uids::SEGMENTATION_STORAGE, uids::ENHANCED_SR_STORAGE];

/// How archives are asked what they have.
const QUERIES: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;

/// Bytes and number of answers to a question that are read: one is expected, of some hundred bytes.
const MAX_ANSWER: (usize, usize) = (64 << 10, 64);

/// The largest PDU that we take or make, in bytes.
const MAX_PDU: u32 = 128 << 10;

/// Why a result was not sent.
pub(super) enum Failure {
    /// The peer answered, and did not take it: this one only.
    Refused(String),
    /// The association is over; whether the peer has it is not known.
    Broken(String),
}

/// What a destination said of a result that it took.
pub(super) struct Taken {
    pub status: u16,
    /// SOP Instance UID of the result.
    pub result: String,
}

/// An association to a destination.
pub(super) struct Call {
    link: Box<dyn Link>,
    message: u16,
    /// Of the last PDU, what was not looked at yet.
    values: VecDeque<PDataValue>,
}

/// What is needed of an association, whatever its stream is.
trait Link: Send {
    fn transmit(&mut self, pdu: &Pdu) -> Result<(), String>;
    fn next(&mut self) -> Result<Pdu, String>;
    fn release(self: Box<Self>);
    fn context(&self, class: &str) -> Option<(u8, String)>;
    fn max_pdu(&self) -> u32;
}

impl<S: Read + Write + CloseSocket + Send> Link for ClientAssociation<S> {
    fn transmit(&mut self, pdu: &Pdu) -> Result<(), String> {
        SyncAssociation::send(self, pdu).map_err(|error| chain(&error))
    }

    fn next(&mut self) -> Result<Pdu, String> {
        guarded(|| SyncAssociation::receive(self).map_err(|error| chain(&error)), str::to_owned)
    }

    fn release(self: Box<Self>) {
        // Whatever it answers, it has acknowledged what it has.
        let _ = SyncAssociation::release(*self);
    }

    fn context(&self, class: &str) -> Option<(u8, String)> {
        let found = Association::presentation_contexts(self).iter().find(|c| c.abstract_syntax == class)?;
        Some((found.id, found.transfer_syntax.clone()))
    }

    fn max_pdu(&self) -> u32 {
        // 0 is no limit, which dicom-ul gives as its largest.
        self.peer_max_pdu_length().clamp(1024, MAX_PDU)
    }
}

impl Call {
    /// Requests an association, with `asks` also for [`Call::has`]; nothing may take longer than `patience`.
    pub fn to(
        destination: &Destination,
        calling: &AeTitle,
        tls: Option<&Tls>,
        patience: Duration,
        asks: bool,
    ) -> Result<Call, String> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(calling.as_str())
            .called_ae_title(destination.title.as_str())
            .max_pdu_length(MAX_PDU)
            .connection_timeout(patience)
            .read_timeout(patience)
            .write_timeout(patience);
        for class in RESULTS.into_iter().chain(asks.then_some(QUERIES)) {
            let syntaxes = vec![uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
            options = options.with_presentation_context(class, syntaxes);
        }
        let address = (destination.host.as_str(), destination.port);
        let link: Box<dyn Link> = match tls {
            None => {
                let called =
                    guarded(|| options.establish(address).map_err(|error| chain(&error)), str::to_owned);
                Box::new(called?)
            }
            Some(tls) => {
                let called = guarded(|| tls.call(options, &destination.host, address), str::to_owned);
                Box::new(called?)
            }
        };
        Ok(Call { link, message: 0, values: VecDeque::new() })
    }

    /// Sends a result, and waits for the answer. `begin` is called before the first byte.
    pub fn send(&mut self, unsent: &Unsent, begin: impl FnOnce()) -> Result<Taken, Failure> {
        let refused = |problem: String| Failure::Refused(problem);
        let object = open_file(&unsent.path)
            .map_err(|error| refused(format!("{}: {}", unsent.path.display(), chain(&error))))?;
        let class = object.meta().media_storage_sop_class_uid().trim_end_matches('\0').to_owned();
        let result = object.meta().media_storage_sop_instance_uid().trim_end_matches('\0').to_owned();
        let Some((context, syntax)) = self.link.context(&class) else {
            return Err(refused(format!("the destination does not take objects of the class {class}")));
        };
        let bytes = encoded(&object, &syntax).map_err(refused)?;
        drop(object);
        self.message = self.message.wrapping_add(1);
        begin();
        self.write(context, PDataValueType::Command, &Command::store(self.message, &class, &result).write())?;
        self.write(context, PDataValueType::Data, &bytes)?;
        let response = self.response()?;
        if response.responded_to() != Some(self.message) {
            return Err(Failure::Broken("the answer is one to another message".into()));
        }
        match response.status() {
            // Success, and warnings: it is stored, perhaps with changes (PS3.4, B.2.3). 0111 is that it was there already.
            Some(status @ (0x0000 | 0x0001 | 0x0107 | 0x0111 | 0x0116 | 0xB000..=0xBFFF)) => {
                Ok(Taken { status, result })
            }
            Some(status) => Err(refused(format!("the destination answers with status {status:04X}"))),
            None => Err(Failure::Broken("the answer has no status".into())),
        }
    }

    /// Whether the destination has a result already, and its SOP Instance UID; `None` if it does not say.
    pub fn has(&mut self, unsent: &Unsent) -> Result<Option<(bool, String)>, Failure> {
        let Some((context, syntax)) = self.link.context(QUERIES) else { return Ok(None) };
        let syntax = trimmed(&syntax).to_owned();
        let Ok(object) = open_file(&unsent.path) else { return Ok(None) };
        let result = trimmed(object.meta().media_storage_sop_instance_uid()).to_owned();
        let Ok(asked) = identifier(&object, &syntax) else { return Ok(None) };
        self.message = self.message.wrapping_add(1);
        self.write(context, PDataValueType::Command, &Command::find(self.message, QUERIES).write())?;
        self.write(context, PDataValueType::Data, &asked)?;
        let mut found = false;
        for _ in 0..MAX_ANSWER.1 {
            let response = self.response()?;
            if response.has_data_set() {
                let answer = self.bytes(PDataValueType::Data, MAX_ANSWER.0)?;
                found |= names(&answer, &syntax, &result);
            }
            match response.status() {
                Some(status) if PENDING.contains(&status) => {}
                Some(0) => return Ok(Some((found, result))),
                // It cannot, or does not want to.
                _ => return Ok(found.then_some((true, result))),
            }
        }
        Err(Failure::Broken("more answers came than were asked for".into()))
    }

    /// Ends the association.
    pub fn release(self) {
        self.link.release();
    }

    /// Sends a command set or a data set in as many PDUs as it takes.
    fn write(&mut self, context: u8, value_type: PDataValueType, bytes: &[u8]) -> Result<(), Failure> {
        // A PDU holds the headers of the PDU and the value besides (PS3.8, 9.3.5); dicom-ul counts them all.
        let size = self.link.max_pdu() as usize - 12;
        let count = bytes.len().div_ceil(size).max(1);
        for n in 0..count {
            let data = bytes[n * size..bytes.len().min((n + 1) * size)].to_vec();
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: n + 1 == count,
                data,
            };
            self.link.transmit(&Pdu::PData { data: vec![value] }).map_err(Failure::Broken)?;
        }
        Ok(())
    }

    /// The next command set of the peer.
    fn response(&mut self) -> Result<Command, Failure> {
        let bytes = self.bytes(PDataValueType::Command, MAX_COMMAND)?;
        Command::read(&bytes).map_err(Failure::Broken)
    }

    /// The next command set or data set, of at most `most` bytes.
    fn bytes(&mut self, wanted: PDataValueType, most: usize) -> Result<Vec<u8>, Failure> {
        let broken = |problem: &str| Failure::Broken(problem.into());
        let mut bytes = Vec::new();
        loop {
            let Some(value) = self.values.pop_front() else {
                let Pdu::PData { data } = self.link.next().map_err(Failure::Broken)? else {
                    return Err(broken("the destination ended the association instead of an answer"));
                };
                self.values = data.into();
                continue;
            };
            if value.value_type != wanted || bytes.len() + value.data.len() > most {
                return Err(broken("the answer is not what has to come, or too long"));
            }
            bytes.extend_from_slice(&value.data);
            if value.is_last {
                return Ok(bytes);
            }
        }
    }
}

/// The data set of `object` in the transfer syntax `syntax`.
fn encoded(object: &FileDicomObject<InMemDicomObject>, syntax: &str) -> Result<Vec<u8>, String> {
    let syntax = syntax.trim_end_matches('\0');
    let known =
        TransferSyntaxRegistry.get(syntax).ok_or_else(|| format!("unknown transfer syntax {syntax}"))?;
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, known).map_err(|error| chain(&error))?;
    Ok(bytes)
}
