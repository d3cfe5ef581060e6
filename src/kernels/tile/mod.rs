//! Micro-kernels: a few rows of activations times one panel of 16 columns, or two at once, sums in registers.
//!
//! | product          | left             | right, packed in panels                     | sums |
//! |------------------|------------------|---------------------------------------------|------|
//! | [`U8S8`]  | bytes `[m, k]`   | i8 `[n / 16][k / 4][16][4]`                   | i32  |
//! | [`I16`]   | i16 `[m, k]`     | i16 `[n / 16][k / 2][16][2]`                  | i32  |
//! | [`F32`]   | f32 `[m, k]`     | f32 `[n / 16][k][16]`                         | f32  |
//! | [`F16`]   | f32 `[m, k]`     | fp16 `[n / 16][k][16]`, widened as it is read | f32  |
//!
//! Integer sums are exact. A float sum is a chain of fused multiply-adds in the order of k, starting from 0, on every
//! instruction set: the same bits. The columns and k are padded with zeros to whole panels and groups.
//!
//! AVX2 has no dot-product instruction. `vpmaddubsw` multiplies u8 by i8 and adds pairs into i16, which saturates for
//! full-range bytes; for weights within -63 to 63 it cannot (2 x 255 x 63 = 32130 < 32767), and three instructions then
//! do 32 multiply-adds. For other weights activations and weights are widened to i16 and `vpmaddwd` does 16 in two.
//! Measured on Zen 3, panel in L1: 94 and 71 G multiply-adds a second. With VNNI both are one `vpdpbusd`.
//!
//! ARM's products take signed bytes on both sides (`usmmla` and `usdot` came with Armv8.6), so there the codes on the left
//! are stored less 128 ([`Isa::code_offset`]). Plain NEON multiplies bytes into i16 (`smull`, `smlal`) and adds pairs into i32
//! (`sadalp`): of a signed byte and a weight within -63 to 63 four products fit, of other weights two, for which there is a
//! micro-kernel of its own ([`wide_u8s8`]). `sdot` takes four of them at once, `smmla` eight for two rows and two columns, for which
//! pairs of groups are [arranged](GemmTypes::arrange) as `[16][8]`, and the rows on the left are in pairs. [`I16`] and [`F16`] are
//! plain there: nothing uses them (`attention::means`, [`widening`]).

