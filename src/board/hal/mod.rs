//! External power meters on I2C and pins of the board's header, through embedded-hal. Nothing here runs unless
//! requested.

mod debounce;
mod ina;
mod lines;
mod signals;

pub use ina::InaMeter;
pub use signals::{OpenPin, Signals};

use std::io;

use linux_embedded_hal::I2cdev;

use super::energy::PowerMeter;
use super::{BoardError, MeterError, MeterSpec};

/// Opens and configures a meter on one of this machine's buses.
///
/// # Errors
/// [`BoardError::Meter`] names the bus and the address, and what to check.
pub fn open_meter(spec: &MeterSpec) -> Result<Box<dyn PowerMeter>, BoardError> {
    let bus = I2cdev::new(&spec.bus).map_err(|error| {
        let error = io::Error::from(error);
        let reason = match error.kind() {
            io::ErrorKind::NotFound => MeterError::NoBus(error.to_string()),
            io::ErrorKind::PermissionDenied => MeterError::BusDenied(error.to_string()),
            _ => MeterError::Bus(error.to_string()),
        };
        BoardError::Meter { meter: spec.to_string(), reason }
    })?;
    Ok(Box::new(InaMeter::new(bus, spec)?))
}

#[cfg(test)]
mod tests;
