//! Time per operator inside a backbone.

use std::time::Duration;

use super::{OperatorShare, Peak};
use crate::encoder::{Operator, OperatorTimes};
use crate::engine::Engine;
use crate::kernels::Isa;
use crate::kernels::peak::{PeakOf, peak_threads};
use crate::vit::Size;

/// How long each peak is measured.
const PEAK_TIME: Duration = Duration::from_millis(150);

/// Register-only compute peaks of `isa` with this number of threads.
pub(super) fn peaks(isa: Isa, threads: usize) -> Vec<Peak> {
    let peak = |of: PeakOf| Peak {
        isa: isa.name().to_owned(),
        numbers: of.name().to_owned(),
        threads,
        gmacs: peak_threads(isa, of, threads, PEAK_TIME) / 1e9,
    };
    PeakOf::ALL.map(peak).into()
}

/// Each operator's share of the run's time, and the share of `peaks` that it reached. The last entry is the time that
/// threads waited.
pub(super) fn shares(
    engine: &Engine,
    size: Size,
    times: &OperatorTimes,
    peaks: &[Peak],
) -> Vec<OperatorShare> {
    let (runs, threads) = (times.runs().max(1) as f64, times.threads().max(1) as f64);
    // The times are summed over all threads; divided by the number of threads, they are shares of the wall time.
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6 / runs / threads;
    let all = times.wall() as f64 / 1e6 / runs;
    let isa = engine.about().backend.isa().map(Isa::name).unwrap_or_default();
    let peak = |of: PeakOf| {
        let same = |p: &&Peak| p.isa == isa && p.numbers == of.name() && p.threads == times.threads();
        peaks.iter().find(same).map_or(f64::INFINITY, |p| p.gmacs * 1e9)
    };
    let share = |operator: Operator| {
        let macs = engine.macs(operator, size).ok().flatten().filter(|macs| macs.total() > 0);
        let ms = ms(times.of(operator));
        let at_best = macs.map(|macs| macs.least_seconds(peak) * 1e3);
        OperatorShare {
            name: operator.name().to_owned(),
            ms,
            share: ms / all,
            gmacs: macs.filter(|_| ms > 0.0).map(|macs| macs.total() as f64 / ms / 1e6),
            numbers: macs.and_then(|macs| macs.precision()).map(|p| p.name().to_owned()),
            of_peak: at_best.filter(|&best| best > 0.0 && ms > 0.0).map(|best| best / ms),
        }
    };
    let mut found: Vec<OperatorShare> =
        Operator::ALL.into_iter().map(share).filter(|share| share.ms > 0.0).collect();
    let wait = ms(times.wait());
    found.push(OperatorShare {
        name: "wait".to_owned(),
        ms: wait,
        share: wait / all,
        gmacs: None,
        numbers: None,
        of_peak: None,
    });
    found
}
