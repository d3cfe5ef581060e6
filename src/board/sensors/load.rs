//! Load of the machine: `/proc/stat`, `/proc/loadavg` and `/proc/self` (Documentation/filesystems/proc.rst in Linux).

use serde::Serialize;

use crate::board::Root;

/// Time since boot summed over the online cores, and this process's share of it, in ticks. There are 100 ticks a second
/// on almost all kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CpuTimes {
    /// Busy: programs and the kernel, including interrupts.
    pub busy: u64,
    /// Idle, or waiting for I/O.
    pub idle: u64,
    /// Taken by a hypervisor for other virtual machines.
    pub steal: u64,
    /// All threads of this process; part of `busy`.
    pub own: u64,
    /// Number of online cores.
    pub cpus: usize,
}

/// Fractions of all cores' time between two readings: on four cores, one busy thread is 0.25.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Other processes, kernel interrupts, and time taken by a hypervisor.
    pub others: f64,
    /// This process.
    pub own: f64,
    /// Time taken by a hypervisor; part of `others`.
    pub steal: f64,
}

impl CpuTimes {
    /// The load since an earlier reading; `None` if no tick has passed. A tick is 10 ms of one core, so the result is
    /// coarse for readings less than a second apart.
    pub fn since(&self, earlier: &CpuTimes) -> Option<Load> {
        let passed = |of: fn(&CpuTimes) -> u64| of(self).saturating_sub(of(earlier));
        let (busy, idle, steal, own) =
            (passed(|t| t.busy), passed(|t| t.idle), passed(|t| t.steal), passed(|t| t.own));
        let lost = busy.saturating_add(steal);
        let total = lost.saturating_add(idle);
        let share = |ticks: u64| ticks as f64 / total as f64;
        (total > 0).then(|| Load {
            others: share(lost.saturating_sub(own)),
            own: share(own.min(total)),
            steal: share(steal),
        })
    }
}

/// Current times; `None` if `/proc/stat` or `/proc/self/stat` cannot be read.
pub fn cpu_times(root: &Root) -> Option<CpuTimes> {
    let text = root.text("proc/stat")?;
    let numbers =
        |line: &str| line.split_whitespace().map_while(|n| n.parse::<u64>().ok()).collect::<Vec<_>>();
    let total = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // The last two fields, guest and guest_nice, are already included in user and nice.
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = numbers(total)[..] else { return None };
    let sum = |parts: &[u64]| parts.iter().fold(0, |sum: u64, &part| sum.saturating_add(part));
    let of_one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    Some(CpuTimes {
        busy: sum(&[user, nice, system, irq, softirq]),
        idle: sum(&[idle, iowait]),
        steal,
        own: own_ticks(root)?,
        cpus: text.lines().filter(of_one).count(),
    })
}

/// utime and stime, fields 14 and 15. Field 2 is the program's name in brackets, which may contain spaces and brackets.
fn own_ticks(root: &Root) -> Option<u64> {
    let text = root.text("proc/self/stat")?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()?.saturating_add(next()?))
}

/// Mean number of threads running or waiting for a core over the last 1, 5 and 15 minutes, including this process's.
pub fn load_average(root: &Root) -> Option<[f64; 3]> {
    let text = root.text("proc/loadavg")?;
    let mut words = text.split_whitespace();
    let mut next = || words.next()?.parse::<f64>().ok().filter(|load| load.is_finite());
    Some([next()?, next()?, next()?])
}

/// Bytes of memory still available to this process: MemAvailable, or less if its control group has a lower limit
/// (memory.max, Documentation/admin-guide/cgroup-v2.rst). `None` if unknown.
pub fn available_memory(root: &Root) -> Option<u64> {
    let machine = super::kib(&root.text("proc/meminfo")?, "MemAvailable")? << 10;
    let group = |file: &str| root.text(&format!("sys/fs/cgroup/{file}"));
    let cached = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        ["inactive_file", "active_file"].contains(&name).then(|| bytes.parse::<u64>().ok())?
    };
    let free = || {
        let limit: u64 = group("memory.max")?.parse().ok()?;
        let used: u64 = group("memory.current")?.parse().ok()?;
        let cache: u64 = group("memory.stat")?.lines().filter_map(cached).sum();
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    };
    Some(free().map_or(machine, |free| free.min(machine)))
}

/// Memory of this process, KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessMemory {
    /// Currently resident (VmRSS).
    pub resident_kib: u64,
    /// Peak resident size (VmHWM).
    pub peak_kib: Option<u64>,
}

/// Memory of this process, from `/proc/self/status`.
pub fn process_memory(root: &Root) -> Option<ProcessMemory> {
    let text = root.text("proc/self/status")?;
    Some(ProcessMemory { resident_kib: super::kib(&text, "VmRSS")?, peak_kib: super::kib(&text, "VmHWM") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_machine_and_the_group_leave() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let root = Root::recorded(folder.path());
        assert_eq!(available_memory(&root), None);
        write("proc/meminfo", "MemTotal:  8000 kB\nMemAvailable:   4000 kB\n");
        assert_eq!(available_memory(&root), Some(4000 << 10));
        write("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(available_memory(&root), Some(4000 << 10));
        write("sys/fs/cgroup/memory.max", "2048000\n");
        write("sys/fs/cgroup/memory.current", "1048000\n");
        write(
            "sys/fs/cgroup/memory.stat",
            "anon 700000\nfile 348000\ninactive_file 300000\nactive_file 48000\n",
        );
        assert_eq!(available_memory(&root), Some(1_000_000 + 348_000));
    }
}
