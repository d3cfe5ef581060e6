//! The machine's peak: multiply-accumulates per second when nothing is loaded or stored.
//!
//! The loops consist of the instructions that the micro-kernels ([`super::tile`]) are made of, on operands that stay in
//! registers, with enough independent accumulators that no instruction waits for the previous product. No layer can be
//! faster; the distance to the peak shows how much there is left to gain. It is the flat part of a roofline (Williams
//! et al., doi:10.1145/1498765.1498785).

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::isa::{Isa, Kind};

/// Kind of product whose peak is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeakOf {
    /// Bytes x i8 into i32, as in [`super::tile::U8S8`]. (AVX2 multiplies i8 weights outside -63 to 63, and
    /// probabilities by values, in 16 bits: four instructions instead of three for the same number of products. Plain
    /// NEON adds the products of such weights in pairs instead of fours: six instructions instead of five.)
    Int8,
    /// Fused multiply-adds of f32, as in [`super::tile::F32`]; fp16 weights use the same instructions.
    F32,
}

impl PeakOf {
    /// Both kinds.
    pub const ALL: [PeakOf; 2] = [PeakOf::Int8, PeakOf::F32];

    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            PeakOf::Int8 => "int8",
            PeakOf::F32 => "f32",
        }
    }
}

/// Duration of a turn: shorter than a scheduler's time slice, so that some turns are not interrupted.
const TURN: Duration = Duration::from_millis(2);

/// Rounds between two reads of the clock: 10 us or more, of which the read takes 0.3%.
const ROUNDS: usize = 8192;

/// Operands of every product, small enough that no accumulator overflows within [`ROUNDS`] and each sum is exact.
const X: i8 = 3;
const W: i8 = -5;

/// A loop over several independent chains of accumulation.
struct Chains {
    /// Multiply-accumulates per round: one step of every chain.
    macs: usize,
    /// Returns the sum of all chains after the given number of rounds: `rounds * macs * X * W`.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    run: unsafe fn(usize) -> f64,
}

impl Chains {
    fn of(isa: Isa, of: PeakOf) -> Chains {
        let (macs, run): (usize, unsafe fn(usize) -> f64) = match (isa.kind(), of) {
            (Kind::Scalar, PeakOf::Int8) => (scalar::MACS, scalar::int8),
            (Kind::Scalar, PeakOf::F32) => (scalar::MACS, scalar::f32),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, PeakOf::Int8) => (x86_64::CHAINS * 32, x86_64::avx2_int8),
            #[cfg(target_arch = "x86_64")]
            (Kind::AvxVnni, PeakOf::Int8) => (x86_64::CHAINS * 32, x86_64::avxvnni_int8),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2 | Kind::AvxVnni, PeakOf::F32) => (x86_64::CHAINS * 8, x86_64::avx2_f32),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512Vnni, PeakOf::Int8) => (x86_64::CHAINS * 64, x86_64::avx512_int8),
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512Vnni, PeakOf::F32) => (x86_64::CHAINS * 16, x86_64::avx512_f32),
            #[cfg(target_arch = "aarch64")]
            (Kind::Neon, PeakOf::Int8) => (aarch64::WIDENED * 32, aarch64::neon_int8),
            #[cfg(target_arch = "aarch64")]
            (Kind::Dotprod, PeakOf::Int8) => (aarch64::CHAINS * 16, aarch64::dotprod_int8),
            #[cfg(target_arch = "aarch64")]
            (Kind::I8mm, PeakOf::Int8) => (aarch64::CHAINS * 32, aarch64::i8mm_int8),
            #[cfg(target_arch = "aarch64")]
            (Kind::Neon | Kind::Dotprod | Kind::I8mm, PeakOf::F32) => {
                (aarch64::CHAINS * 4, aarch64::neon_f32)
            }
        };
        Chains { macs, run }
    }

    /// The sum of all chains after `rounds` rounds.
    fn run(&self, rounds: usize) -> f64 {
        // SAFETY: `of` chose the loop for an `Isa`, which exists only if the CPU has its instructions.
        unsafe { (self.run)(rounds) }
    }

    /// Runs the loop for [`TURN`].
    fn turn(&self) -> Turn {
        let start = Instant::now();
        let mut macs = 0;
        loop {
            black_box(self.run(black_box(ROUNDS)));
            macs += ROUNDS * self.macs;
            let end = Instant::now();
            if end - start >= TURN {
                return Turn { start, end, macs };
            }
        }
    }
}

