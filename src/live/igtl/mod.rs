//! OpenIGTLink (<http://openigtlink.org>): pictures from scanners, PLUS and 3D Slicer over TCP, and answers back.
//!
//! An [`IgtlSource`] connects, or listens for others that do; [`IgtlPeers`] sends on the same connections. Nothing here
//! trusts a peer: memory grows with the bytes that came, not with those that are announced, and what a slow peer does not
//! take is left out. The protocol has neither encryption nor passwords.

mod address;
mod link;
mod message;
mod outbox;
mod patient;
mod peers;
mod picture;
mod reader;
mod source;

#[cfg(test)]
mod tests;

pub use address::IgtlAddress;
pub use peers::{IgtlPeers, IgtlStatus};
pub use reader::{IgtlMessage, IgtlPicture, IgtlReader};
pub use source::IgtlSource;
