//! What a worker gives up before it reads its first byte: files, network, processes, and all but a little memory and
//! time.

#[cfg(target_os = "linux")]
use super::calls;
use super::wire::Granted;
#[cfg(target_os = "linux")]
use crate::cli::limits;
use crate::cli::limits::Bytes;

/// Confines this process: it may use `memory` above what it has, and `seconds` of processor time. A system may be unable
/// to do some of it (an emulator, a kernel without seccomp); the result says what it did.
#[cfg(target_os = "linux")]
pub fn confine(memory: Option<Bytes>, seconds: Option<u64>) -> Granted {
    // If memory is short, the kernel should end this process and not the program.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let limits = limit(memory, seconds).is_ok();
    Granted { limits, calls: calls::filter().is_ok() }
}

#[cfg(not(target_os = "linux"))]
pub fn confine(_: Option<Bytes>, _: Option<u64>) -> Granted {
    Granted::default()
}

/// No new files, no longer files, no processes or threads, no core dump, no debugger.
#[cfg(target_os = "linux")]
fn limit(memory: Option<Bytes>, seconds: Option<u64>) -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

    let at_most = |resource: Resource, value: u64| {
        let value = getrlimit(resource).maximum.map_or(value, |most| most.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
    };
    if let Some(Bytes(memory)) = memory {
        at_most(Resource::As, limits::address_space().saturating_add(memory))?;
    }
    if let Some(seconds) = seconds {
        at_most(Resource::Cpu, seconds)?;
    }
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Nproc, Resource::Core] {
        at_most(resource, 0)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}
