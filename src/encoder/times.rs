//! Time spent in each operator of a forward pass.
//!
//! Each thread has its own clock in its [`Worker`](super::workspace::Worker), which takes no lock and allocates
//! nothing. A disabled clock costs a comparison per lap. An enabled one reads the system time about a dozen times per
//! unit and block, and once or twice more per row where rows are normalised, activated or quantised one by one.

use std::ops::AddAssign;
use std::time::Instant;

use super::Operator;

/// Times of one [`Encoder::run`](super::Encoder::run), or of several added up, in nanoseconds.
///
/// The operators' times are summed over the threads. Together with [`OperatorTimes::wait`] they add up to exactly
/// threads x wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorTimes {
    operators: [u64; Operator::COUNT],
    wall: u64,
    threads: usize,
    runs: usize,
}

impl OperatorTimes {
    /// The times of one run on `threads` threads.
    pub(super) fn new(operators: [u64; Operator::COUNT], wall: u64, threads: usize) -> OperatorTimes {
        OperatorTimes { operators, wall, threads, runs: 1 }
    }

    /// Time in an operator, summed over all threads.
    pub const fn of(&self, operator: Operator) -> u64 {
        self.operators[operator as usize]
    }

    /// Wall time of the runs.
    pub const fn wall(&self) -> u64 {
        self.wall
    }

    /// Number of threads in each run.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Number of runs added up; the times are their sums.
    pub const fn runs(&self) -> usize {
        self.runs
    }

    /// Total thread time: [`OperatorTimes::threads`] x [`OperatorTimes::wall`].
    pub const fn total(&self) -> u64 {
        self.threads as u64 * self.wall
    }

    /// Thread time outside operators: waiting for other threads, waking up, distributing work.
    pub fn wait(&self) -> u64 {
        self.total().saturating_sub(self.operators.iter().sum())
    }
}

impl AddAssign for OperatorTimes {
    /// # Panics
    /// If the numbers of threads differ; [`OperatorTimes::default`] can be added to any.
    fn add_assign(&mut self, other: OperatorTimes) {
        assert!(self.runs == 0 || other.runs == 0 || self.threads == other.threads, "the same threads");
        self.operators.iter_mut().zip(other.operators).for_each(|(a, b)| *a += b);
        self.wall += other.wall;
        self.threads = self.threads.max(other.threads);
        self.runs += other.runs;
    }
}

/// A thread's clock.
#[derive(Default)]
pub(super) struct Clock {
    /// The end of the last lap; `None` while the clock is disabled.
    last: Option<Instant>,
    operators: [u64; Operator::COUNT],
}

impl Clock {
    /// Enables or disables the clock, and clears its measurements.
    pub fn reset(&mut self, on: bool) {
        *self = Clock { last: on.then(Instant::now), ..Clock::default() };
    }

    /// Begins a lap; the time since the last one is not counted.
    #[inline]
    pub fn start(&mut self) {
        if let Some(last) = &mut self.last {
            *last = Instant::now();
        }
    }

    /// Ends a lap, counts it for `operator`, and begins the next.
    #[inline]
    pub fn lap(&mut self, operator: Operator) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            self.operators[operator as usize] += nanoseconds(*last, now);
            *last = now;
        }
    }

    /// Counts the time of `f` alone for `operator`.
    #[inline]
    pub fn time(&mut self, operator: Operator, f: impl FnOnce()) {
        self.start();
        f();
        self.lap(operator);
    }

    /// Time in each operator since [`Clock::reset`].
    pub fn operators(&self) -> &[u64; Operator::COUNT] {
        &self.operators
    }
}

/// Nanoseconds from `start` to `end`; a u64 holds 585 years.
pub(super) fn nanoseconds(start: Instant, end: Instant) -> u64 {
    (end - start).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_wait_are_the_whole() {
        let mut operators = [0; Operator::COUNT];
        operators[Operator::Qkv as usize] = 70;
        operators[Operator::Fc2 as usize] = 50;
        let one = OperatorTimes::new(operators, 65, 2);
        assert_eq!((one.of(Operator::Qkv), one.of(Operator::Norm), one.wait()), (70, 0, 10));
        let mut sum = OperatorTimes::default();
        assert_eq!((sum.total(), sum.wait()), (0, 0));
        sum += one;
        assert_eq!(sum, one);
        sum += one;
        assert_eq!((sum.runs(), sum.threads(), sum.wall(), sum.total()), (2, 2, 130, 260));
        assert_eq!((sum.of(Operator::Fc2), sum.wait()), (100, 20));
    }

    #[test]
    fn a_clock_that_is_off_counts_nothing() {
        let mut clock = Clock::default();
        clock.start();
        clock.lap(Operator::Norm);
        assert_eq!(clock.operators(), &[0; Operator::COUNT]);
        clock.reset(true);
        clock.time(Operator::Norm, || std::thread::sleep(std::time::Duration::from_millis(1)));
        assert!(clock.operators()[Operator::Norm as usize] >= 1_000_000);
        clock.reset(false);
        clock.lap(Operator::Norm);
        assert_eq!(clock.operators(), &[0; Operator::COUNT]);
    }
}
