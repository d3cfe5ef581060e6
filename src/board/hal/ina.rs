//! INA219 and INA226: power meters by Texas Instruments with a shunt in the supply line (data sheets SBOS448G,
//! SBOS547B).

use std::fmt::Display;
use std::time::Duration;

use embedded_hal::i2c::I2c;

use crate::board::energy::PowerMeter;
use crate::board::{BoardError, MeterChip, MeterError, MeterSpec};

/// Registers common to both chips. All have 16 bits, high byte first.
const CONFIGURATION: u8 = 0x00;
const SHUNT_VOLTAGE: u8 = 0x01;
const BUS_VOLTAGE: u8 = 0x02;
/// INA226 registers with fixed contents: register and value.
const MAKER: (u8, u16) = (0xfe, 0x5449);
const DIE: (u8, u16) = (0xff, 0x2260);

/// Continuous measurement of both voltages, each value averaged over 34 to 35 ms.
///
/// INA219: 32 V range (bit 13), gain (bits 12 and 11, set from the current), both converters at 12 bits and 32 samples,
/// 17.02 ms each (1101). INA226: 16 samples (010), 1.1 ms per voltage (100, 100); bit 14 is always set.
const INA219: u16 = 1 << 13 | 0b1101 << 7 | 0b1101 << 3 | 0b111;
const INA226: u16 = 1 << 14 | 0b010 << 9 | 0b100 << 6 | 0b100 << 3 | 0b111;

/// Time from writing the configuration to the first value: its 35 ms and the clock's tolerance.
const SETTLE: Duration = Duration::from_millis(40);

/// A meter. Power is the bus voltage times the current, which is the shunt voltage over the shunt's resistance. It is
/// negative if the shunt is wired the other way round. The chip's own power register is not used: it needs a
/// calibration, which is lost silently if the chip is reset, and it is unsigned.
#[derive(Debug)]
pub struct InaMeter<B> {
    bus: B,
    spec: MeterSpec,
    /// Largest shunt voltage that the register can hold; higher voltages saturate.
    full_scale: u16,
}

impl<B: I2c<Error: Display>> InaMeter<B> {
    /// Configures the chip, checks that it is the one in `spec`, and waits for its first value.
    ///
    /// # Errors
    /// [`BoardError::Meter`]: nothing answers at the address, or a different chip does.
    pub fn new(bus: B, spec: &MeterSpec) -> Result<InaMeter<B>, BoardError> {
        let gain = gain(spec);
        let (configuration, full_scale) = match spec.chip {
            MeterChip::Ina219 => (INA219 | gain << 11, 4000 << gain),
            MeterChip::Ina226 => (INA226, 0x7fff),
        };
        let mut meter = InaMeter { bus, spec: spec.clone(), full_scale };
        if spec.chip == MeterChip::Ina226 {
            for ((register, expected), kept) in [(MAKER, 0xffff), (DIE, 0xfff0)] {
                meter.expect(register, expected, kept)?;
            }
        }
        let [high, low] = configuration.to_be_bytes();
        let written = meter.bus.write(spec.address, &[CONFIGURATION, high, low]);
        written.map_err(|error| meter.silent(&error))?;
        meter.expect(CONFIGURATION, configuration, 0xffff)?;
        std::thread::sleep(SETTLE);
        Ok(meter)
    }

    /// Returns an error if the register does not hold `expected` in the bits of the mask `kept`.
    fn expect(&mut self, register: u8, expected: u16, kept: u16) -> Result<(), BoardError> {
        let found = self.read(register)?;
        if found & kept == expected & kept {
            return Ok(());
        }
        let chip = self.spec.chip.name();
        let reason = MeterError::Register { register, found, expected, chip };
        Err(BoardError::Meter { meter: self.spec.to_string(), reason })
    }

    fn read(&mut self, register: u8) -> Result<u16, BoardError> {
        let mut bytes = [0; 2];
        match self.bus.write_read(self.spec.address, &[register], &mut bytes) {
            Ok(()) => Ok(u16::from_be_bytes(bytes)),
            Err(error) => Err(self.silent(&error)),
        }
    }

    fn silent(&self, error: &B::Error) -> BoardError {
        BoardError::Meter { meter: self.spec.to_string(), reason: MeterError::Silent(error.to_string()) }
    }
}

/// The INA219's gain: the smallest of its ranges, 40 mV << gain, that covers the highest current.
fn gain(spec: &MeterSpec) -> u16 {
    let volts = spec.max_amps * spec.shunt_ohms / 1.005;
    (0..3).find(|&gain| volts <= 0.04 * f64::from(1 << gain)).unwrap_or(3)
}

impl<B: I2c<Error: Display> + Send> PowerMeter for InaMeter<B> {
    fn name(&self) -> String {
        self.spec.to_string()
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        let shunt = self.read(SHUNT_VOLTAGE)? as i16;
        let bus = self.read(BUS_VOLTAGE)?;
        if shunt.unsigned_abs() >= self.full_scale {
            let amps = shunt_volts(self.spec.chip, self.full_scale) / self.spec.shunt_ohms;
            return Err(BoardError::Meter { meter: self.name(), reason: MeterError::OverRange(amps) });
        }
        let volts = match self.spec.chip {
            // Steps of 4 mV; the low three bits are flags.
            MeterChip::Ina219 => f64::from(bus >> 3) * 4e-3,
            MeterChip::Ina226 => f64::from(bus) * 1.25e-3,
        };
        let amps = shunt_volts(self.spec.chip, shunt) / self.spec.shunt_ohms;
        Ok(volts * amps * 1e3)
    }
}

/// The shunt voltage in volts; steps of 10 and 2.5 uV.
fn shunt_volts(chip: MeterChip, register: impl Into<f64>) -> f64 {
    let step = match chip {
        MeterChip::Ina219 => 10e-6,
        MeterChip::Ina226 => 2.5e-6,
    };
    register.into() * step
}
