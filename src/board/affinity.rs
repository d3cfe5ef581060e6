//! CPU affinity: the cores that a thread may run on.

use super::{CpuList, Root};

/// The cores that taskset and the container's cpuset allow this process; `None` if unknown.
pub fn usable(root: &Root) -> Option<CpuList> {
    let recorded = || {
        let status = root.text("proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        line.trim().parse().ok()
    };
    if root.is_live() { current().or_else(recorded) } else { recorded() }
}

#[cfg(target_os = "linux")]
fn current() -> Option<CpuList> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let set = sched_getaffinity(None).ok()?;
    Some((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

#[cfg(not(target_os = "linux"))]
fn current() -> Option<CpuList> {
    None
}

/// Restricts the calling thread to `cpus`. Threads that it starts later inherit this (pthread_create(3)).
#[cfg(target_os = "linux")]
pub fn pin(cpus: &CpuList) -> std::io::Result<()> {
    use std::cell::Cell;

    use rustix::thread::{CpuSet, sched_setaffinity};

    thread_local! {
        /// The cores that this thread was last restricted to: two sessions may take turns on one thread.
        static KEPT: Cell<Option<CpuSet>> = const { Cell::new(None) };
    }
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(cpu));
    if KEPT.get() != Some(set) {
        sched_setaffinity(None, &set)?;
        KEPT.set(Some(set));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn pin(_: &CpuList) -> std::io::Result<()> {
    Ok(())
}

/// Calls `start` with the calling thread kept to `cpus`, so that threads that it starts inherit that, and puts the thread back.
#[cfg(target_os = "linux")]
pub fn inheriting<R>(cpus: &CpuList, start: impl FnOnce() -> R) -> std::io::Result<R> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    // Set without `pin`, which remembers what it did last: others move this thread, too.
    let before = sched_getaffinity(None)?;
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(cpu));
    sched_setaffinity(None, &set)?;
    struct Back(CpuSet);
    impl Drop for Back {
        fn drop(&mut self) {
            // The cores were allowed a moment ago.
            let _ = sched_setaffinity(None, &self.0);
        }
    }
    let _back = Back(before);
    Ok(start())
}

#[cfg(not(target_os = "linux"))]
pub fn inheriting<R>(_: &CpuList, start: impl FnOnce() -> R) -> std::io::Result<R> {
    Ok(start())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::board::{Cores, MAX_CPUS};

    #[test]
    fn a_thread_and_those_that_it_starts_keep_to_the_cores() {
        // Run on a separate thread, so that the process's other threads keep their cores.
        let test = || {
            let before = current().unwrap();
            let last = before.iter().last().unwrap();
            let one: CpuList = [last].into_iter().collect();
            let on_one = Cores::new(2, one.clone());
            on_one.pin().unwrap();
            assert_eq!(current().unwrap(), one);
            assert_eq!(std::thread::spawn(|| current().unwrap()).join().unwrap(), one);
            // Two sessions take turns on one thread, then a third without a restriction.
            Cores::new(1, before.clone()).pin().unwrap();
            assert_eq!(current().unwrap(), before);
            on_one.pin().unwrap();
            Cores::from(3).pin().unwrap();
            assert_eq!(current().unwrap(), one);
            // Threads that a thread starts for a session are there, and the thread itself stays where it was.
            Cores::new(1, before.clone()).pin().unwrap();
            let worker = || std::thread::spawn(|| current().unwrap()).join().unwrap();
            assert_eq!(on_one.inherited(worker).unwrap(), one);
            assert_eq!(current().unwrap(), before);
        };
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn cores_that_are_not_there_are_an_error() {
        let refused = || Cores::new(1, [MAX_CPUS - 1].into_iter().collect()).pin();
        assert!(std::thread::spawn(refused).join().unwrap().is_err());
    }
}
