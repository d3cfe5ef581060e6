use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use embedded_hal::digital::{ErrorType, InputPin};
use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::{Mock as PinMock, State, Transaction as PinStep};
use embedded_hal_mock::eh1::i2c::{Mock as BusMock, Transaction as BusStep};

use super::*;
use crate::board::Signal;

fn spec(text: &str) -> MeterSpec {
    text.parse().unwrap()
}

/// The bus transaction that reads a register.
fn register(address: u8, number: u8, value: u16) -> BusStep {
    BusStep::write_read(address, vec![number], value.to_be_bytes().into())
}

fn configured(address: u8, value: u16) -> Vec<BusStep> {
    let [high, low] = value.to_be_bytes();
    vec![BusStep::write(address, vec![0, high, low]), register(address, 0, value)]
}

fn ina226(address: u8) -> Vec<BusStep> {
    let ids = vec![register(address, 0xfe, 0x5449), register(address, 0xff, 0x2260)];
    [ids, configured(address, 0x4527)].concat()
}

/// The worked example of SBOS547B, "Programming the Calibration Register": 10 A through 2 milliohms at 12 V. The data
/// sheet gives 119.82 W with its rounded register and 119.8 W by hand.
#[test]
fn ina226_reads_the_worked_example_of_its_data_sheet() {
    let steps = [ina226(0x40), vec![register(0x40, 1, 0x1f40), register(0x40, 2, 0x2570)]].concat();
    let mut bus = BusMock::new(&steps);
    let mut meter = InaMeter::new(bus.clone(), &spec("ina226:/dev/i2c-1:0x40:0.002")).unwrap();
    assert!((meter.milliwatts().unwrap() - 119_800.0).abs() < 1e-6);
    assert_eq!(meter.name(), "ina226 at address 0x40 of /dev/i2c-1");
    assert!(meter.joules().is_none());
    bus.done();
}

/// The worked example of SBOS448G, "Programming the Calibration Register": the same circuit, with a bus voltage
/// register of 2995 in the upper 13 bits.
#[test]
fn ina219_reads_the_worked_example_of_its_data_sheet() {
    // 15 A maximum gives 30 mV, which is within the 40 mV range with gain bits 00.
    let steps =
        [configured(0x45, 0x26ef), vec![register(0x45, 1, 0x07d0), register(0x45, 2, 0x5d98)]].concat();
    let mut bus = BusMock::new(&steps);
    let mut meter = InaMeter::new(bus.clone(), &spec("ina219:/dev/i2c-1:0x45:0.002:15")).unwrap();
    assert!((meter.milliwatts().unwrap() - 119_800.0).abs() < 1e-6);
    bus.done();
}

#[test]
fn ina219_takes_the_least_range_that_the_current_fits_in() {
    for (amps, configuration) in
        [("0.4", 0x26ef), ("0.401", 0x26ef), ("0.5", 0x2eef), ("1.6", 0x36ef), ("3.2", 0x3eef)]
    {
        let mut bus = BusMock::new(&configured(0x40, configuration));
        InaMeter::new(bus.clone(), &spec(&format!("ina219:/dev/i2c-1:0x40:0.1:{amps}"))).unwrap();
        bus.done();
    }
}

#[test]
fn current_that_flows_back_is_negative_and_too_much_is_an_error() {
    let after = |shunt| vec![register(0x40, 1, shunt), register(0x40, 2, 8000)];
    let steps = [ina226(0x40), after(0xffff), after(0x7fff), after(0x8000)].concat();
    let mut bus = BusMock::new(&steps);
    let mut meter = InaMeter::new(bus.clone(), &spec("ina226:/dev/i2c-1:0x40:0.1")).unwrap();
    // 10 V and -25 uA
    assert!((meter.milliwatts().unwrap() + 0.25).abs() < 1e-9);
    for _ in 0..2 {
        let error = meter.milliwatts().unwrap_err().to_string();
        assert!(error.contains("0x40 of /dev/i2c-1: more than the 0.82 A that it measures"), "{error}");
    }
    bus.done();

    let steps = [configured(0x40, 0x2eef), vec![register(0x40, 1, 8000), register(0x40, 2, 0)]].concat();
    let mut bus = BusMock::new(&steps);
    let mut meter = InaMeter::new(bus.clone(), &spec("ina219:/dev/i2c-1:0x40:0.1:0.8")).unwrap();
    assert!(meter.milliwatts().unwrap_err().to_string().contains("more than the 0.80 A"));
    bus.done();
}

