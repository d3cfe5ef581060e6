//! Where work that is shared between threads runs: loading, converting, fitting and drawing. (A session has threads of its
//! own, [`crate::kernels::pool`].)

/// Runs `work` on the rayon pool that the calling thread belongs to. A thread of no pool gets one for the time of the call,
/// with as many threads as the process has CPUs: a library starts no global pool. The threads have ended when this returns.
pub(crate) fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let mut work = Some(work);
    let mut start = || work.take().expect("started once");
    let builder = rayon::ThreadPoolBuilder::new().thread_name(|i| format!("microraptor-{i}"));
    match builder.build_scoped(|thread| thread.run(), |pool| pool.install(start())) {
        Ok(result) => result,
        // No thread can be started: rayon falls back to the calling one.
        Err(_) => start()(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_of_the_caller_is_used_and_else_one_that_ends_with_the_call() {
        let threads = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        assert_eq!(threads(3).install(|| in_pool(rayon::current_num_threads)), 3);
        let outside = || (rayon::current_thread_index(), in_pool(rayon::current_thread_index));
        let (before, within) = std::thread::spawn(outside).join().unwrap();
        assert!(before.is_none() && within.is_some());
    }
}
