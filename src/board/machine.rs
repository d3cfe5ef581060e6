//! Description of this machine: the online cores, their capabilities, and which of them are alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{CpuList, Root};

/// Cores whose clocks differ by less than this ratio are in one cluster: RK3588 bins its two pairs of A76 a few percent
/// apart, and x86 has favoured cores. A prime core differs by more (QCS6490: 2.7 against 2.4 GHz).
const SAME_CLOCK: f64 = 1.10;

/// Instruction set architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// 64-bit ARM.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

/// One online core.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Number of the core.
    pub number: usize,
    /// MIDR_EL1.Implementer and PartNum (ARM).
    pub midr: Option<(u32, u32)>,
    /// `P-core` or `E-core` on x86 with both kinds.
    pub kind: Option<&'static str>,
    /// Capacity relative to the machine's fastest core, which has 1024 (ARM, and x86 with several clusters).
    pub capacity: Option<u32>,
    /// Highest clock in MHz, if the clock is adjustable.
    pub max_mhz: Option<u32>,
    /// Instruction set extensions, named as in `/proc/cpuinfo`.
    #[serde(skip)]
    pub features: BTreeSet<String>,
    /// Data caches by level, KiB.
    pub cache_kib: BTreeMap<u8, u32>,
}

/// Cores of the same type and nearly the same clock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Numbers of the cores.
    pub cpus: CpuList,
    /// Core type: `Cortex-A76`.
    pub core: Option<String>,
    /// MIDR_EL1.Implementer and PartNum (ARM).
    pub midr: Option<(u32, u32)>,
    /// Highest clock of any core, MHz.
    pub max_mhz: Option<u32>,
    /// Instruction set extensions common to all of the cores.
    #[serde(skip)]
    pub features: BTreeSet<String>,
    /// Data caches of the first core by level, KiB.
    pub cache_kib: BTreeMap<u8, u32>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// `/proc/device-tree/model`.
    pub model: Option<String>,
    /// `/proc/device-tree/compatible`, most specific first.
    pub compatible: Vec<String>,
    /// Name of the CPU (x86).
    pub cpu_name: Option<String>,
    /// Vendor and product name from the firmware (DMI).
    pub product: Option<String>,
    /// Lines `Model` and `Hardware` of `/proc/cpuinfo`.
    pub cpuinfo_names: Vec<String>,
    /// Architecture of its cores.
    pub architecture: Option<Architecture>,
    /// The online cores.
    pub cpus: Vec<Cpu>,
    /// Numbers of the offline cores.
    pub offline: CpuList,
    /// Numbers of the cores available to this process.
    pub usable: CpuList,
}

impl Machine {
    /// Reads this machine, or a recorded tree.
    pub fn read(root: &Root) -> Machine {
        let cpuinfo = CpuInfo::parse(&root.cpuinfo());
        let tree = ["proc/device-tree", "sys/firmware/devicetree/base"];
        let model = tree.iter().find_map(|tree| root.line(&format!("{tree}/model")));
        let compatible = tree.iter().map(|tree| root.strings(&format!("{tree}/compatible")));
        let online = root.value::<CpuList>("sys/devices/system/cpu/online");
        let listed: CpuList = cpuinfo.cores.keys().copied().collect();
        let online = online.unwrap_or_else(|| {
            let folders = root.numbered("sys/devices/system/cpu", "cpu");
            if listed.is_empty() { folders.into_iter().map(|(n, _)| n).collect() } else { listed }
        });
        let present = root.value::<CpuList>("sys/devices/system/cpu/present").unwrap_or_default();
        let kinds = [("P-core", "cpu_core"), ("E-core", "cpu_atom")].map(|(kind, device)| {
            (kind, root.value::<CpuList>(&format!("sys/devices/{device}/cpus")).unwrap_or_default())
        });
        Machine {
            model,
            compatible: compatible.into_iter().find(|list| !list.is_empty()).unwrap_or_default(),
            product: product(root),
            architecture: cpuinfo.architecture(),
            cpus: online.iter().map(|number| cpu(root, number, &cpuinfo, &kinds)).collect(),
            offline: present.without(&online),
            usable: super::affinity::usable(root).unwrap_or_else(|| online.clone()).and(&online),
            cpu_name: cpuinfo.name,
            cpuinfo_names: cpuinfo.board_names,
        }
    }

    /// Name for display: the board, otherwise the CPU or the product.
    pub fn title(&self) -> &str {
        let title = self.model.as_ref().or(self.cpu_name.as_ref()).or(self.product.as_ref());
        title.map_or("unknown machine", String::as_str)
    }

    /// Numbers of the online cores.
    pub fn online(&self) -> CpuList {
        self.cpus.iter().map(|cpu| cpu.number).collect()
    }

    /// Groups of cores of the same type and nearly the same clock, fastest group first.
    pub fn groups(&self) -> Vec<Group> {
        let mut kinds: BTreeMap<_, Vec<&Cpu>> = BTreeMap::new();
        for cpu in &self.cpus {
            kinds.entry((cpu.midr, cpu.kind)).or_default().push(cpu);
        }
        let mut groups: Vec<Vec<&Cpu>> = kinds.into_values().flat_map(by_clock).collect();
        let rank = |group: &[&Cpu]| {
            let best = |value: fn(&Cpu) -> Option<u32>| group.iter().filter_map(|cpu| value(cpu)).max();
            (best(|cpu| cpu.capacity), best(|cpu| cpu.max_mhz))
        };
        // The sort is stable: equal groups stay in the order of their first core.
        groups.sort_by_key(|group| group.first().map(|cpu| cpu.number));
        groups.sort_by_key(|group| std::cmp::Reverse(rank(group)));
        groups.iter().map(|group| Group::of(group)).collect()
    }
}