#[test]
fn silence_and_another_chip_are_errors_that_say_what_to_check() {
    let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    let silent = vec![register(0x40, 0xfe, 0).with_error(nobody)];
    let other = vec![register(0x40, 0xfe, 0x399f)];
    let elder = vec![register(0x40, 0xfe, 0x5449), register(0x40, 0xff, 0x2271)];
    for (steps, expected) in [
        (silent, "check its wires, its pins A0 and A1, and whether i2cdetect shows it"),
        (other, "register 0xfe holds 0x399f, not 0x5449: is it no ina226?"),
        (elder, "register 0xff holds 0x2271, not 0x2260: is it no ina226?"),
    ] {
        let mut bus = BusMock::new(&steps);
        let error = InaMeter::new(bus.clone(), &spec("ina226:/dev/i2c-1:0x40:0.1")).unwrap_err().to_string();
        assert!(
            error.starts_with("ina226 at address 0x40 of /dev/i2c-1: ") && error.contains(expected),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        bus.done();
    }
    // An INA226 instead of an INA219: bit 14 is always set.
    let steps = vec![BusStep::write(0x40, vec![0, 0x3e, 0xef]), register(0x40, 0, 0x4eef)];
    let mut bus = BusMock::new(&steps);
    let error = InaMeter::new(bus.clone(), &spec("ina219:/dev/i2c-1:0x40:0.1")).unwrap_err().to_string();
    assert!(error.contains("holds 0x4eef, not 0x3eef: is it no ina219?"), "{error}");
    bus.done();
    // A wire that comes loose and is reconnected.
    let lost = register(0x40, 1, 0).with_error(ErrorKind::Other);
    let steps = [ina226(0x40), vec![lost, register(0x40, 1, 0), register(0x40, 2, 4000)]].concat();
    let mut bus = BusMock::new(&steps);
    let mut meter = InaMeter::new(bus.clone(), &spec("ina226:/dev/i2c-1:0x40:0.1")).unwrap();
    assert!(meter.milliwatts().is_err());
    assert_eq!(meter.milliwatts().unwrap(), 0.0);
    bus.done();
}

#[test]
fn a_bus_that_is_none_is_an_error_that_names_it() {
    for (bus, expected) in
        [("/dev/i2c-none", "no such bus: switch I2C on"), ("/dev/null", "cannot be used as an I2C bus")]
    {
        let error =
            open_meter(&spec(&format!("ina226:{bus}:0x40:0.1"))).map(|meter| meter.name()).unwrap_err();
        assert!(error.to_string().contains(bus) && error.to_string().contains(expected), "{error}");
    }
}

fn set(state: State) -> PinStep {
    PinStep::set(state)
}

fn open<P>(pin: P) -> Option<OpenPin<P>> {
    Some(OpenPin { pin, place: "pinctrl-rp1 line 25".to_owned() })
}

fn broken(step: PinStep) -> PinStep {
    step.with_error(MockError::Io(io::ErrorKind::NotConnected))
}

#[test]
fn busy_is_high_while_something_runs_whatever_comes_of_it() {
    let pair = [set(State::High), set(State::Low)];
    // Success, an error, a panic; then low once more on drop.
    let mut pin =
        PinMock::new(&[pair.to_vec(), pair.to_vec(), pair.to_vec(), vec![set(State::Low)]].concat());
    let mut signals: Signals<PinMock, PinMock> =
        Signals { busy: open(pin.clone()), status: None, trigger: None };
    assert!(signals.has(Signal::Busy) && !signals.has(Signal::Status) && !signals.has(Signal::Trigger));
    assert_eq!(signals.around(|| 7).unwrap(), 7);
    assert!(signals.around(|| "12x".parse::<u8>()).unwrap().is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| signals.around(|| panic!("in the work"))));
    assert!(panicked.is_err());
    drop(signals);
    pin.done();
}

