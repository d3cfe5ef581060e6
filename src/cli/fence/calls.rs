//! The system calls that are left to a worker (seccomp(2)): those of a decoder. Any other gives `EPERM`, so that a library
//! that tries one that it can do without goes on.

use std::collections::BTreeMap;
use std::error::Error;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, Le, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// Leaves this process, from now on, the calls of a decoder.
pub fn filter() -> Result<(), Box<dyn Error>> {
    let otherwise = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram =
        SeccompFilter::new(rules()?, otherwise, SeccompAction::Allow, arch)?.try_into()?;
    Ok(apply_filter(&program)?)
}

/// The calls that a decoder makes: it reads standard input, writes the other two, allocates, and ends. A call without rules
/// is allowed whatever its arguments.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let when = |argument, length, op, value: u64| SeccompCondition::new(argument, length, op, value);
    let rule = SeccompRule::new;
    let (exec, anonymous) = (libc::PROT_EXEC as u64, libc::MAP_ANONYMOUS as u64);
    let pid = u64::from(std::process::id());
    let limited = [
        (libc::SYS_read, vec![rule(vec![when(0, Dword, Eq, 0)?])?]),
        // Standard output and standard error.
        (libc::SYS_write, vec![rule(vec![when(0, Dword, Eq, 1)?])?, rule(vec![when(0, Dword, Eq, 2)?])?]),
        // Memory of its own, in which nothing is executed.
        (
            libc::SYS_mmap,
            vec![rule(vec![
                when(2, Dword, MaskedEq(exec), 0)?,
                when(3, Dword, MaskedEq(anonymous), anonymous)?,
            ])?],
        ),
        (libc::SYS_mprotect, vec![rule(vec![when(2, Dword, MaskedEq(exec), 0)?])?]),
        // How abort ends a process: by a signal to itself.
        (libc::SYS_tgkill, vec![rule(vec![when(0, Dword, Eq, pid)?, when(2, Dword, Le, 31)?])?]),
        // Only its own random numbers, of which maps need some.
        (libc::SYS_getrandom, vec![rule(vec![when(1, Qword, Le, 256)?])?]),
    ];
    let free = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
    ];
    Ok(free.map(|call| (call, Vec::new())).into_iter().chain(limited).collect())
}
