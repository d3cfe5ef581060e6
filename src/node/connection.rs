//! PDUs over a stream, and a watch over their pace.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use dicom_ul::association::read_pdu_from_wire;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, PDataValue, PDataValueType, Pdu, write_pdu,
};

use super::Command;
use super::watch::Pace;
use crate::guarded::guarded;

/// A connection to a peer.
pub(super) struct Connection<S> {
    stream: S,
    buffer: BytesMut,
    max_pdu: u32,
    pub pace: Arc<Pace>,
}

impl<S: Read + Write> Connection<S> {
    /// PDUs over `stream`, of at most `max_pdu` bytes.
    pub fn new(stream: S, max_pdu: u32, pace: Arc<Pace>) -> Connection<S> {
        Connection { stream, buffer: BytesMut::new(), max_pdu, pace }
    }

    /// The next PDU. The error is in words.
    pub fn receive(&mut self) -> Result<Pdu, String> {
        let Connection { stream, buffer, max_pdu, pace, .. } = self;
        let found = guarded(
            || read_pdu_from_wire(stream, buffer, *max_pdu, true).map_err(|error| chain(&error)),
            str::to_owned,
        );
        match found {
            Ok(pdu) => {
                pace.moved();
                Ok(pdu)
            }
            Err(problem) => Err(pace.over().unwrap_or(problem)),
        }
    }

    /// Sends a PDU. The error is in words.
    pub fn send(&mut self, pdu: &Pdu) -> Result<(), String> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|error| chain(&error))?;
        let sent = self.stream.write_all(&bytes).and_then(|()| self.stream.flush());
        sent.map_err(|error| self.pace.over().unwrap_or_else(|| error.to_string()))
    }

    /// Sends a command set in the presentation context `context`. Ours have a few hundred bytes, which fit into the PDUs of
    /// any peer.
    pub fn command(&mut self, context: u8, command: &Command) -> Result<(), String> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data: command.write(),
        };
        self.send(&Pdu::PData { data: vec![value] })
    }

    /// Ends the association from our side, for a fault of the peer.
    pub fn abort(&mut self) {
        let reason = AbortRQServiceProviderReason::ReasonNotSpecified;
        // The peer may be gone.
        let _ = self.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) });
    }
}

/// An error and its causes in a line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
