//! Who may send what.

use std::collections::BTreeSet;
use std::time::Duration;

use super::AeTitle;

/// Rules of a node.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Title of the node.
    pub title: AeTitle,
    /// Whether calls for another title are accepted too.
    pub any_called: bool,
    /// Titles that may call; all if it is empty.
    pub allowed: BTreeSet<AeTitle>,
    /// The largest object that is accepted, in bytes.
    pub max_object: u64,
    /// The largest PDU that is accepted, in bytes.
    pub max_pdu: u32,
    /// Associations at the same time; further ones are rejected.
    pub max_associations: usize,
    /// How long a peer may take until its association is requested (ARTIM, PS3.8, 9.1.5), and until its next PDU.
    pub idle: Duration,
    /// How long one message may take, whatever its size.
    pub max_message: Duration,
}

impl Rules {
    /// The usual rules for a node of this title: objects of at most 1 GiB, PDUs of 128 KiB, 16 associations, 30 s
    /// without a PDU, and 10 minutes for a message.
    pub fn new(title: AeTitle) -> Rules {
        Rules {
            title,
            any_called: false,
            allowed: BTreeSet::new(),
            max_object: 1 << 30,
            max_pdu: 128 << 10,
            max_associations: 16,
            idle: Duration::from_secs(30),
            max_message: Duration::from_secs(600),
        }
    }
}