/// Splits cores of one type where neighbouring clocks differ by more than [`SAME_CLOCK`].
fn by_clock(mut cpus: Vec<&Cpu>) -> Vec<Vec<&Cpu>> {
    cpus.sort_by_key(|cpu| cpu.max_mhz);
    let near = |a: &&Cpu, b: &&Cpu| match (a.max_mhz, b.max_mhz) {
        (Some(a), Some(b)) => f64::from(b) < f64::from(a) * SAME_CLOCK,
        _ => true,
    };
    cpus.chunk_by(near).map(<[&Cpu]>::to_vec).collect()
}

impl Group {
    pub(super) fn of(cpus: &[&Cpu]) -> Group {
        let first = cpus.first();
        let common = |a: BTreeSet<String>, cpu: &&Cpu| a.intersection(&cpu.features).cloned().collect();
        let features = first.map(|cpu| cpu.features.clone()).unwrap_or_default();
        let midr = first.and_then(|cpu| cpu.midr);
        let kind = first.and_then(|cpu| cpu.kind);
        Group {
            cpus: cpus.iter().map(|cpu| cpu.number).collect(),
            core: midr.and_then(super::cores::arm_core).or(kind).map(str::to_owned),
            midr,
            max_mhz: cpus.iter().filter_map(|cpu| cpu.max_mhz).max(),
            features: cpus.iter().fold(features, common),
            cache_kib: first.map(|cpu| cpu.cache_kib.clone()).unwrap_or_default(),
        }
    }
}

fn product(root: &Root) -> Option<String> {
    let read = |name: &str| root.line(&format!("sys/class/dmi/id/{name}"));
    let product = read("product_name")?;
    Some(read("sys_vendor").map_or(product.clone(), |vendor| format!("{vendor} {product}")))
}

fn cpu(root: &Root, number: usize, cpuinfo: &CpuInfo, kinds: &[(&'static str, CpuList); 2]) -> Cpu {
    let folder = format!("sys/devices/system/cpu/cpu{number}");
    let listed = cpuinfo.cores.get(&number);
    let midr = || {
        let text = root.text(&format!("{folder}/regs/identification/midr_el1"))?;
        let midr = u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
        Some(((midr >> 24 & 0xff) as u32, (midr >> 4 & 0xfff) as u32))
    };
    let khz = root.value::<u32>(&format!("{folder}/cpufreq/cpuinfo_max_freq"));
    Cpu {
        number,
        midr: listed.and_then(|core| core.implementer.zip(core.part)).or_else(midr),
        kind: kinds.iter().find(|(_, cpus)| cpus.contains(number)).map(|(kind, _)| *kind),
        capacity: root.value(&format!("{folder}/cpu_capacity")),
        max_mhz: khz.map(|khz| khz / 1000),
        features: listed.map(|core| core.features.clone()).unwrap_or_default(),
        cache_kib: cache_levels(root, number).iter().map(|cache| (cache.level, cache.kib)).collect(),
    }
}

/// A data or unified cache as sysfs describes it.
pub(super) struct CacheLevel {
    /// Level; 1 is nearest to the core.
    pub level: u8,
    /// Size.
    pub kib: u32,
    /// Cores that share it; `None` if the kernel does not report it.
    pub shared: Option<CpuList>,
}

/// Data and unified caches of core `cpu`. The kernel writes sizes like `512K`.
pub(super) fn cache_levels(root: &Root, cpu: usize) -> Vec<CacheLevel> {
    let folder = format!("sys/devices/system/cpu/cpu{cpu}/cache");
    let read = |index: &str| {
        let folder = format!("{folder}/{index}");
        let level = root.value::<u8>(&format!("{folder}/level"))?;
        let kib = root.text(&format!("{folder}/size"))?.strip_suffix('K')?.parse().ok()?;
        let shared = root.value(&format!("{folder}/shared_cpu_list"));
        let data = root.text(&format!("{folder}/type"))? != "Instruction";
        data.then_some(CacheLevel { level, kib, shared })
    };
    root.numbered(&folder, "index").iter().filter_map(|(_, name)| read(name)).collect()
}

/// Contents of `/proc/cpuinfo`.
#[derive(Default)]
struct CpuInfo {
    cores: BTreeMap<usize, CoreInfo>,
    name: Option<String>,
    board_names: Vec<String>,
    x86: bool,
    arm: bool,
}

#[derive(Default)]
struct CoreInfo {
    implementer: Option<u32>,
    part: Option<u32>,
    features: BTreeSet<String>,
}

impl CpuInfo {
    fn parse(text: &str) -> CpuInfo {
        let mut info = CpuInfo::default();
        let mut current = None;
        let hex = |value: &str| u32::from_str_radix(value.trim_start_matches("0x"), 16).ok();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if key.trim() == "processor" {
                current = value.parse().ok().filter(|&number: &usize| number < super::MAX_CPUS);
                current.map(|number| info.cores.entry(number).or_default());
            }
            let core = current.and_then(|number| info.cores.get_mut(&number));
            match (key.trim(), core) {
                ("CPU implementer", Some(core)) => (core.implementer, info.arm) = (hex(value), true),
                ("CPU part", Some(core)) => core.part = hex(value),
                ("Features" | "flags", Some(core)) => {
                    core.features = value.split_whitespace().map(str::to_owned).collect();
                }
                ("vendor_id", _) => info.x86 = true,
                ("model name", _) if info.name.is_none() => info.name = Some(value.to_owned()),
                ("Model" | "Hardware", _) => info.board_names.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }

    fn architecture(&self) -> Option<Architecture> {
        match (self.arm, self.x86) {
            (true, _) => Some(Architecture::Aarch64),
            (false, true) => Some(Architecture::X86_64),
            (false, false) => None,
        }
    }
}
