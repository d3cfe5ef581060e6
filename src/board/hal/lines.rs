//! Pins of this machine, identified by the label of their gpiochip, as chip numbers change with the kernel.

use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags, chips};

use super::signals::{OpenPin, Signals};
use crate::board::{BoardError, Pin, PinError, Pins, Signal};

/// Consumer name that `gpioinfo` shows for our lines.
const CONSUMER: &str = "microraptor";

impl Signals {
    /// Opens all of `pins` (select some with [`Board::pins_for`](crate::board::Board::pins_for)); outputs start low.
    ///
    /// The trigger's pull resistor is not configured: fit one to ground unless the pin already has one.
    ///
    /// # Errors
    /// [`BoardError::Pin`] names the pin, its chip and line, and a remedy.
    pub fn open(pins: &Pins) -> Result<Signals, BoardError> {
        let (input, output) = (LineRequestFlags::INPUT, LineRequestFlags::OUTPUT);
        let one = |signal, pin: &Option<Pin>, flags: LineRequestFlags| {
            pin.as_ref().map(|pin| open(signal, pin, flags)).transpose()
        };
        Ok(Signals {
            busy: one(Signal::Busy, &pins.busy, output.clone())?,
            status: one(Signal::Status, &pins.status, output)?,
            trigger: one(Signal::Trigger, &pins.trigger, input)?,
        })
    }
}

fn open(signal: Signal, pin: &Pin, flags: LineRequestFlags) -> Result<OpenPin<CdevPin>, BoardError> {
    let place = format!("{} line {}", pin.chip, pin.line);
    let refuse = |reason| BoardError::Pin { signal, place: place.clone(), reason };
    let found: Vec<Result<(String, Chip), String>> = match chips() {
        Ok(chips) => chips
            .map(|chip| chip.map(|chip| (chip.label().to_owned(), chip)).map_err(|error| error.to_string()))
            .collect(),
        Err(error) => return Err(refuse(cause(error.to_string()))),
    };
    let mut chip = pick(&pin.chip, found).map_err(refuse)?;
    let line = chip.get_line(pin.line).map_err(|error| refuse(cause(error.to_string())))?;
    let handle = line.request(flags, 0, CONSUMER).map_err(|error| refuse(cause(error.to_string())))?;
    let opened = CdevPin::new(handle).map_err(|error| refuse(cause(error.to_string())))?;
    Ok(OpenPin { pin: opened, place })
}

/// The chip with this label, among those that could be opened.
fn pick<C>(label: &str, found: Vec<Result<(String, C), String>>) -> Result<C, PinError> {
    let (mut others, mut closed) = (Vec::new(), None);
    for chip in found {
        match chip {
            Ok((name, chip)) if name == label => return Ok(chip),
            Ok((name, _)) => others.push(name),
            Err(error) => closed = Some(error),
        }
    }
    match closed {
        // The requested chip may be among those that we are not allowed to open.
        Some(error) => Err(cause(error)),
        None if others.is_empty() => Err(PinError::NoChips),
        None => Err(PinError::NoChip(others)),
    }
}

/// The error by its cause. gpio-cdev reports the error number only in its text.
fn cause(error: String) -> PinError {
    let any = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    if any(&["EACCES", "EPERM", "Permission denied"]) {
        PinError::Denied(error)
    } else if any(&["EBUSY"]) {
        PinError::InUse(error)
    } else if any(&["EINVAL", "out of range"]) {
        PinError::NoLine(error)
    } else {
        PinError::Open(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_are_found_by_their_label() {
        let two = || vec![Ok(("gpio-brcmstb".to_owned(), 0)), Ok(("pinctrl-rp1".to_owned(), 1))];
        let denied = || Err("Permission denied (os error 13)".to_owned());
        assert_eq!(pick("pinctrl-rp1", two()), Ok(1));
        assert_eq!(pick("pinctrl-rp1", [vec![denied()], two()].concat()), Ok(1));
        let error = pick("tegra234-gpio", two()).unwrap_err().to_string();
        assert!(error.contains("there are gpio-brcmstb, pinctrl-rp1 (gpiodetect"), "{error}");
        let error = pick("tegra234-gpio", [two(), vec![denied()]].concat()).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "(Permission denied (os error 13)): add the user to the group gpio and log in again"
            )
        );
        assert!(pick::<u8>("x", Vec::new()).unwrap_err().to_string().contains("/dev/gpiochip0"));
    }

    #[test]
    fn errors_of_the_kernel_say_what_to_do() {
        for (error, expected) in [
            ("Ioctl to get line handle failed: EBUSY: Device or resource busy", "gpioinfo says which"),
            ("Ioctl to get line handle failed: EPERM: Operation not permitted", "group gpio"),
            ("Offset 99 is out of range", "has no such line"),
            ("something else", "(something else)"),
        ] {
            let said = cause(error.to_owned()).to_string();
            assert!(said.ends_with(expected) || said.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_pin_of_no_chip_is_an_error_with_its_name_and_place() {
        let header = std::num::NonZeroU32::MIN;
        let pin = Pin { chip: "no such chip".to_owned(), line: 7, header };
        let error = Signals::open(&Pins { busy: Some(pin), ..Pins::default() }).err().unwrap().to_string();
        assert!(error.starts_with("pin busy (no such chip line 7): "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let none = Signals::open(&Pins::default()).ok().unwrap();
        assert!(Signal::ALL.iter().all(|&signal| !none.has(signal)));
    }
}
