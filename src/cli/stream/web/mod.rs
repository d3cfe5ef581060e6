//! A small web server for who looks at a stream: a few connections, each with a thread and a time limit.
//!
//! A request is read by `httparse`. The servers that we found either bring an asynchronous runtime along, or wait without
//! limit for what a client sends (tiny_http 0.12), which here would be a way to hold the program's memory.

mod host;
mod machine;
mod request;
mod server;

pub use machine::{Machine, Reading};
pub use request::Request;
#[cfg(feature = "page")]
pub use server::{Client, stand_back};
pub use server::{Reply, Server, Site};
