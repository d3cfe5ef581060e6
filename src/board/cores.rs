//! The cores that a session runs on, and names of core types.

use serde::Serialize;

use super::{CpuList, affinity};

/// Number of threads, and the cores that they are restricted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cores {
    threads: usize,
    cpus: CpuList,
}

impl Cores {
    /// `threads` threads that the system may move among `cpus` only, or anywhere if `cpus` is empty.
    ///
    /// Threads are not bound to one core each: if another process occupies a core of the cluster, a bound thread would
    /// wait for that core, and the others for that thread.
    pub fn new(threads: usize, cpus: CpuList) -> Cores {
        Cores { threads, cpus }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The cores that the threads are restricted to; empty if the system chooses.
    pub fn cpus(&self) -> &CpuList {
        &self.cpus
    }

    /// Restricts the calling thread, and every thread that it starts afterwards, to these cores. Does nothing on
    /// systems other than Linux or if no cores are given. Makes a system call only if the restriction changes.
    ///
    /// # Errors
    /// If the system refuses because none of the cores is available.
    pub fn pin(&self) -> std::io::Result<()> {
        if self.cpus.is_empty() { Ok(()) } else { affinity::pin(&self.cpus) }
    }

    /// Calls `start`, whose threads are kept to these cores; the calling thread is where it was afterwards.
    ///
    /// # Errors
    /// As [`Cores::pin`].
    pub(crate) fn inherited<R>(&self, start: impl FnOnce() -> R) -> std::io::Result<R> {
        if self.cpus.is_empty() { Ok(start()) } else { affinity::inheriting(&self.cpus, start) }
    }
}

impl From<usize> for Cores {
    /// `threads` threads on any cores.
    fn from(threads: usize) -> Cores {
        Cores { threads, cpus: CpuList::default() }
    }
}

impl From<&Cores> for Cores {
    fn from(cores: &Cores) -> Cores {
        cores.clone()
    }
}

/// Type of an ARM core by MIDR_EL1.Implementer and PartNum, from Linux's `arch/arm64/include/asm/cputype.h`. Board
/// files name their cores themselves.
pub(super) fn arm_core(midr: (u32, u32)) -> Option<&'static str> {
    Some(match midr {
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd04) => "Cortex-A35",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd07) => "Cortex-A57",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd09) => "Cortex-A73",
        (0x41, 0xd0a) => "Cortex-A75",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd0d) => "Cortex-A77",
        (0x41, 0xd0e) => "Cortex-A76AE",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd41) => "Cortex-A78",
        (0x41, 0xd42) => "Cortex-A78AE",
        (0x41, 0xd44) => "Cortex-X1",
        (0x41, 0xd46) => "Cortex-A510",
        (0x41, 0xd47) => "Cortex-A710",
        (0x41, 0xd48) => "Cortex-X2",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x41, 0xd4b) => "Cortex-A78C",
        (0x41, 0xd4d) => "Cortex-A715",
        (0x41, 0xd4e) => "Cortex-X3",
        (0x41, 0xd4f) => "Neoverse-V2",
        (0x41, 0xd80) => "Cortex-A520",
        (0x41, 0xd81) => "Cortex-A720",
        (0x41, 0xd82) => "Cortex-X4",
        (0x41, 0xd83) => "Neoverse-V3AE",
        (0x41, 0xd84) => "Neoverse-V3",
        (0x41, 0xd87) => "Cortex-A725",
        (0x4e, 0x003) => "Denver 2",
        (0x4e, 0x004) => "Carmel",
        (0x51, 0x800) => "Kryo 2xx Gold (Cortex-A73)",
        (0x51, 0x801) => "Kryo 2xx Silver (Cortex-A53)",
        (0x51, 0x802) => "Kryo 3xx Gold (Cortex-A75)",
        (0x51, 0x803) => "Kryo 3xx Silver (Cortex-A55)",
        (0x51, 0x804) => "Kryo 4xx Gold (Cortex-A76)",
        (0x51, 0x805) => "Kryo 4xx Silver (Cortex-A55)",
        _ => return None,
    })
}