/// Synchronises threads before each turn. A barrier wakes them one after another, about 50 us apart; those that are
/// awake then wait for the others, but not for long, since one may have no core to run on.
struct Gate {
    threads: usize,
    barrier: Barrier,
    passed: AtomicUsize,
}

impl Gate {
    /// Maximum time for which a thread waits for one that does not wake up.
    const PATIENCE: Duration = Duration::from_micros(200);

    fn new(threads: usize) -> Gate {
        Gate { threads, barrier: Barrier::new(threads), passed: AtomicUsize::new(0) }
    }

    /// Waits for the other threads before turn `turn`.
    fn pass(&self, turn: usize) {
        self.barrier.wait();
        self.passed.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        while self.passed.load(Ordering::Relaxed) < (turn + 1) * self.threads
            && start.elapsed() < Gate::PATIENCE
        {
            std::hint::spin_loop();
        }
    }
}

/// One thread's result of a turn.
struct Turn {
    start: Instant,
    end: Instant,
    macs: usize,
}

/// Multiply-accumulates per second of one thread, the caller's: the best of the 2 ms turns within `duration`, at least
/// one turn.
pub fn peak(isa: Isa, of: PeakOf, duration: Duration) -> f64 {
    peak_threads(isa, of, 1, duration)
}

/// Multiply-accumulates per second of `threads` threads at once, including the caller's, summed: the best of the 2 ms
/// turns within `duration`, at least one turn. The result is less than `threads` times [`peak`] where clock frequencies
/// drop when many cores work, or where threads share a core.
///
/// The threads start each turn together; the time of a thread that the scheduler starts late counts from the start of
/// the first one. The threads may run on the same cores as the caller.
pub fn peak_threads(isa: Isa, of: PeakOf, threads: usize, duration: Duration) -> f64 {
    let chains = Chains::of(isa, of);
    let turns = (duration.as_nanos() / TURN.as_nanos()).max(1) as usize;
    let gate = Gate::new(threads.max(1));
    let work = || -> Vec<Turn> {
        let turn = |i| {
            gate.pass(i);
            chains.turn()
        };
        (0..turns).map(turn).collect()
    };
    let all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = vec![work()];
        all.extend(others.into_iter().map(|thread| thread.join().expect("a loop does not panic")));
        all
    });
    (0..turns).map(|i| rate(all.iter().map(|turns| &turns[i]))).fold(0.0, f64::max)
}

/// Multiply-accumulates per second of simultaneous turns.
fn rate<'a>(turns: impl Iterator<Item = &'a Turn> + Clone) -> f64 {
    let start = turns.clone().map(|turn| turn.start).min();
    let rate = |turn: &Turn| turn.macs as f64 / (turn.end - start.unwrap_or(turn.start)).as_secs_f64();
    turns.map(rate).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_is_computed() {
        for isa in Isa::available() {
            for of in PeakOf::ALL {
                let chains = Chains::of(isa, of);
                for rounds in [0, 1, 2, 7, ROUNDS] {
                    let expected = (rounds * chains.macs) as f64 * f64::from(X) * f64::from(W);
                    assert_eq!(chains.run(rounds), expected, "{isa} {of:?} {rounds}");
                }
            }
        }
    }

    #[test]
    fn a_peak_is_a_positive_number() {
        for isa in Isa::available() {
            for of in PeakOf::ALL {
                for threads in [1, 3] {
                    let found = peak_threads(isa, of, threads, 2 * TURN);
                    assert!(found.is_finite() && found > 0.0, "{isa} {of:?} {threads}: {found}");
                }
            }
            let found = peak(isa, PeakOf::Int8, Duration::ZERO);
            assert!(found.is_finite() && found > 0.0, "{isa}: {found}");
        }
    }

    #[test]
    fn a_thread_that_begins_late_counts_from_the_first() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let turns = [
            Turn { start: at(0), end: at(2), macs: 2_000_000 },
            Turn { start: at(2), end: at(4), macs: 2_000_000 },
        ];
        assert_eq!(rate(turns.iter()), 1e9 + 0.5e9);
    }
}
