//! Description of an external power meter on the command line.

use std::fmt;
use std::str::FromStr;

use super::BoardError;

/// Supported power meter chips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterChip {
    /// Texas Instruments INA219.
    Ina219,
    /// Texas Instruments INA226.
    Ina226,
}

impl MeterChip {
    /// Name: `ina226`.
    pub fn name(self) -> &'static str {
        match self {
            MeterChip::Ina219 => "ina219",
            MeterChip::Ina226 => "ina226",
        }
    }

    /// Largest shunt voltage that the chip can measure, V (SBOS448G, SBOS547B).
    pub(super) fn shunt_range(self) -> f64 {
        match self {
            MeterChip::Ina219 => 0.32,
            MeterChip::Ina226 => 0.08192,
        }
    }
}

/// An external power meter on I2C.
///
/// ```
/// let meter: microraptor::board::MeterSpec = "ina219:/dev/i2c-1:0x40:0.1:2".parse()?;
/// assert_eq!((meter.address, meter.shunt_ohms, meter.max_amps), (0x40, 0.1, 2.0));
/// # Ok::<(), microraptor::board::BoardError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MeterSpec {
    /// The chip.
    pub chip: MeterChip,
    /// The bus: `/dev/i2c-1`.
    pub bus: String,
    /// I2C address of the chip: 0x40 to 0x4f, set by its pins A0 and A1.
    pub address: u8,
    /// Shunt resistance in ohms: 0.1 (`R100`) on most modules.
    pub shunt_ohms: f64,
    /// Highest expected current, amperes. The default is the chip's limit with this shunt.
    pub max_amps: f64,
}

/// What is wrong with the description of a power meter.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterSpecError {
    /// More or fewer parts than a description has.
    #[error("it has {0} parts, not 4 or 5")]
    Parts(usize),
    /// A chip that is not supported.
    #[error("the chip is ina219 or ina226")]
    Chip,
    /// A bus that is not the path of a device.
    #[error("the bus is a device, like /dev/i2c-1")]
    Bus,
    /// An address that the chips cannot have.
    #[error("the address is 0x40 to 0x4f")]
    Address,
    /// A shunt that is not a resistance, or outside the range of real shunts.
    #[error("the shunt is 0.00001 to 100 ohms")]
    Shunt,
    /// A current that is not positive, or above the chip's limit.
    #[error("an {} measures up to {limit:.3} A with a shunt of {shunt_ohms} ohms", .chip.name())]
    Current {
        /// The chip.
        chip: MeterChip,
        /// The chip's limit with this shunt, amperes.
        limit: f64,
        /// Shunt resistance in ohms.
        shunt_ohms: f64,
    },
}

impl FromStr for MeterSpec {
    type Err = BoardError;

    fn from_str(text: &str) -> Result<MeterSpec, BoardError> {
        let refuse = |reason| {
            let spec = text.chars().take(100).flat_map(char::escape_default).collect();
            BoardError::Spec { spec, reason }
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (chip, bus, address, ohms, amps) = match parts[..] {
            [chip, bus, address, ohms] => (chip, bus, address, ohms, None),
            [chip, bus, address, ohms, amps] => (chip, bus, address, ohms, Some(amps)),
            _ => return Err(refuse(MeterSpecError::Parts(parts.len()))),
        };
        let chip = [MeterChip::Ina219, MeterChip::Ina226].into_iter().find(|c| c.name() == chip);
        let chip = chip.ok_or_else(|| refuse(MeterSpecError::Chip))?;
        if !bus.starts_with('/') {
            return Err(refuse(MeterSpecError::Bus));
        }
        let hex = |text: &str| u8::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        let address = hex(address).or_else(|| address.parse().ok()).filter(|a| (0x40..=0x4f).contains(a));
        let address = address.ok_or_else(|| refuse(MeterSpecError::Address))?;
        let positive = |text: &str| text.parse().ok().filter(|&value: &f64| value > 0.0 && value.is_finite());
        let shunt_ohms = positive(ohms).filter(|ohms| (1e-5..=100.0).contains(ohms));
        let shunt_ohms = shunt_ohms.ok_or_else(|| refuse(MeterSpecError::Shunt))?;
        let limit = chip.shunt_range() / shunt_ohms;
        let max_amps = match amps {
            None => limit,
            // Tolerance of half a percent, for a limit that the user has rounded up.
            Some(text) => positive(text)
                .filter(|&amps| amps <= limit * 1.005)
                .ok_or_else(|| refuse(MeterSpecError::Current { chip, limit, shunt_ohms }))?,
        };
        Ok(MeterSpec { chip, bus: bus.to_owned(), address, shunt_ohms, max_amps })
    }
}

impl fmt::Display for MeterSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} at address {:#04x} of {}", self.chip.name(), self.address, self.bus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_parsed() {
        let meter: MeterSpec = "ina226:/dev/i2c-1:0x40:0.01".parse().unwrap();
        assert_eq!((meter.chip, meter.bus.as_str(), meter.address), (MeterChip::Ina226, "/dev/i2c-1", 0x40));
        assert_eq!((meter.shunt_ohms, meter.max_amps), (0.01, 8.192));
        assert_eq!(meter.to_string(), "ina226 at address 0x40 of /dev/i2c-1");
        let meter: MeterSpec = "ina219:/dev/i2c-10:69:0.1:3.2".parse().unwrap();
        assert_eq!((meter.chip, meter.address, meter.max_amps), (MeterChip::Ina219, 0x45, 3.2));
    }

    #[test]
    fn bad_descriptions_say_what_is_wrong_in_one_line() {
        for (text, expected) in [
            ("", "it has 1 parts, not 4 or 5"),
            ("ina226:/dev/i2c-1:0x40", "it has 3 parts"),
            ("ina226:/dev/i2c-1:0x40:0.01:1:1", "it has 6 parts"),
            ("ina3221:/dev/i2c-1:0x40:0.01", "the chip is ina219 or ina226"),
            ("ina226:1:0x40:0.01", "the bus is a device"),
            ("ina226:/dev/i2c-1:0x50:0.01", "the address is 0x40 to 0x4f"),
            ("ina226:/dev/i2c-1:40:0.01", "the address is 0x40 to 0x4f"),
            ("ina226:/dev/i2c-1:0x40:0", "the shunt is 0.00001 to 100 ohms"),
            ("ina226:/dev/i2c-1:0x40:nan", "the shunt is"),
            ("ina226:/dev/i2c-1:0x40:inf", "the shunt is"),
            ("ina226:/dev/i2c-1:0x40:1e-300", "the shunt is"),
            ("ina226:/dev/i2c-1:0x40:0.1:2", "an ina226 measures up to 0.819 A with a shunt of 0.1 ohms"),
            ("ina219:/dev/i2c-1:0x40:0.1:-1", "an ina219 measures up to 3.200 A"),
            ("ina219:/dev/i2c-1\n\u{1b}[2J:0x40:0.1:x", "an ina219 measures up to"),
        ] {
            let error = text.parse::<MeterSpec>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\nexpected: {expected}");
            assert!(error.contains("ina226:/dev/i2c-1:0x40:0.01"), "{error}");
            assert!(error.lines().count() == 1 && !error.contains('\u{1b}'), "{error:?}");
        }
    }
}
