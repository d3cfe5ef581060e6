//! Compares every micro-kernel with the plain one, bit for bit, over all tails and extreme values.

use bytemuck::Zeroable as _;
use half::f16;

use super::*;
use crate::kernels::aligned::Aligned;

/// A small random number generator that gives the same values on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

/// Stores the sums of every tile at their position in the output.
struct Collect<'a, S> {
    out: &'a mut [S],
    panels: usize,
}

impl<S: Copy> Epilogue<S> for Collect<'_, S> {
    fn take(&mut self, row: usize, panel: usize, rows: usize, sums: &Sums<S>) {
        for (r, sums) in sums.iter().enumerate().take(rows) {
            self.out[((row + r) * self.panels + panel) * PANEL..][..PANEL].copy_from_slice(sums);
        }
    }
}

/// Sums of all tiles, indexed by row and panel. Neither side is in the order of the instruction set yet.
fn sums<N: GemmTypes>(isa: Isa, product: Product<N>) -> Vec<N::Sum> {
    let Product { kernel, m, groups, a, stride, b } = product;
    let panels = b.len() / (groups * N::GROUP * PANEL);
    let mut arranged = Aligned::<N::B>::zeroed(b.len());
    arranged.copy_from_slice(b);
    N::arrange(isa, groups, &mut arranged);
    let mut out = vec![N::Sum::default(); m * panels * PANEL];
    let collect = Collect { out: &mut out, panels };
    if kernel.pairs() {
        let k = groups * N::GROUP;
        let mut pairs = vec![N::A::zeroed(); paired_len(m, k)];
        pair_rows(bytemuck::cast_slice(a), stride, m, k, bytemuck::cast_slice_mut(&mut pairs));
        let stride = paired_stride(k);
        Product { kernel, m, groups, a: &pairs, stride, b: &arranged }.for_tiles(collect);
    } else {
        Product { kernel, m, groups, a, stride, b: &arranged }.for_tiles(collect);
    }
    out
}

/// How the left values of a product are stored on an instruction set, and how that changes its sums.
trait Stored: GemmTypes {
    fn stored(_isa: Isa, a: Self::A) -> Self::A {
        a
    }

    fn plain(_isa: Isa, sum: Self::Sum, _right: &[Self::B]) -> Self::Sum {
        sum
    }
}

impl Stored for I16 {}
impl Stored for F32 {}
impl Stored for F16 {}
impl Stored for U8S8 {
    fn stored(isa: Isa, a: u8) -> u8 {
        a.wrapping_sub(isa.code_offset() as u8)
    }

    fn plain(isa: Isa, sum: i32, right: &[i8]) -> i32 {
        sum + isa.code_offset() * right.iter().map(|&b| i32::from(b)).sum::<i32>()
    }
}

/// [`check_kernel`] for the product's own micro-kernel.
fn check<N: Stored>(
    a: impl FnMut(u32) -> N::A,
    b: impl FnMut(u32) -> N::B,
    exact: impl Fn(&[N::A], &[N::B]) -> N::Sum,
) where
    N::Sum: PartialEq + std::fmt::Debug,
{
    check_kernel::<N>(|isa| Some(N::kernel(isa)), a, b, exact);
}

/// Compares `kernel` on every instruction set with the plain kernel, and the plain kernel with `exact`, over m past two
/// tiles, k past two groups of any width, one to three panels, and strides with a gap.
fn check_kernel<N: Stored>(
    kernel: impl Fn(Isa) -> Option<Kernel<N>>,
    mut a: impl FnMut(u32) -> N::A,
    mut b: impl FnMut(u32) -> N::B,
    exact: impl Fn(&[N::A], &[N::B]) -> N::Sum,
) where
    N::Sum: PartialEq + std::fmt::Debug,
{
    let mut random = Random(7);
    for m in 1..=2 * MAX_ROWS + 1 {
        for (groups, panels, gap) in
            [(1, 1, 0), (2, 1, 3), (3, 2, 1), (5, 1, 0), (8, 2, 8), (17, 1, 2), (33, 3, 0)]
        {
            let k = groups * N::GROUP;
            let stride = k + gap;
            let left: Vec<N::A> = (0..m * stride).map(|_| a(random.next())).collect();
            let mut right = Aligned::<N::B>::zeroed(panels * k * PANEL);
            right.iter_mut().for_each(|v| *v = b(random.next()));
            let plain = Product { kernel: N::kernel(Isa::SCALAR), m, groups, a: &left, stride, b: &right };
            let expected = sums::<N>(Isa::SCALAR, plain);
            let columns: Vec<Vec<N::B>> =
                (0..panels * PANEL).map(|column| column_of::<N>(&right, k, column)).collect();
            for (i, sum) in expected.iter().enumerate() {
                let (row, column) = (i / (panels * PANEL), i % (panels * PANEL));
                assert_eq!(*sum, exact(&left[row * stride..][..k], &columns[column]));
            }
            for (isa, kernel) in Isa::available().into_iter().filter_map(|isa| Some((isa, kernel(isa)?))) {
                let left: Vec<N::A> = left.iter().map(|&a| N::stored(isa, a)).collect();
                let mut found = sums::<N>(isa, Product { kernel, m, groups, a: &left, stride, b: &right });
                for (sum, column) in found.iter_mut().zip(columns.iter().cycle()) {
                    *sum = N::plain(isa, *sum, column);
                }
                assert_eq!(found, expected, "{isa}: m {m}, {groups} groups, {panels} panels, gap {gap}");
            }
        }
    }
}

