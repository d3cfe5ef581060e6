//! A pool of threads that are started once, spin briefly for the next job, and then park.
//!
//! [`Pool::run`] takes no lock and allocates nothing: a job is published through atomics, and its tasks are claimed
//! from a counter. A worker that the scheduler keeps from running is waited for only if it has already entered the job.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Spins before a worker parks: about 0.3 ms on Zen 3, longer than a thread waits between two phases of an image.
const SPINS: u32 = 20_000;

/// Spins before the caller, waiting for the last task, yields its core: the worker may need it.
const WAIT_SPINS: u32 = 2_000;

/// Bit of `Shared::state`: workers may enter the job. The other bits count the workers inside, in steps of 2.
const OPEN: usize = 1;

/// A task, called with `(task, worker)`.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Job published to the workers; valid during one [`Pool::run`].
#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    tasks: usize,
}

struct Shared {
    job: UnsafeCell<Job>,
    state: AtomicUsize,
    /// Changes with every job, so that a worker enters each job only once.
    epoch: AtomicU32,
    next: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    parked: Vec<AtomicBool>,
    /// Number of workers that have started.
    started: AtomicUsize,
}

// SAFETY: `job` is written only by `Pool::run` while `state` is 0 (closed, no worker inside), and read only by workers
// that have entered, which they can do only while it is open. The task itself is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; dropping `Shared` does not use the pointer.
unsafe impl Send for Shared {}

/// A pool of threads, including the caller's.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<(Thread, Option<JoinHandle<()>>)>,
    /// Number of threads that are not its own ([`Pool::hosted`]).
    guests: usize,
}