#[test]
fn without_a_pin_the_work_is_done_all_the_same() {
    let mut signals: Signals<PinMock, PinMock> = Signals { busy: None, status: None, trigger: None };
    assert_eq!(signals.around(|| 7).unwrap(), 7);
    signals.status(true).unwrap();
    let error = signals.wait(Duration::ZERO).unwrap_err().to_string();
    assert!(error.starts_with("pin trigger (not opened): "), "{error}");
}

#[test]
fn a_pin_that_cannot_be_raised_stops_the_work_before_it_starts() {
    let steps = [broken(set(State::High)), set(State::Low), set(State::High), broken(set(State::Low))];
    let again = [set(State::Low), set(State::Low)];
    let mut pin = PinMock::new(&[&steps[..], &again[..]].concat());
    let mut signals: Signals<PinMock, PinMock> =
        Signals { busy: open(pin.clone()), status: None, trigger: None };
    let mut ran = 0;
    let error = signals.around(|| ran += 1).unwrap_err().to_string();
    assert!(error.starts_with("pin busy (pinctrl-rp1 line 25): cannot be set high ("), "{error}");
    assert_eq!(ran, 0);
    let error = signals.around(|| ran += 1).unwrap_err().to_string();
    assert!(error.contains("cannot be set low") && ran == 1, "{error}");
    drop(signals);
    pin.done();
}

#[test]
fn status_is_on_while_asked_and_off_in_the_end() {
    let mut pin = PinMock::new(&[set(State::High), set(State::Low), set(State::High), set(State::Low)]);
    let mut signals: Signals<PinMock, PinMock> =
        Signals { busy: None, status: open(pin.clone()), trigger: None };
    signals.status(true).unwrap();
    signals.status(false).unwrap();
    signals.status(true).unwrap();
    drop(signals);
    pin.done();
}

#[test]
fn a_press_is_waited_for() {
    // Held at first, released, then pressed with a bounce.
    let levels = "###_____##_#####";
    let get = |c| PinStep::get(if c == '#' { State::High } else { State::Low });
    let mut pin = PinMock::new(&levels.chars().map(get).collect::<Vec<_>>());
    let mut signals: Signals<PinMock, PinMock> =
        Signals { busy: None, status: None, trigger: open(pin.clone()) };
    assert!(signals.wait(Duration::from_secs(60)).unwrap());
    drop(signals);
    pin.done();

    let mut pin = PinMock::new(&[broken(PinStep::get(State::Low))]);
    let mut signals: Signals<PinMock, PinMock> =
        Signals { busy: None, status: None, trigger: open(pin.clone()) };
    let error = signals.wait(Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.starts_with("pin trigger (pinctrl-rp1 line 25): cannot be read ("), "{error}");
    drop(signals);
    pin.done();
}

/// A pedal that never changes: always up, or always down.
struct Still(bool);

impl ErrorType for Still {
    type Error = Infallible;
}

impl InputPin for Still {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.0)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0)
    }
}

#[test]
fn waiting_ends_without_a_press() {
    for level in [false, true] {
        let mut signals: Signals<PinMock, Still> =
            Signals { busy: None, status: None, trigger: open(Still(level)) };
        assert!(!signals.wait(Duration::from_millis(30)).unwrap());
        assert!(!signals.wait(Duration::ZERO).unwrap());
    }
}
