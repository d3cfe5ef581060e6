//! Configured modes that limit power and clocks.

use serde::Serialize;

use crate::board::Root;

/// The modes that are set; a mode is `None` if the machine does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PowerMode {
    /// Power mode of a Jetson.
    pub nvpmodel: Option<NvpModel>,
    /// The firmware's profile on x86: `balanced`, `low-power`, `performance`.
    pub platform_profile: Option<String>,
    /// Whether the cores may exceed their base clock (turbo).
    pub boost: Option<bool>,
}

/// A Jetson's power mode, as `nvpmodel -q` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NvpModel {
    /// Number of the mode.
    pub id: u32,
    /// Name of the mode, if the list of modes has it: `MAXN_SUPER`.
    pub name: Option<String>,
}

impl PowerMode {
    /// The modes in one line; `None` if none is known.
    pub fn text(&self) -> Option<String> {
        let jetson = self.nvpmodel.as_ref().map(|mode| {
            let name = mode.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            format!("nvpmodel {}{name}", mode.id)
        });
        let profile = self.platform_profile.as_ref().map(|profile| format!("profile {profile}"));
        let boost = self.boost.map(|on| format!("boost {}", if on { "on" } else { "off" }));
        let texts: Vec<String> = jetson.into_iter().chain(profile).chain(boost).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

/// The modes of the machine.
pub fn power_mode(root: &Root) -> PowerMode {
    let cpu = "sys/devices/system/cpu";
    let switch = |file: &str| root.value::<u8>(&format!("{cpu}/{file}")).map(|value| value != 0);
    PowerMode {
        nvpmodel: nvpmodel(root),
        platform_profile: root.line("sys/firmware/acpi/platform_profile"),
        // Documentation/admin-guide/pm/intel_pstate.rst and cpufreq.rst
        boost: switch("intel_pstate/no_turbo").map(|off| !off).or_else(|| switch("cpufreq/boost")),
    }
}

/// Reads `pmode:0001`, on older releases followed by `fmode:quiet`, from the file in which nvpmodel keeps the mode
/// across boots. Names are in nvpmodel's list: `< POWER_MODEL ID=1 NAME=7W >`. The file does not show that the mode was
/// applied; the clocks do.
fn nvpmodel(root: &Root) -> Option<NvpModel> {
    let status = root.line("var/lib/nvpmodel/status")?;
    let id = status.split_whitespace().find_map(|word| word.strip_prefix("pmode:")?.parse().ok())?;
    let named = |line: &str| {
        let line = line.trim().strip_prefix('<')?.trim_start().strip_prefix("POWER_MODEL")?;
        let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
        (value("ID=")?.parse() == Ok(id)).then(|| value("NAME=").map(crate::board::root::printable))?
    };
    let list = root.text("etc/nvpmodel.conf").unwrap_or_default();
    Some(NvpModel { id, name: list.lines().find_map(named) })
}
