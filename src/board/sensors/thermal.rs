//! Temperatures and throttling.

use serde::Serialize;

use crate::board::Root;

/// Temperature of one thermal zone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Temperature {
    /// Type of the zone: `cpu-thermal`.
    pub zone: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// Temperature at which the kernel starts slowing the machine down: the lowest trip point of type `passive`,
    /// degrees Celsius.
    pub passive_celsius: Option<f64>,
}

/// Values outside this range are ignored: absent sensors read -274 or 0x7fffffff.
const BELIEVED: std::ops::RangeInclusive<f64> = -100.0..=250.0;

/// Temperatures of all zones, in the kernel's order (Documentation/driver-api/thermal/sysfs-api.rst).
pub fn temperatures(root: &Root) -> Vec<Temperature> {
    let read = |(_, name): (usize, String)| {
        let folder = format!("sys/class/thermal/{name}");
        let celsius = |file: &str| {
            let value = root.value::<i64>(&format!("{folder}/{file}"))? as f64 / 1000.0;
            BELIEVED.contains(&value).then_some(value)
        };
        let passive = (0..16)
            .filter(|i| root.text(&format!("{folder}/trip_point_{i}_type")).is_some_and(|t| t == "passive"))
            .filter_map(|i| celsius(&format!("trip_point_{i}_temp")))
            .min_by(f64::total_cmp);
        let zone = root.line(&format!("{folder}/type")).unwrap_or(name);
        Some(Temperature { zone, celsius: celsius("temp")?, passive_celsius: passive })
    };
    root.numbered("sys/class/thermal", "thermal_zone").into_iter().filter_map(read).collect()
}

/// A mechanism that can slow the machine down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Throttle {
    /// Source of the reading: `firmware`, `cooling cpufreq-cpu0`, `thermal_throttle`, `soctherm_oc`.
    pub source: String,
    /// The condition: `under-voltage`.
    pub what: &'static str,
    /// Whether it is active now; `None` if only a count is kept.
    pub now: Option<bool>,
    /// Whether it has been active since boot; `None` if that is not recorded.
    pub since_boot: Option<bool>,
    /// Number of times it has been active since boot, or the current step of a cooling device.
    pub count: Option<u64>,
}

impl Throttle {
    /// Whether the machine is or was slowed down.
    pub fn ever(&self) -> bool {
        self.now == Some(true) || self.since_boot == Some(true)
    }
}

/// Throttling from all available sources.
pub fn throttles(root: &Root) -> Vec<Throttle> {
    let mut all = raspberry_pi(root);
    all.extend(cooling(root));
    all.extend(x86(root));
    all.extend(hwmon(root));
    all
}

/// Bits of the Raspberry Pi firmware's `get_throttled` for the current state; the since-boot bits are 16 higher
/// (raspberrypi.com/documentation/computers/os.html, `vcgencmd get_throttled`).
const FIRMWARE: [(u32, &str); 4] =
    [(0, "under-voltage"), (1, "clock capped"), (2, "throttled"), (3, "soft temperature limit")];

/// `get_throttled` of Raspberry Pi's kernel (drivers/firmware/raspberrypi.c there; mainline lacks the attribute). The
/// device is named after the firmware's node, which differs between boards.
fn raspberry_pi(root: &Root) -> Vec<Throttle> {
    let below = |folder: &str| {
        let firmware = root.names(folder).into_iter().filter(|name| name.ends_with("firmware"));
        firmware.map(|name| format!("{folder}/{name}/get_throttled")).collect::<Vec<_>>()
    };
    let platform = "sys/devices/platform";
    let mut files = below("sys/bus/platform/drivers/raspberrypi-firmware");
    files.extend(below(platform));
    for name in root.names(platform).iter().filter(|name| name.starts_with("soc")) {
        files.extend(below(&format!("{platform}/{name}")));
    }
    let text = files.iter().find_map(|file| root.text(file));
    let Some(flags) = text.and_then(|t| u32::from_str_radix(t.trim_start_matches("0x"), 16).ok()) else {
        return Vec::new();
    };
    let set = |bit: u32| Some(flags >> bit & 1 == 1);
    let throttle = |(bit, what)| Throttle {
        source: "firmware".to_owned(),
        what,
        now: set(bit),
        since_boot: set(bit + 16),
        count: None,
    };
    FIRMWARE.map(throttle).into()
}

/// Cooling devices that limit the cores' clocks; their state is 0 while inactive.
fn cooling(root: &Root) -> Vec<Throttle> {
    let read = |(_, name): (usize, String)| {
        let folder = format!("sys/class/thermal/{name}");
        let kind = root.line(&format!("{folder}/type"))?;
        let state = root.value::<u64>(&format!("{folder}/cur_state"))?;
        // thermal-cpufreq-0 and, since Linux 5.13, cpufreq-cpu0 (drivers/thermal/cpufreq_cooling.c).
        kind.contains("cpufreq").then(|| Throttle {
            source: format!("cooling {kind}"),
            what: "clock lowered for heat",
            now: Some(state > 0),
            since_boot: None,
            count: Some(state),
        })
    };
    root.numbered("sys/class/thermal", "cooling_device").into_iter().filter_map(read).collect()
}

/// Counts of x86's `thermal_throttle` (Documentation/ABI/testing/sysfs-devices-system-cpu): the maximum over all cores,
/// and over all packages.
fn x86(root: &Root) -> Vec<Throttle> {
    let cores = root.numbered("sys/devices/system/cpu", "cpu");
    let most = |file: &str| {
        let read = |(_, cpu): &(usize, String)| {
            root.value::<u64>(&format!("sys/devices/system/cpu/{cpu}/thermal_throttle/{file}"))
        };
        cores.iter().filter_map(read).max()
    };
    let kinds = [
        ("core_throttle_count", "core over its temperature limit"),
        ("package_throttle_count", "package over its temperature limit"),
    ];
    let throttle = |(file, what)| {
        let count = most(file)?;
        let (source, since_boot) = ("thermal_throttle".to_owned(), Some(count > 0));
        Some(Throttle { source, what, now: None, since_boot, count: Some(count) })
    };
    kinds.into_iter().filter_map(throttle).collect()
}

/// Alarms in hwmon: under-voltage on a Raspberry Pi (`rpi_volt`, drivers/hwmon/raspberrypi-hwmon.c) and over-current
/// events on a Jetson (`soctherm_oc`, `oc1_event_cnt`: Jetson Linux Developer Guide, Power and Performance).
fn hwmon(root: &Root) -> Vec<Throttle> {
    let mut all = Vec::new();
    for (_, name) in root.numbered("sys/class/hwmon", "hwmon") {
        let folder = format!("sys/class/hwmon/{name}");
        match root.line(&format!("{folder}/name")).as_deref() {
            Some("rpi_volt") => {
                let alarm = root.value::<u64>(&format!("{folder}/in0_lcrit_alarm"));
                all.extend(alarm.map(|alarm| Throttle {
                    source: "rpi_volt".to_owned(),
                    what: "under-voltage",
                    now: Some(alarm > 0),
                    since_boot: None,
                    count: None,
                }));
            }
            Some("soctherm_oc") => {
                let events = (1..=6).filter_map(|i| root.value::<u64>(&format!("{folder}/oc{i}_event_cnt")));
                let count = events.reduce(u64::saturating_add);
                all.extend(count.map(|count| Throttle {
                    source: "soctherm_oc".to_owned(),
                    what: "over-current",
                    now: None,
                    since_boot: Some(count > 0),
                    count: Some(count),
                }));
            }
            _ => {}
        }
    }
    all
}
