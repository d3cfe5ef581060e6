//! Where work that is shared between threads runs: loading, converting, fitting and drawing. (A session has threads of its
//! own, [`crate::kernels::pool`].)

use std::thread::Builder;

/// Runs `work` on the rayon pool that the calling thread belongs to. A thread of no pool gets one for the time of the call,
/// with as many threads as the process has CPUs: a library starts no global pool. The threads have ended when this returns.
pub(crate) fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let mut threads = Vec::new();
    let spawn = |thread: rayon::ThreadBuilder| {
        let name = format!("microraptor-{}", thread.index());
        threads.push(Builder::new().name(name).spawn(|| thread.run())?);
        Ok(())
    };
    let Ok(pool) = rayon::ThreadPoolBuilder::new().spawn_handler(spawn).build() else {
        // No thread can be started: rayon falls back to the calling one.
        return work();
    };
    let result = pool.install(work);
    drop(pool);
    // Until here a thread that ends may still allocate.
    threads.into_iter().for_each(|thread| drop(thread.join()));
    result
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
