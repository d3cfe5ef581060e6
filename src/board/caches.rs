//! Share of the caches that each thread has.

use super::machine::{CacheLevel, cache_levels};
use super::{Cores, CpuList, Machine, Root, recognise};

/// Bytes of cache for each thread of a session, assuming that threads share a cache evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShare {
    /// Second-level cache.
    pub l2: usize,
    /// Last-level cache: the third level if there is one.
    pub last: usize,
}

impl CacheShare {
    /// The share of each of `cores`' threads, as the system reports it, otherwise from the board file; `None` if
    /// neither has it.
    ///
    /// The cores of one session are alike or nearly so. The last one, on ARM a big core if there is one, represents
    /// them all.
    pub fn of(root: &Root, cores: &Cores) -> Option<CacheShare> {
        let online = || root.value::<CpuList>("sys/devices/system/cpu/online").unwrap_or_default();
        let cpus = if cores.cpus().is_empty() { online() } else { cores.cpus().clone() };
        let cpu = cpus.iter().last()?;
        let levels = cache_levels(root, cpu);
        let share = |level: &CacheLevel, unsaid: usize| {
            let sharing = level.shared.as_ref().map_or(unsaid, |shared| shared.and(&cpus).len());
            bytes(level.kib) / sharing.min(cores.threads()).max(1)
        };
        let last = levels.iter().filter(|level| level.level >= 2).max_by_key(|level| level.level);
        let Some(last) = last else { return of_board(root, cpu, cores.threads()) };
        let l2 = levels.iter().find(|level| level.level == 2);
        // If sharing is not reported, a third level is assumed to be shared by all cores and a second level by none.
        let last_share = share(last, if last.level > 2 { cpus.len() } else { 1 });
        Some(CacheShare { l2: l2.map_or(last_share, |l2| share(l2, 1)), last: last_share })
    }
}

fn bytes(kib: u32) -> usize {
    (kib as usize).saturating_mul(1024)
}

/// The share according to the file of the recognised board, for the cluster of core `cpu`.
fn of_board(root: &Root, cpu: usize, threads: usize) -> Option<CacheShare> {
    let machine = Machine::read(root);
    let board = recognise(&machine)?.board;
    let midr = machine.cpus.iter().find(|c| c.number == cpu)?.midr?;
    let cluster = board.clusters.iter().find(|cluster| (cluster.implementer, cluster.part) == midr)?;
    let sharing = threads.min(cluster.count.get()).max(1);
    let caches = cluster.caches;
    let l2 = caches.l2_kib.map(|kib| bytes(kib.get()) / if caches.l2_shared { sharing } else { 1 });
    let last = caches.l3_kib.map(|kib| bytes(kib.get()) / sharing).or(l2)?;
    Some(CacheShare { l2: l2.unwrap_or(last), last })
}
