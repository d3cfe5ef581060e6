//! Axes: scales and ticks.

use super::super::text;

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Logarithmic.
    Log,
}

/// A tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Value at the tick.
    pub value: f64,
    /// Label; empty for a minor tick.
    pub label: String,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Scale.
    pub scale: Scale,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Ticks.
    pub ticks: Vec<Tick>,
    /// Name of the quantity, with the unit.
    pub name: String,
}

/// Ratio of the largest to the smallest value above which the scale is logarithmic.
const LOG_FROM: f64 = 10.0;

impl Axis {
    /// An axis for `values` with a margin at both ends and about `ticks` ticks. It is logarithmic if all values are
    /// positive and the largest is more than [`LOG_FROM`] times the smallest. Values that are not finite are ignored.
    pub fn fit(values: impl IntoIterator<Item = f64>, ticks: usize, name: &str) -> Axis {
        let (low, high) = range(values);
        if low > 0.0 && high / low > LOG_FROM {
            let room = (high / low).powf(0.04);
            return Axis::log(low / room, high * room, ticks, name);
        }
        let room = match high - low {
            // All values are equal: a tenth of the value on both sides.
            0.0 => {
                if low == 0.0 {
                    1.0
                } else {
                    low.abs() * 0.1
                }
            }
            width => width * 0.06,
        };
        // The axis starts below zero only if a value is negative.
        let bottom = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
        Axis::linear(bottom, high + room, ticks, name)
    }

    /// An axis from zero to 2% above the largest value.
    pub fn from_zero(values: impl IntoIterator<Item = f64>, ticks: usize, name: &str) -> Axis {
        let high = range(values).1;
        let high = if high > 0.0 { high } else { 1.0 };
        Axis::linear(0.0, high * 1.02, ticks, name)
    }

    /// A linear axis with these ends and about `ticks` ticks.
    pub fn linear(low: f64, high: f64, ticks: usize, name: &str) -> Axis {
        let step = nice_step((high - low) / ticks.max(1) as f64);
        let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let tick = |i: i64| {
            let value = i as f64 * step;
            Tick { value, label: text::fixed(value, digits) }
        };
        let ticks = (first..=last).map(tick).collect();
        Axis { scale: Scale::Linear, low, high, ticks, name: name.to_owned() }
    }

    /// A logarithmic axis with these ends, both positive. Ticks at 1, 2 and 5 times powers of ten are labelled if these
    /// are not too many, otherwise those at 1 and 3 times powers of ten, otherwise those at powers of ten.
    fn log(low: f64, high: f64, ticks: usize, name: &str) -> Axis {
        let decades = (low.log10().floor() as i32)..=(high.log10().floor() as i32);
        let decades_long = (high / low).log10();
        let labelled: &[u32] = match decades_long * 3.0 / ticks.max(1) as f64 {
            dense if dense <= 1.0 => &[1, 2, 5],
            dense if dense <= 1.6 => &[1, 3],
            _ => &[1],
        };
        // Over many decades, not every power of ten is labelled.
        let every = (decades_long / ticks.max(1) as f64).ceil().max(1.0) as i32;
        let mut all = Vec::new();
        for decade in decades {
            for digit in 1..10_u32 {
                let value = f64::from(digit) * 10_f64.powi(decade);
                if value < low * (1.0 - 1e-9) || value > high * (1.0 + 1e-9) {
                    continue;
                }
                let says = labelled.contains(&digit) && decade % every == 0;
                let label = if says { plain(value, decade) } else { String::new() };
                all.push(Tick { value, label });
            }
        }
        Axis { scale: Scale::Log, low, high, ticks: all, name: name.to_owned() }
    }

    /// The same axis with these ticks instead of its own.
    pub fn with_ticks(mut self, ticks: Vec<Tick>) -> Axis {
        self.ticks = ticks;
        self
    }

    /// Position of a value, from 0 (low end) to 1 (high end); values outside are clamped. A value that is not finite,
    /// or not positive on a logarithmic axis, is at the low end.
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Smallest and largest of the finite values; 0 and 1 if there are none.
fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let ends = values.into_iter().filter(|v| v.is_finite()).fold(None, |ends: Option<(f64, f64)>, v| {
        Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    });
    ends.unwrap_or((0.0, 1.0))
}

/// The smallest number at or above `step` that is 1, 2 or 5 times a power of ten.
fn nice_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Label of a tick on a logarithmic axis: 0.01, 5, 2000; in scientific notation below 1e-4 and from 1e6 on.
fn plain(value: f64, decade: i32) -> String {
    if (-4..=5).contains(&decade) {
        text::fixed(value, (-decade).max(0) as usize)
    } else {
        format!("{value:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|t| t.label.as_str()).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        assert_eq!(labels(&Axis::linear(0.0, 1.0, 5, "")), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(0.871, 0.934, 4, "")), ["0.88", "0.90", "0.92"]);
        assert_eq!(labels(&Axis::fit([3.0, 90.0], 6, "")), ["5", "10", "20", "50", "100"]);
        assert_eq!(Axis::fit([3.0, 90.0], 6, "").scale, Scale::Log);
        assert_eq!(Axis::fit([3.0, 29.0], 6, "").scale, Scale::Linear);
        for axis in
            [Axis::fit([0.002, 9e7], 6, ""), Axis::fit([1e-9, 1e9], 5, ""), Axis::fit([-3.0, 900.0], 5, "")]
        {
            assert!((2..=9).contains(&labels(&axis).len()), "{:?}", labels(&axis));
            assert!(axis.ticks.iter().all(|t| (0.0..=1.0).contains(&axis.at(t.value))));
        }
    }

    #[test]
    fn no_range_is_too_narrow() {
        for values in [vec![], vec![0.0], vec![5.0; 4], vec![1.0], vec![f64::NAN], vec![f64::INFINITY, 1.0]] {
            let axis = Axis::fit(values.clone(), 5, "");
            assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite(), "{values:?}");
            assert!(!labels(&axis).is_empty());
            assert!((0.0..=1.0).contains(&axis.at(f64::NAN)));
        }
        let close = Axis::fit([1.0, 1.0 + 1e-12], 5, "");
        assert!(close.ticks.len() < 20, "{}", close.ticks.len());
        assert!(Axis::from_zero([0.0], 5, "").high > 0.0);
    }
}