/// Defines the micro-kernel `$name` for one panel, which calls `$inner` with the number of rows at hand (one of `$rows`) as a
/// constant.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! by_rows {
    ($name:ident, $inner:ident, $features:literal, $a:ty, $b:ty, $sum:ty, $($rows:literal)*) => {
        /// # Safety
        /// See `Kernel::run`.
        #[target_feature(enable = $features)]
        pub(in super::super) unsafe fn $name(
            rows: usize,
            _panels: usize,
            groups: usize,
            a: *const $a,
            stride: usize,
            b: *const $b,
            [sums, _]: &mut Tile<$sum>,
        ) {
            // SAFETY: the caller's promise is handed on, with `rows` as a constant.
            unsafe {
                match rows {
                    $($rows => $inner::<$rows>(groups, a, stride, b, sums),)*
                    _ => unreachable!("a kernel takes 1 to `Kernel::rows` rows"),
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod scalar;
#[cfg(test)]
mod tests;

pub(super) use pairs::{pair_rows, paired_len, paired_stride};

use super::isa::{Isa, Kind};

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Most rows that a micro-kernel takes at once on any instruction set.
pub const MAX_ROWS: usize = 12;

/// Largest magnitude of an i8 weight for which [`U8S8`] is exact with any code: see the module.
pub const NARROW: i8 = 63;

/// Which numbers are multiplied; the table is in the module's documentation.
pub trait GemmTypes {
    /// Left elements.
    type A: bytemuck::Pod;
    /// Right elements.
    type B: bytemuck::Pod;
    /// Sums.
    type Sum: Copy + Default + Send + Sync + 'static;
    /// Consecutive elements of k that are stored together.
    const GROUP: usize;
    /// Its micro-kernel on `isa`.
    fn kernel(isa: Isa) -> Kernel<Self>;

    /// Puts packed panels of `groups` groups each into the order that `isa`'s micro-kernel reads.
    fn arrange(isa: Isa, groups: usize, panels: &mut [Self::B]) {
        let _ = (isa, groups, panels);
    }
}

/// Most panels that a micro-kernel takes at once on any instruction set.
pub const MAX_PANELS: usize = 2;

/// A block of sums: one row of a panel each.
pub type Sums<S> = [[S; PANEL]; MAX_ROWS];

/// What a micro-kernel gives: sums for each of its panels.
pub type Tile<S> = [Sums<S>; MAX_PANELS];

/// A micro-kernel of one instruction set.
pub struct Kernel<N: GemmTypes + ?Sized> {
    /// Rows that it takes at once.
    pub rows: usize,
    /// Panels that it takes at once. With two, a value of the left side is loaded once for 32 products: a CPU that does two
    /// products of 512 bits in a cycle does but two loads, and with one panel loads are one more than products (a Xeon of 2023:
    /// 320 to 350 GMAC/s with one, 370 to 380 with two, of 393).
    panels: usize,
    /// Whether the next panel is asked for while the present one is used. With VNNI the products are so fast that a panel's way
    /// from L3 shows (a Xeon of 2023: int8 7% and f32 11% faster with it, ViT-S at 224 px), and boards have less cache and
    /// slower memory; with AVX2 alone it changed nothing or lost 3% (Zen 3, whose own prefetchers hide it).
    prefetches: bool,
    /// Whether the rows of the left side are stored in pairs, as [`pair_rows`] writes them.
    pairs: bool,
    /// `tile[p][r][c] = sum over k of a[r * stride + k] * b[p][k][c]` for `r < rows` and `p < panels`, `groups` groups of k.
    ///
    /// # Safety
    /// The CPU must have the instruction set. `rows` is 1 to [`Kernel::rows`], `panels` 1 to [`Kernel::panels`]; `a` is readable
    /// for `(rows - 1) * stride + groups * GROUP` elements, or where rows are in pairs for `stride` times `rows` rounded up to even,
    /// `stride` being a multiple of 8 and no less than `groups * GROUP`; `b` is readable for `panels` times
    /// `groups * GROUP * PANEL`, and aligned to 64 bytes (32 for fp16).
    run: Run<N>,
}

/// `(rows, panels, groups, a, stride, b, tile)`: see [`Kernel::run`].
type Run<N> = unsafe fn(
    usize,
    usize,
    usize,
    *const <N as GemmTypes>::A,
    usize,
    *const <N as GemmTypes>::B,
    &mut Tile<<N as GemmTypes>::Sum>,
);

impl<N: GemmTypes + ?Sized> Clone for Kernel<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: GemmTypes + ?Sized> Copy for Kernel<N> {}

impl<N: GemmTypes + ?Sized> Kernel<N> {
    /// Whether the rows of the left side are stored in pairs, as [`pair_rows`] writes them, [`paired_stride`] apart.
    pub(super) fn pairs(&self) -> bool {
        self.pairs
    }

    /// Elements of the left side that it reads for `m` rows, `stride` apart; None where the stride does not suit it.
    fn left_len(&self, m: usize, stride: usize, groups: usize) -> Option<usize> {
        let k = groups * N::GROUP;
        match self.pairs {
            false => Some((m - 1) * stride + k),
            true => (stride >= k && stride == paired_stride(stride)).then(|| paired_len(m, stride)),
        }
    }
}

/// bytes x i8: codes of [`super::quantise::row`] times numbers within -[`NARROW`] to [`NARROW`], or 0 to 63 times numbers within
/// -127 to 127. Its micro-kernel need not be exact for others; that of [`wide_u8s8`] is.
pub struct U8S8;
/// i16 x i16
pub struct I16;
/// f32 x f32
pub struct F32;
/// f32 x fp16
pub struct F16;

macro_rules! numbers {
    ($type:ident, $a:ty, $b:ty, $sum:ty, $group:literal, $name:ident $(, $arrange:item)?) => {
        impl GemmTypes for $type {
            type A = $a;
            type B = $b;
            type Sum = $sum;
            const GROUP: usize = $group;

            fn kernel(isa: Isa) -> Kernel<Self> {
                let kernel = |rows, run: Run<Self>, prefetches| Kernel { rows, panels: 1, run, prefetches, pairs: false };
                match isa.kind() {
                    Kind::Scalar => kernel(scalar::ROWS, scalar::$name, false),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx2 => kernel(avx2::ROWS, avx2::$name, false),
                    #[cfg(target_arch = "x86_64")]
                    Kind::AvxVnni => kernel(avxvnni::ROWS, avxvnni::$name, true),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx512Vnni => Kernel { panels: 2, ..kernel(avx512::ROWS, avx512::$name, true) },
                    #[cfg(target_arch = "aarch64")]
                    Kind::Neon => kernel(neon::rows::$name, neon::$name, true),
                    #[cfg(target_arch = "aarch64")]
                    Kind::Dotprod => kernel(dotprod::rows::$name, dotprod::$name, true),
                    #[cfg(target_arch = "aarch64")]
                    // Its product of bytes takes pairs of rows.
                    Kind::I8mm => {
                        Kernel { pairs: size_of::<$a>() == 1, ..kernel(i8mm::rows::$name, i8mm::$name, true) }
                    }
                }
            }

            $($arrange)?
        }
    };
}

numbers!(
    U8S8,
    u8,
    i8,
    i32,
    4,
    u8s8,
    #[cfg(target_arch = "aarch64")]
    fn arrange(isa: Isa, groups: usize, panels: &mut [i8]) {
        if isa.kind() == Kind::I8mm {
            i8mm::arrange(groups, panels);
        }
    }
);
numbers!(I16, i16, i16, i32, 2, i16);
numbers!(F32, f32, f32, f32, 1, f32);
numbers!(F16, f32, u16, f32, 1, f16);

/// The micro-kernel that takes any codes and weights within -127 to 127 of the layout of [`U8S8`], with the rows of that one's;
/// None on AVX2, where such weights go through [`I16`]. It is the same one but on plain NEON.
pub fn wide_u8s8(isa: Isa) -> Option<Kernel<U8S8>> {
    let kernel = U8S8::kernel(isa);
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => None,
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => Some(Kernel { run: neon::u8s8_wide, ..kernel }),
        _ => Some(kernel),
    }
}

/// How fp16 weights become f32 before they are multiplied, and not as they are read.
#[derive(Clone, Copy)]
pub struct Widening {
    /// Widens the numbers of whole panels, as many as there is room for.
    pub widen: fn(&[u16], &mut [f32]),
    /// Bytes of the left side that share a widened panel, if these are [`Widening::LEAST_ROWS`] or more.
    pub block_bytes: usize,
}

impl Widening {
    /// Fewest rows to a widened panel.
    pub const LEAST_ROWS: usize = 24;
}

/// How fp16 panels are to be widened ahead of [`F32`], or None where [`F16`] does it as it reads them.
///
/// NEON widens 4 numbers in an instruction that takes the place of multiplications, so that a Cortex-A76 would do 5.5 multiply-adds
/// a cycle instead of 8, while x86-64 converts as it loads. To widen and store 16 columns of one k takes a Cortex-A76 11 cycles and
/// an A72 10, to multiply them by a row 2 and 4 (llvm-mca): with 96 rows that is 6% and 3%, with 24 on an A72 10%.
///
/// An A76 and those after it have 512 KB of L2 for a core and an L3 beside it, 4 MB for the four cores of a Raspberry Pi 5 together,
/// which hold 96 rows of 1536 and their panel for each. An A72 has 1 MB for four cores, which holds 24, or 120 of 384.
pub fn widening(isa: Isa) -> Option<Widening> {
    match isa.kind() {
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => Some(Widening { widen: neon::widen_fp16, block_bytes: 192 << 10 }),
        #[cfg(target_arch = "aarch64")]
        Kind::Dotprod | Kind::I8mm => Some(Widening { widen: neon::widen_fp16, block_bytes: 576 << 10 }),
        _ => None,
    }
}

/// What becomes of a tile's sums. A trait, not a closure: `#[inline(always)]` makes it part of a function that is
/// compiled for an instruction set, and a closure cannot ask for that.
pub(super) trait Epilogue<S> {
    /// Asks for the memory that [`Epilogue::take`] will read and write, before the sums are computed; nothing, where it was in use
    /// a moment ago.
    #[inline(always)]
    fn expect(&self, row: usize, panel: usize, rows: usize) {
        let _ = (row, panel, rows);
    }

    /// Takes the sums of rows `row..row + rows` and the columns of panel `panel`.
    fn take(&mut self, row: usize, panel: usize, rows: usize, sums: &Sums<S>);
}

/// Asks for `values` to be brought into L1, a cache line after the other.
#[inline(always)]
pub(super) fn prefetch<T>(values: &[T]) {
    let bytes = values.as_ptr_range();
    let mut line = bytes.start.cast::<u8>();
    while line < bytes.end.cast() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of x86-64; a prefetch reads nothing that the program sees and cannot fault.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; the intrinsic is unstable.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) line, options(nostack, readonly, preserves_flags));
        }
        line = line.wrapping_add(64);
    }
}

