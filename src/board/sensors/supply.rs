//! The machine's power supply (Documentation/ABI/testing/sysfs-class-power in Linux).

use serde::Serialize;

use crate::board::Root;

/// Battery or mains supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Supply {
    /// Whether the machine is running on battery.
    pub on_battery: bool,
    /// Charge in percent (the mean of several batteries); `None` without a battery.
    pub percent: Option<u32>,
}

/// The power supply; `None` if the kernel reports none, as on most boards. Batteries of mice and keyboards, and their
/// chargers, have the scope `Device` and are ignored.
pub fn supply(root: &Root) -> Option<Supply> {
    let (mut discharging, mut online, mut percents) = (Vec::new(), Vec::new(), Vec::new());
    for name in root.names("sys/class/power_supply") {
        let read = |file: &str| root.line(&format!("sys/class/power_supply/{name}/{file}"));
        let kind = read("type").unwrap_or_default();
        if read("scope").is_some_and(|scope| scope == "Device") {
            continue;
        }
        if kind == "Battery" {
            discharging.push(read("status").is_some_and(|status| status == "Discharging"));
            percents.extend(read("capacity").and_then(|text| text.parse::<u32>().ok()).map(|n| n.min(100)));
        // Older kernels also have USB_C, USB_PD and the like.
        } else if kind == "Mains" || kind.starts_with("USB") {
            online.extend(read("online").map(|online| online != "0"));
        }
    }
    if discharging.is_empty() && online.is_empty() {
        return None;
    }
    let unplugged = !online.is_empty() && !online.contains(&true);
    let on_battery = discharging.contains(&true) || unplugged && !discharging.is_empty();
    let count = percents.len() as u32;
    Some(Supply { on_battery, percent: percents.iter().sum::<u32>().checked_div(count) })
}