/// Column `column` of packed panels of `k` elements each.
fn column_of<N: GemmTypes>(panels: &[N::B], k: usize, column: usize) -> Vec<N::B> {
    let panel = &panels[column / PANEL * k * PANEL..][..k * PANEL];
    let at = |i: usize| (i / N::GROUP * PANEL + column % PANEL) * N::GROUP + i % N::GROUP;
    (0..k).map(|i| panel[at(i)]).collect()
}

fn int_sum<A: Copy + Into<i64>, B: Copy + Into<i64>>(a: &[A], b: &[B]) -> i32 {
    let sum: i64 = a.iter().zip(b).map(|(&a, &b)| a.into() * b.into()).sum();
    i32::try_from(sum).expect("the test's values do not overflow")
}

/// The ends of a range, in an order that does not repeat with groups or pairs.
fn ends<T: Copy>(low: T, high: T) -> impl Fn(u32) -> T {
    move |r| if r % 3 == 0 { low } else { high }
}

#[test]
fn u8_by_narrow_i8_is_exact() {
    let narrow = |r: u32| ((r % 127) as i32 - 63) as i8;
    check::<U8S8>(|r| r as u8, narrow, int_sum);
    // Extremes only: 2 * 255 * 63 and 4 * 128 * 63 are the largest sums in i16. (On ARM a code of 0 is -128.)
    for code in [0, 255] {
        for weight in [-NARROW, NARROW] {
            check::<U8S8>(|_| code, |_| weight, int_sum);
        }
        check::<U8S8>(|_| code, ends(-NARROW, NARROW), int_sum);
    }
    check::<U8S8>(ends(0, 255), ends(NARROW, -NARROW), int_sum);
}

#[test]
fn u8_by_wide_i8_is_exact_where_a_kernel_says_so() {
    check_kernel::<U8S8>(wide_u8s8, |r| r as u8, |r| ((r % 255) as i32 - 127) as i8, int_sum);
    // An i16 holds only two of these products.
    for code in [0, 255] {
        for weight in [-127, 127] {
            check_kernel::<U8S8>(wide_u8s8, |_| code, |_| weight, int_sum);
        }
        check_kernel::<U8S8>(wide_u8s8, |_| code, ends(-127, 127), int_sum);
    }
    check_kernel::<U8S8>(wide_u8s8, ends(0, 255), ends(127, -127), int_sum);
}

#[test]
fn the_wide_kernel_has_the_tiles_of_the_narrow_one() {
    for isa in Isa::available() {
        if let Some(wide) = wide_u8s8(isa) {
            let narrow = U8S8::kernel(isa);
            assert_eq!((wide.rows, wide.panels), (narrow.rows, narrow.panels), "{isa}");
        }
    }
}

#[test]
fn i16_is_exact() {
    check::<I16>(|r| (r % 511) as i16 - 255, |r| (r % 255) as i16 - 127, int_sum);
    check::<I16>(|_| 255, |_| -127, int_sum);
    check::<I16>(|_| 4095, |r| if r % 2 == 0 { 127 } else { -127 }, int_sum);
}

#[test]
fn floats_are_a_chain_of_fused_multiply_adds() {
    let value = |r: u32| (r as f32 / 2f32.powi(30) - 1.0) * 2f32.powi((r % 9) as i32);
    check::<F32>(value, value, |a, b| a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum)));
    let half = |r: u32| f16::from_f32(value(r)).to_bits();
    check::<F16>(value, half, |a, b| {
        a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(f16::from_bits(*b).to_f32(), sum))
    });
}

#[test]
fn every_fp16_number_is_widened_to_its_value() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for widening in Isa::available().into_iter().filter_map(widening) {
        let mut wide = vec![0.0; all.len()];
        (widening.widen)(&all, &mut wide);
        for (&half, wide) in all.iter().zip(wide) {
            let expected = f16::from_bits(half).to_f32();
            assert!(wide.to_bits() == expected.to_bits() || wide.is_nan() && expected.is_nan(), "{half:#x}");
        }
    }
}
