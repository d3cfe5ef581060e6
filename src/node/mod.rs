//! A DICOM node: objects come by C-STORE, are queued on the disk, and their results go out by C-STORE (PS3.4, B; PS3.7;
//! PS3.8).
//!
//! [`Queue`] holds objects from their acknowledgement until every destination has their results. A [`Listener`] accepts
//! associations and stores objects in it; the program that owns the queue takes one object after the other
//! ([`Queue::take`]), writes its results into a folder, and hands them over ([`Queue::answered`]); a [`Sender`] for each
//! [`Destination`] sends them. The three share nothing else than the queue, which survives that the process is killed.
//!
//! The crate `dicom-ul` reads and writes the protocol's units (PDUs) and requests associations; accepting them is done
//! here, so that the limits of [`Rules`] hold from the first byte on.

mod classes;
mod command;
mod connection;
mod destination;
mod event;
mod find;
mod listener;
mod negotiate;
mod queue;
mod rules;
mod scp;
mod scu;
mod sender;
#[cfg_attr(not(feature = "node-tls"), path = "tls_absent.rs")]
mod tls;
mod watch;

#[doc(hidden)]
pub use command::Command;
pub use destination::{AeTitle, Destination};
pub use event::{Event, Report};
pub use listener::Listener;
#[doc(hidden)]
pub use listener::converse;
pub use queue::{Arrival, MAX_TRIES, Queue, QueueError, Stored, Unsent, Work};
pub use rules::Rules;
pub use sender::{Retry, Sender};
pub use tls::{Tls, TlsError};
