//! Window functions, which map a value to a brightness (PS3.3 C.11.2.1.2 and C.11.2.1.3).
//!
//! Implemented here because dicom-pixeldata 0.10 widens narrower SIGMOID windows to 1.

use crate::input::Window;

/// VOILUTFunction (0028,1056).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// With offsets of half a unit and one unit, for integer values. A window narrower than one unit, which the
    /// standard does not allow here, is treated as [`Function::LinearExact`], as in dcmtk, fo-dicom and
    /// dicom-pixeldata: such values are not integers.
    Linear,
    LinearExact,
    Sigmoid,
}

impl Function {
    /// Brightness from 0 (black) to 1 (white).
    pub(super) fn apply(self, Window { center, width }: Window, value: f64) -> f64 {
        let line = |center: f64, width: f64| {
            if value <= center - width / 2.0 {
                0.0
            } else if value > center + width / 2.0 {
                1.0
            } else {
                (value - center) / width + 0.5
            }
        };
        match self {
            Function::Linear if width >= 1.0 => line(center - 0.5, width - 1.0),
            Function::Linear | Function::LinearExact => line(center, width),
            Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_the_standard() {
        let window = |center, width| Window { center, width };
        // PS3.3 C.11.2.1.2.1: centre 2048 and width 4096 map 0 to black and 4095 to white.
        let whole = |v| Function::Linear.apply(window(2048.0, 4096.0), v);
        assert_eq!([0.0, 4095.0].map(whole), [0.0, 1.0]);
        assert!((whole(1365.0) - 1.0 / 3.0).abs() < 1e-12);
        // Its note: a width of 1 is a threshold at the centre minus 0.5.
        let one = |v| Function::Linear.apply(window(10.0, 1.0), v);
        assert_eq!([9.0, 9.5, 9.6, 10.0].map(one), [0.0, 0.0, 1.0, 1.0]);
        let narrow = window(0.5, 0.8);
        for function in [Function::Linear, Function::LinearExact] {
            let found = [0.1, 0.3, 0.5, 0.9, 1.0].map(|v| function.apply(narrow, v));
            assert!(
                found.iter().zip([0.0, 0.25, 0.5, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-9),
                "{found:?}"
            );
        }
        // C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w)).
        let sigmoid = Function::Sigmoid.apply(narrow, 0.7);
        assert!((sigmoid - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-12, "{sigmoid}");
    }
}
