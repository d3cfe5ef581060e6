//! What a node reports.

use std::sync::Arc;

use serde::Serialize;

/// What happened. Objects are named by their SOP Instance UIDs; nothing else of a patient is in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A peer called and was accepted.
    Association {
        /// Number of the association since the start.
        association: u64,
        /// Address of the peer.
        peer: String,
        /// Title of the peer.
        calling: String,
        /// Presentation contexts that were accepted, and refused.
        accepted: usize,
        /// Those that were refused: their class or all their transfer syntaxes.
        refused: usize,
    },
    /// The association ended: released by the peer, or otherwise.
    Closed {
        /// Number of the association.
        association: u64,
        /// Objects that were acknowledged in it.
        stored: u64,
        /// How it ended: `released`, or what was wrong.
        reason: String,
    },
    /// A peer was not accepted, or an object.
    Refused {
        /// Address of the peer.
        peer: String,
        /// Title of the peer, if it was understood.
        #[serde(skip_serializing_if = "Option::is_none")]
        calling: Option<String>,
        /// The object, if it is one that was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// The status that was answered, in hexadecimal digits, for an object.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        /// Why.
        reason: String,
    },
    /// An object is on the disk; its acknowledgement follows.
    Stored {
        /// Number of the association.
        association: u64,
        /// Its SOP Instance UID.
        object: String,
        /// Its size in bytes.
        bytes: u64,
        /// Whether it came before, and is not answered again.
        duplicate: bool,
    },
    /// A result was acknowledged by a destination, and its marker is on the disk.
    Sent {
        /// The object that it answers.
        object: String,
        /// SOP Instance UID of the result.
        result: String,
        /// The destination.
        to: String,
        /// The status of the destination, 0000 or a warning, in hexadecimal digits.
        status: String,
        /// Whether an earlier try to send it ended without an answer, so that the destination may have received it
        /// twice, under the same UID.
        again: bool,
    },
    /// A destination has a result already, of an earlier try that ended without an answer; its marker is on the disk.
    Present {
        /// The object that it answers.
        object: String,
        /// SOP Instance UID of the result.
        result: String,
        /// The destination.
        to: String,
    },
    /// A destination did not take a result, which is tried again.
    Unsent {
        /// The object, if it was one that was refused, and not the association.
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// The destination.
        to: String,
        /// Why not.
        problem: String,
        /// In how many seconds it is tried again.
        retry_seconds: f64,
    },
    /// Every destination has all results of an object.
    Done {
        /// The object.
        object: String,
    },
}

/// Where events go. It is called from every thread of the node, before what follows from the event.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;
