//! What goes wrong with board files, power meters and pins.

/// What is wrong with a value of a board file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoardFileError {
    /// It is not the TOML expected.
    #[error("{0}")]
    Parse(String),
    /// A list of texts by which the board is recognised holds an empty one.
    #[error("an empty text would recognise every machine")]
    EmptyText,
    /// Nothing by which the board is recognised.
    #[error("give model, compatible, cpuinfo or architecture")]
    NotRecognised,
    /// A board without clusters that is not recognised by its architecture.
    #[error("a board has [[clusters]]; only one recognised by architecture has none")]
    NoClusters,
    /// Two clusters of one name.
    #[error("two clusters are called '{0}'")]
    DuplicateCluster(String),
    /// A cluster with more cores than this program can tell apart.
    #[error("at most {0} cores")]
    TooManyCores(usize),
    /// A cluster that the board does not have.
    #[error("no cluster is called '{0}'")]
    NoCluster(String),
    /// More threads than the clusters have cores.
    #[error("these clusters have {0} cores")]
    TooManyThreads(usize),
}

/// Why a power meter cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// There is no such bus.
    #[error("no such bus: switch I2C on (raspi-config, or a device tree overlay), load i2c-dev ({0})")]
    NoBus(String),
    /// The process may not open the bus.
    #[error("not allowed: add the user to the group i2c and log in again ({0})")]
    BusDenied(String),
    /// The bus cannot be opened for another reason.
    #[error("this cannot be used as an I2C bus ({0})")]
    Bus(String),
    /// The meter does not answer.
    #[error(
        "no answer ({0}): check its wires, its pins A0 and A1, and whether i2cdetect shows it; where that has UU for it, a \
         kernel driver holds it and it is in hwmon"
    )]
    Silent(String),
    /// A register does not hold what it holds in this chip.
    #[error("register {register:#04x} holds {found:#06x}, not {expected:#06x}: is it no {chip}?")]
    Register {
        /// Number of the register.
        register: u8,
        /// What it holds.
        found: u16,
        /// What it should hold.
        expected: u16,
        /// Name of the chip expected.
        chip: &'static str,
    },
    /// The current is above the range of the meter, which ends at this many amperes.
    #[error("more than the {0:.2} A that it measures: expect more amperes, or take a smaller shunt")]
    OverRange(f64),
    /// A sensor of the kernel that is gone.
    #[error("the kernel no longer gives its power; is the sensor's driver loaded?")]
    NoSensor,
    /// Energy counters that are gone, or not readable.
    #[error("the counters cannot be read any more; only root may, unless energy_uj was made readable")]
    NoCounters,
    /// Fault of a meter that is not one of ours.
    #[error("{0}")]
    Other(String),
}

/// Why a pin cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The machine has no gpiochip.
    #[error("there is no /dev/gpiochip0: this kernel gives no pins to programs")]
    NoChips,
    /// No gpiochip has this label.
    #[error(
        "no gpiochip is called so; there are {} (gpiodetect lists them): set chip in a board file of your own",
        .0.join(", ")
    )]
    NoChip(Vec<String>),
    /// The process may not open the pin.
    #[error("cannot be opened ({0}): add the user to the group gpio and log in again")]
    Denied(String),
    /// The pin is in use.
    #[error("cannot be opened ({0}): a driver or another program uses it; gpioinfo says which")]
    InUse(String),
    /// The chip has no such line, or not in this direction.
    #[error(
        "cannot be opened ({0}): the chip has no such line, or the line not this direction; gpioinfo lists its lines"
    )]
    NoLine(String),
    /// The pin cannot be opened for another reason.
    #[error("cannot be opened ({0})")]
    Open(String),
    /// An input cannot be read.
    #[error("cannot be read ({0})")]
    Read(String),
    /// An output cannot be set.
    #[error("cannot be set {} ({error})", if *.high { "high" } else { "low" })]
    Set {
        /// The level requested.
        high: bool,
        /// The error from the operating system.
        error: String,
    },
}