impl Pool {
    /// Creates a pool of `threads` threads, including the caller's.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let workers = threads.max(1) - 1;
        fn nothing(_: usize, _: usize) {}
        let nothing: &'static Task<'static> = &nothing;
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(Job { task: nothing, tasks: 0 }),
            state: AtomicUsize::new(0),
            epoch: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            parked: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            started: AtomicUsize::new(0),
        });
        let mut pool = Pool { shared, workers: Vec::with_capacity(workers), guests: 0 };
        for i in 0..workers {
            let shared = pool.shared.clone();
            let builder = std::thread::Builder::new().name(format!("microraptor-{}", i + 1));
            let handle = builder.spawn(move || work(&shared, i))?;
            pool.workers.push((handle.thread().clone(), Some(handle)));
        }
        // A thread allocates while it starts; waiting here keeps that out of `run`.
        while pool.shared.started.load(Ordering::Acquire) < workers {
            std::thread::yield_now();
        }
        Ok(pool)
    }

    /// Runs `f` on a thread of `threads` with a pool whose workers are the others of them, for as long as `f` takes: they
    /// run other code at other times (tract's operators). Each spins until the next job, and none parks.
    pub fn hosted<R: Send>(threads: &rayon::ThreadPool, f: impl FnOnce(&mut Pool) -> R + Send) -> R {
        threads.install(|| {
            let own = threads.current_thread_index().unwrap_or(0);
            // A pool of one thread is the calling thread: it starts none, so nothing can fail.
            let mut pool = Pool::new(1).expect("a pool of one thread starts none");
            pool.guests = threads.current_num_threads() - 1;
            let shared = pool.shared.clone();
            // Nobody waits for a guest that comes late, because its thread does something else: it finds that it has to
            // leave.
            threads.spawn_broadcast(move |context| match context.index() {
                // The thread of `f` gets here when `f` is done.
                index if index == own => {}
                index => attend(&shared, if index < own { index + 1 } else { index }),
            });
            // `f` may panic: the guests must leave all the same.
            let _leaving = Leave(pool.shared.clone());
            f(&mut pool)
        })
    }

    /// Number of threads, including the caller's.
    pub fn threads(&self) -> usize {
        self.workers.len() + self.guests + 1
    }

    /// Calls `task(i, worker)` exactly once for every `i < tasks`, on whichever thread is free; `worker < threads()`.
    ///
    /// # Panics
    /// If a task panics.
    pub fn run(&mut self, tasks: usize, task: &Task) {
        if self.threads() == 1 || tasks <= 1 {
            (0..tasks).for_each(|i| task(i, 0));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. `Close`, which is dropped before this function returns or unwinds, waits
        // until no worker is inside and lets none enter afterwards.
        let task_static = unsafe { std::mem::transmute::<*const Task, *const Task<'static>>(task) };
        // SAFETY: `state` is 0, as the last `run` waited for all workers, and `&mut self` makes this the only caller.
        unsafe { *shared.job.get() = Job { task: task_static, tasks } };
        // If the caller and a worker both panicked in the last run, the caller unwound without reading the flag.
        shared.panicked.store(false, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::Relaxed);
        let close = Close(shared);
        // SeqCst: either a worker that is about to park sees the open state, or we see that it is parked.
        shared.state.store(OPEN, Ordering::SeqCst);
        for ((thread, _), parked) in self.workers.iter().zip(&shared.parked) {
            if parked.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
        claim(shared, Job { task: task_static, tasks }, 0);
        drop(close);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a task panicked on another thread");
        }
    }

    /// Splits `rows` at `bounds` (non-decreasing, at most the number of rows) and calls `f(i, worker, part)` for each
    /// part `bounds[i]..bounds[i + 1]`.
    ///
    /// # Panics
    /// If the bounds decrease or exceed the rows, or `f` panics.
    pub fn for_parts<S: Split>(
        &mut self,
        bounds: &[usize],
        rows: S,
        f: impl Fn(usize, usize, S::Part) + Sync,
    ) {
        assert!(bounds.windows(2).all(|w| w[0] <= w[1]), "bounds increase");
        assert!(bounds.last().is_none_or(|&last| rows.holds(last)), "bounds fit the rows");
        self.run(bounds.len().saturating_sub(1), &|i, worker| {
            // SAFETY: `run` passes each `i` once and the bounds do not decrease, so the parts are disjoint; they lie
            // inside the rows (asserted above), which are borrowed for the whole call.
            f(i, worker, unsafe { rows.part(bounds[i]..bounds[i + 1]) });
        });
    }
}

/// Closes the job and waits until no worker is inside, even if the caller's own task panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        // Tasks that have not been claimed are not run.
        self.0.next.fetch_add(usize::MAX / 2, Ordering::Relaxed);
        self.0.state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut spins = 0;
        while self.0.state.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins % WAIT_SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// Claims and runs tasks until none is left.
fn claim(shared: &Shared, job: Job, worker: usize) {
    loop {
        let i = shared.next.fetch_add(1, Ordering::Relaxed);
        if i >= job.tasks {
            return;
        }
        // SAFETY: `run` does not return before all workers inside have left, so the task is still alive.
        unsafe { (*job.task)(i, worker) };
    }
}

/// Sends guests away.
struct Leave(Arc<Shared>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// Main loop of a guest, the worker number `worker`.
fn attend(shared: &Shared, worker: usize) {
    let (mut last, mut spins) = (0, 0);
    while !shared.stop.load(Ordering::Acquire) {
        if let Some(epoch) = shared.enter(last) {
            (last, spins) = (epoch, 0);
            shared.serve(worker);
            continue;
        }
        spins += 1;
        if spins % WAIT_SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
}

impl Shared {
    /// Enters a job newer than `last`, if there is one, and returns its epoch.
    fn enter(&self, last: u32) -> Option<u32> {
        loop {
            let state = self.state.load(Ordering::SeqCst);
            if state & OPEN == 0 || self.epoch.load(Ordering::Relaxed) == last {
                return None;
            }
            let entered =
                self.state.compare_exchange_weak(state, state + 2, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_ok() {
                return Some(self.epoch.load(Ordering::Relaxed));
            }
        }
    }

    /// Works on the job that was entered, as the worker number `worker`, and leaves it.
    fn serve(&self, worker: usize) {
        // SAFETY: this worker is inside, so `job` is not written until it has left.
        let job = unsafe { *self.job.get() };
        if catch_unwind(AssertUnwindSafe(|| claim(self, job, worker))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        self.state.fetch_sub(2, Ordering::Release);
    }
}

/// Main loop of a worker.
fn work(shared: &Shared, index: usize) {
    shared.started.fetch_add(1, Ordering::Release);
    let mut last = 0;
    loop {
        let Some(epoch) = enter(shared, index, last) else { return };
        last = epoch;
        shared.serve(index + 1);
    }
}

/// Waits for a job newer than `last` and enters it. Returns the job's epoch, or `None` if the pool is dropped.
fn enter(shared: &Shared, index: usize, last: u32) -> Option<u32> {
    let mut spins = 0;
    loop {
        if shared.stop.load(Ordering::Acquire) {
            return None;
        }
        if let Some(epoch) = shared.enter(last) {
            return Some(epoch);
        }
        spins += 1;
        if spins < SPINS {
            std::hint::spin_loop();
            continue;
        }
        shared.parked[index].store(true, Ordering::SeqCst);
        let state = shared.state.load(Ordering::SeqCst);
        let nothing_new = state & OPEN == 0 || shared.epoch.load(Ordering::SeqCst) == last;
        if nothing_new && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.parked[index].store(false, Ordering::SeqCst);
        spins = 0;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for (thread, handle) in &mut self.workers {
            thread.unpark();
            // A worker catches its tasks' panics, so `join` does not fail.
            let _ = handle.take().map(JoinHandle::join);
        }
    }
}

/// Rows that can be split into disjoint parts for several threads.
///
/// # Safety
/// Parts of disjoint ranges must not overlap, and a part must lie inside the rows if `holds(range.end)`.
pub unsafe trait Split: Sync {
    /// A part of the rows.
    type Part;
    /// Whether there are at least `rows` rows.
    fn holds(&self, rows: usize) -> bool;
    /// The rows in `range`.
    ///
    /// # Safety
    /// `holds(range.end)` must be true, and no part of an overlapping range may be made while this part lives.
    unsafe fn part(&self, range: Range<usize>) -> Self::Part;

    /// The same rows, with each part converted by `f`.
    fn map<P, F: Fn(Self::Part) -> P + Sync>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
    {
        Map { rows: self, f }
    }
}

/// `[rows, width]`, which can be split between rows.
pub struct RowsMut<'a, T> {
    first: *mut T,
    rows: usize,
    width: usize,
    borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out disjoint `&mut [T]`, which may be sent to other threads if `T: Send`.
unsafe impl<T: Send> Sync for RowsMut<'_, T> {}

impl<'a, T> RowsMut<'a, T> {
    /// Views `data` as rows of `width` elements; a remainder is ignored.
    pub fn new(data: &'a mut [T], width: usize) -> RowsMut<'a, T> {
        let rows = data.len().checked_div(width).unwrap_or(usize::MAX);
        RowsMut { first: data.as_mut_ptr(), rows, width, borrow: std::marker::PhantomData }
    }

    /// The same, for a buffer that may be absent: an empty `data` is any number of empty rows.
    pub fn or_absent(data: &'a mut [T], width: usize) -> RowsMut<'a, T> {
        let width = if data.is_empty() { 0 } else { width };
        RowsMut::new(data, width)
    }
}

// SAFETY: the part for `range` is the elements `range.start * width..range.end * width` of one slice, so parts of
// disjoint ranges do not overlap.
unsafe impl<'a, T: Send> Split for RowsMut<'a, T> {
    type Part = &'a mut [T];

    fn holds(&self, rows: usize) -> bool {
        rows <= self.rows
    }

    unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the rows lie inside the slice that `new` borrowed for `'a`, and the caller keeps parts disjoint.
        unsafe {
            std::slice::from_raw_parts_mut(self.first.add(range.start * self.width), range.len() * self.width)
        }
    }
}

/// Rows whose parts are converted by a function: see [`Split::map`].
pub struct Map<S, F> {
    rows: S,
    f: F,
}

// SAFETY: each part is made of one part of `rows`, which fulfils the contract for the same range.
unsafe impl<S: Split, P, F: Fn(S::Part) -> P + Sync> Split for Map<S, F> {
    type Part = P;

    fn holds(&self, rows: usize) -> bool {
        self.rows.holds(rows)
    }

    unsafe fn part(&self, range: Range<usize>) -> P {
        // SAFETY: the caller guarantees the same for `rows`.
        (self.f)(unsafe { self.rows.part(range) })
    }
}

macro_rules! split_tuple {
    ($($name:ident $index:tt),*) => {
        // SAFETY: each element fulfils the contract for its own rows, and `holds` asks all of them.
        unsafe impl<$($name: Split),*> Split for ($($name,)*) {
            type Part = ($($name::Part,)*);

            fn holds(&self, rows: usize) -> bool {
                $(self.$index.holds(rows))&&*
            }

            unsafe fn part(&self, range: Range<usize>) -> Self::Part {
                // SAFETY: what the caller guarantees for the tuple holds for each element.
                unsafe { ($(self.$index.part(range.clone()),)*) }
            }
        }
    };
}

split_tuple!(A 0, B 1);
split_tuple!(A 0, B 1, C 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_in_every_round() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            for round in 0..300 {
                let tasks = round % 17;
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|i, worker| {
                    assert!(worker < threads);
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} {round}");
                if round % 100 == 99 {
                    // Long enough for the workers to park.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        }
    }

    #[test]
    fn parts_are_the_rows_between_the_bounds() {
        let mut pool = Pool::new(3).unwrap();
        let (mut a, mut b, mut c) = (vec![0; 20], vec![0; 50], Vec::<u8>::new());
        let parts = (RowsMut::new(&mut a, 2), RowsMut::new(&mut b, 5), RowsMut::new(&mut c, 0));
        pool.for_parts(&[0, 3, 3, 10], parts, |i, _, (a, b, c)| {
            a.fill(i + 1);
            b.fill(10 * (i + 1));
            assert!(c.is_empty());
        });
        assert_eq!(a, [[1; 6].as_slice(), &[3; 14]].concat());
        assert_eq!(b, [[10; 15].as_slice(), &[30; 35]].concat());
    }

    #[test]
    fn parts_of_structs_are_the_rows_between_the_bounds() {
        struct Named<'a> {
            present: &'a mut [usize],
            absent: &'a mut [u8],
        }
        let (mut present, mut absent) = (vec![0; 12], Vec::new());
        let parts = (RowsMut::or_absent(&mut present, 3), RowsMut::or_absent(&mut absent, 3))
            .map(|(present, absent)| Named { present, absent });
        assert!(parts.holds(4) && !parts.holds(5));
        Pool::new(2).unwrap().for_parts(&[0, 1, 4], parts, |i, _, Named { present, absent }| {
            present.fill(i + 1);
            assert!(absent.is_empty());
        });
        assert_eq!(present, [[1; 3].as_slice(), &[2; 9]].concat());
    }

    #[test]
    fn threads_of_another_pool_work_as_guests_and_go_back() {
        for threads in [1, 2, 3] {
            let others = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let round = || {
                Pool::hosted(&others, |pool| {
                    assert_eq!(pool.threads(), threads);
                    let workers: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                    for _ in 0..50 {
                        assert_eq!(count(pool), 6);
                        pool.run(64, &|_, worker| {
                            workers[worker].fetch_add(1, Ordering::Relaxed);
                        });
                    }
                    workers.iter().map(|n| n.load(Ordering::Relaxed)).sum::<usize>()
                })
            };
            assert_eq!(round(), 50 * 64);
            // From one of the threads themselves, and after a panic.
            assert_eq!(others.install(round), 50 * 64);
            let panics = || Pool::hosted(&others, |pool| pool.run(3, &|i, _| assert!(i < 2)));
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
            assert_eq!(others.broadcast(|_| 1).into_iter().sum::<usize>(), threads);
            assert_eq!(round(), 50 * 64);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let mut pool = Pool::new(2).unwrap();
        for bad in [0, 1, 5] {
            let run = || pool.run(6, &|i, _| assert!(i != bad, "task {i}"));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
        assert_eq!(count(&mut pool), 6);
    }

    #[test]
    fn a_panic_of_the_caller_and_a_worker_in_one_run_is_forgotten_by_the_next() {
        let mut pool = Pool::new(2).unwrap();
        for _ in 0..20 {
            // Both are inside a task before either panics.
            let both = std::sync::Barrier::new(2);
            let run = || {
                pool.run(2, &|i, worker| {
                    both.wait();
                    panic!("task {i} of worker {worker}");
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            assert_eq!(count(&mut pool), 6);
        }
    }

    /// Number of tasks run, of six.
    fn count(pool: &mut Pool) -> usize {
        let count = AtomicUsize::new(0);
        pool.run(6, &|_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        count.into_inner()
    }
}
