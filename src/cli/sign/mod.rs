//! `microraptor key`, `sign` and `verify`.

mod contents;
#[cfg(feature = "sign")]
mod key;
#[cfg(feature = "sign")]
mod password;
#[cfg(feature = "sign")]
mod signing;
mod verify;

#[cfg(feature = "sign")]
pub use key::run as key;
#[cfg(feature = "sign")]
pub use signing::run as sign;
pub use verify::run as verify;