/// Calls `epilogue.take(first_row, panel, rows, sums)` for every tile of `a: [m, k]` times the panels in `b`.
///
/// The rows of `a` are `stride` apart, in pairs where the kernel wants them so ([`Kernel::pairs`]). `b` holds whole panels of
/// `groups` groups each. Panels are outermost: the one or two of a tile stay in the nearest cache that holds them while all rows
/// pass by, and the next are on their way from wherever they are ([`Kernel::prefetches`]).
///
/// # Panics
/// When `a` is shorter than its `m` rows, or `b` is not whole panels.
#[inline(always)]
pub(super) fn for_tiles<N: GemmTypes>(
    kernel: Kernel<N>,
    m: usize,
    groups: usize,
    a: &[N::A],
    stride: usize,
    b: &[N::B],
    epilogue: &mut impl Epilogue<N::Sum>,
) {
    if m == 0 || groups == 0 {
        return;
    }
    let panel_len = groups * N::GROUP * PANEL;
    let left = kernel.left_len(m, stride, groups);
    assert!(left.is_some_and(|len| a.len() >= len), "{} {m} {stride} {groups}", a.len());
    assert!(b.len().is_multiple_of(panel_len) && b.as_ptr().addr().is_multiple_of(64));
    let mut tile: Tile<N::Sum> = [[[N::Sum::default(); PANEL]; MAX_ROWS]; MAX_PANELS];
    let most = kernel.panels * panel_len;
    let mut b = b;
    let mut panel = 0;
    while !b.is_empty() {
        let (now, rest) = b.split_at(most.min(b.len()));
        let panels = now.len() / panel_len;
        let ahead = if kernel.prefetches { &rest[..most.min(rest.len())] } else { &[] };
        let mut ahead = ahead.chunks(most.div_ceil(m.div_ceil(kernel.rows)));
        let mut row = 0;
        while row < m {
            prefetch(ahead.next().unwrap_or(&[]));
            let rows = kernel.rows.min(m - row);
            for p in 0..panels {
                epilogue.expect(row, panel + p, rows);
            }
            // SAFETY: the kernel came from `N::kernel(isa)` or `wide_u8s8(isa)`, and an `Isa` proves its instructions. `rows` is at
            // most `kernel.rows`, and `panels` at most `kernel.panels`. The length of `a` was asserted above, and where rows are in
            // pairs its stride too; `row` is a multiple of `kernel.rows`, then even, so that a pair begins there. `now` is so many
            // whole panels. The first begins at a multiple of 64 bytes (asserted above), and every panel has `groups` times 64 bytes
            // (32 for fp16).
            unsafe {
                (kernel.run)(
                    rows,
                    panels,
                    groups,
                    a.as_ptr().add(row * stride),
                    stride,
                    now.as_ptr(),
                    &mut tile,
                )
            };
            for (p, sums) in tile.iter().enumerate().take(panels) {
                epilogue.take(row, panel + p, rows, sums);
            }
            row += rows;
        }
        (b, panel) = (rest, panel + panels);
    }
}
