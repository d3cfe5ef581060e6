//! Power: rails with an INA3221, INA219 or similar sensor (hwmon), and RAPL energy counters (powercap).

use serde::Serialize;

use crate::board::Root;

/// Power of one rail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RailPower {
    /// Name of the hwmon device: `ina3221`.
    pub chip: String,
    /// Label of the channel, or its number if it has none: `VDD_IN`, `1`.
    pub label: String,
    /// Milliwatts.
    pub milliwatts: f64,
    /// Volts at the rail, if measured.
    pub volts: Option<f64>,
}

/// Channel numbers to look for; an INA3221 has 3 channels.
const CHANNELS: std::ops::RangeInclusive<usize> = 1..=16;

/// A channel of a hwmon device that measures power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::board) struct Channel {
    /// Name of the hwmon device.
    pub chip: String,
    /// Label of the channel, or its number if it has none.
    pub label: String,
    /// Folder of its files: `sys/class/hwmon/hwmon1`.
    folder: String,
    number: usize,
}

impl Channel {
    /// Milliwatts, and volts if measured. A channel has either its power (`power1_input`, microwatts), or a voltage and
    /// a current of the same number (`in1_input`, mV; `curr1_input`, mA) whose product is the power, as on the INA3221
    /// (Documentation/hwmon/ina3221.rst).
    pub fn read(&self, root: &Root) -> Option<(f64, Option<f64>)> {
        let Channel { folder, number: i, .. } = self;
        let value = |file: String| root.value::<i64>(&format!("{folder}/{file}")).map(|v| v as f64);
        let volts = value(format!("in{i}_input")).map(|mv| mv / 1000.0);
        let direct = value(format!("power{i}_input")).or_else(|| value(format!("power{i}_average")));
        let product = || Some(volts? * value(format!("curr{i}_input"))?);
        Some((direct.map(|uw| uw / 1000.0).or_else(product)?, volts))
    }
}

/// The channels whose power can be read, with their readings: milliwatts and volts.
pub(in crate::board) fn channels(root: &Root) -> Vec<(Channel, f64, Option<f64>)> {
    let mut all = Vec::new();
    for (_, name) in root.numbered("sys/class/hwmon", "hwmon") {
        let folder = format!("sys/class/hwmon/{name}");
        let Some(chip) = root.line(&format!("{folder}/name")) else { continue };
        for number in CHANNELS {
            let label = ["power", "in", "curr"]
                .iter()
                .find_map(|kind| root.line(&format!("{folder}/{kind}{number}_label")));
            let label = label.unwrap_or_else(|| number.to_string());
            let channel = Channel { chip: chip.clone(), label, folder: folder.clone(), number };
            all.extend(channel.read(root).map(|(milliwatts, volts)| (channel, milliwatts, volts)));
        }
    }
    all
}

/// Power of all rails.
pub fn rails(root: &Root) -> Vec<RailPower> {
    let rail =
        |(Channel { chip, label, .. }, milliwatts, volts)| RailPower { chip, label, milliwatts, volts };
    channels(root).into_iter().map(rail).collect()
}

/// An energy counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Energy {
    /// Path below `/sys/class/powercap`: `intel-rapl:0`.
    pub zone: String,
    /// Domain that it counts: `package-0`, `core`, `dram`, `psys`.
    pub name: String,
    /// Microjoules; `None` if reading requires root, as it does since Linux 5.10 (CVE-2020-8694).
    pub microjoules: Option<u64>,
    /// Value at which the counter wraps round to 0.
    pub wraps_at: Option<u64>,
}

/// All energy counters (Documentation/power/powercap/powercap.rst).
pub fn energies(root: &Root) -> Vec<Energy> {
    let zones = root.names("sys/class/powercap").into_iter().filter(|zone| zone.contains(':'));
    let read = |zone: String| {
        let folder = format!("sys/class/powercap/{zone}");
        Some(Energy {
            name: root.line(&format!("{folder}/name"))?,
            microjoules: root.value(&format!("{folder}/energy_uj")),
            wraps_at: root.value(&format!("{folder}/max_energy_range_uj")),
            zone,
        })
    };
    zones.filter_map(read).collect()
}
