//! Micro-kernels: a few rows of activations times one or two panels of 16 columns, with the accumulators in registers.
//!
//! | product          | left             | right, packed in panels                     | sums |
//! |------------------|------------------|---------------------------------------------|------|
//! | [`U8S8`]  | bytes `[m, k]`   | i8 `[n / 16][k / 4][16][4]`                   | i32  |
//! | [`I16`]   | i16 `[m, k]`     | i16 `[n / 16][k / 2][16][2]`                  | i32  |
//! | [`F32`]   | f32 `[m, k]`     | f32 `[n / 16][k][16]`                         | f32  |
//! | [`F16`]   | f32 `[m, k]`     | fp16 `[n / 16][k][16]`, widened as it is read | f32  |
//!
//! Integer sums are exact. A float sum is a chain of fused multiply-adds in the order of k, starting from 0, so every
//! instruction set gives the same bits. Columns and k are padded with zeros to whole panels and groups.
//!
//! AVX2 has no dot-product instruction. `vpmaddubsw` multiplies u8 by i8 and adds pairs into i16, which saturates for
//! full-range bytes. For weights within -63 to 63 it cannot saturate (2 x 255 x 63 = 32130 < 32767), and three
//! instructions then do 32 multiply-adds. For other weights, activations and weights are widened to i16, and `vpmaddwd`
//! does 16 in two instructions. Measured on Zen 3 with the panel in L1: 94 and 71 G multiply-adds per second. With VNNI
//! both are one `vpdpbusd`.
//!
//! ARM's products take signed bytes on both sides (`usmmla` and `usdot` came with Armv8.6), so there 128 is subtracted
//! from the codes on the left ([`Isa::code_offset`]). Plain NEON multiplies bytes into i16 (`smull`, `smlal`) and adds
//! pairs into i32 (`sadalp`). An i16 holds four products of a signed byte and a weight within -63 to 63, but only two
//! for other weights, which have a separate micro-kernel ([`wide_u8s8`]). `sdot` adds four products to each lane, and
//! `smmla` eight for each of two rows and two columns; for `smmla`, pairs of groups are [arranged](GemmTypes::arrange)
//! as `[16][8]` and the rows on the left are stored in pairs. On ARM, [`I16`] and [`F16`] use the plain kernels,
//! because nothing needs them there ([`wide_u8s8`], [`widening`]).
//!
//! Attention's product of probabilities and values has its own micro-kernels (`blocks.rs`).

/// Defines the micro-kernel `$name` for one panel, which calls `$inner` with the number of rows, one of `$rows`, as a
/// constant.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! by_rows {
    ($name:ident, $inner:ident, $features:literal, $a:ty, $b:ty, $sum:ty, $($rows:literal)*) => {
        /// # Safety
        /// See `Kernel::run`.
        #[target_feature(enable = $features)]
        pub(in super::super) unsafe fn $name(
            Extent { rows, groups, .. }: Extent,
            a: *const $a,
            stride: usize,
            b: *const $b,
            _: &Ahead,
            _: Option<&mut Direct>,
            [sums, _]: &mut Tile<$sum>,
        ) {
            // SAFETY: the caller fulfils the contract of `Kernel::run`, which `$inner` shares.
            unsafe {
                match rows {
                    $($rows => $inner::<$rows>(groups, a, stride, b, sums),)*
                    _ => unreachable!("a kernel takes 1 to `Kernel::rows` rows"),
                }
            }
        }
    };
}

/// Defines the micro-kernel `blocks`, which calls `block_rows` with the number of rows, one of `$rows`, as a constant.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! blocks_by_rows {
    ($features:literal, $($rows:literal)*) => {
        /// Sums of blocks.
        ///
        /// # Safety
        /// See `BlockKernel::run`.
        #[target_feature(enable = $features)]
        pub(in super::super) unsafe fn blocks(of: Blocks) {
            // SAFETY: the caller fulfils the contract of `BlockKernel::run`, which `block_rows` shares.
            unsafe {
                match of.rows {
                    $($rows => block_rows::<$rows>(of),)*
                    _ => unreachable!("a kernel takes 1 to `BlockKernel::rows` rows"),
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
mod blocks;
mod direct;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod prefetch;
mod scalar;
#[cfg(test)]
mod tests;

pub(super) use blocks::{BLOCKS, BlockKernel, BlockProduct, Strided, pair_words};
pub(super) use direct::Direct;
pub(super) use pairs::{pair_rows, paired_len, paired_stride};
use prefetch::Prefetch;
pub(super) use prefetch::{Ahead, Lines, prefetch};

use super::isa::{Isa, Kind};

/// Number of columns in a panel.
pub const PANEL: usize = 16;

/// Maximum number of rows that a micro-kernel takes at once on any instruction set.
pub const MAX_ROWS: usize = 12;

/// Largest magnitude of an i8 weight for which [`U8S8`] is exact with any code: see the module documentation.
pub const NARROW: i8 = 63;

/// Data types of a product; the table is in the module documentation.
pub trait GemmTypes {
    /// Type of the left elements.
    type A: bytemuck::Pod;
    /// Type of the right elements.
    type B: bytemuck::Pod;
    /// Type of the accumulators.
    type Sum: Copy + Default + Send + Sync + 'static;
    /// Number of consecutive elements of k that are stored together.
    const GROUP: usize;
    /// The micro-kernel for `isa`.
    fn kernel(isa: Isa) -> Kernel<Self>;

    /// Rearranges packed panels of `groups` groups each into the order that the micro-kernel of `isa` reads.
    fn arrange(isa: Isa, groups: usize, panels: &mut [Self::B]) {
        let _ = (isa, groups, panels);
    }
}

/// Maximum number of panels that a micro-kernel takes at once on any instruction set.
pub const MAX_PANELS: usize = 2;

/// Accumulators of one panel: a row of 16 for each row of activations.
pub type Sums<S> = [[S; PANEL]; MAX_ROWS];

/// Result of a micro-kernel: the accumulators of each of its panels.
pub type Tile<S> = [Sums<S>; MAX_PANELS];

/// A micro-kernel of one instruction set.
pub struct Kernel<N: GemmTypes + ?Sized> {
    /// Number of rows that it takes at once.
    pub rows: usize,
    /// Number of panels that it takes at once. With two, a value of the left side is loaded once for 32 products. A CPU
    /// that does two 512-bit products per cycle does only two loads per cycle, and with one panel there is one more
    /// load than products (a Xeon of 2023: 320 to 350 GMAC/s with one panel, 370 to 380 with two, of a peak of 393).
    panels: usize,
    /// When a product prefetches.
    prefetch: Prefetch,
    /// Whether the rows of the left side are stored in pairs, as [`pair_rows`] writes them.
    pairs: bool,
    /// Whether it writes sums by itself if told how ([`Direct`]), instead of to a tile.
    direct: bool,
    /// For each row `r` and panel `p` of the [`Extent`], `tile[p][r][c] = sum over k of a[r * stride + k] *
    /// b[p][k][c]`, unless it is told to write these sums elsewhere.
    ///
    /// # Safety
    /// The CPU must have the instruction set. `rows` must be 1 to [`Kernel::rows`] and `panels` 1 to
    /// [`Kernel::panels`]. `a` must be readable for `(rows - 1) * stride + groups * GROUP` elements; if rows are in
    /// pairs, for `stride` times `rows` rounded up to even, with `stride` a multiple of 8 and at least
    /// `groups * GROUP`. A [`Direct`], only if [`Kernel::direct`], must hold the rows and panels. `b` must be readable
    /// for `panels` times `groups * GROUP * PANEL` elements and aligned to 64 bytes (32 for fp16).
    run: Run<N>,
}

/// Number of rows, panels and groups of k that a micro-kernel multiplies.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    rows: usize,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 takes two"))]
    panels: usize,
    groups: usize,
}

/// `(extent, a, stride, b, ahead, direct, tile)`: see [`Kernel::run`].
type Run<N> = unsafe fn(
    Extent,
    *const <N as GemmTypes>::A,
    usize,
    *const <N as GemmTypes>::B,
    &Ahead,
    Option<&mut Direct>,
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

    /// Number of elements of the left side read for `m` rows, `stride` apart; `None` if the kernel cannot take the
    /// stride.
    fn left_len(&self, m: usize, stride: usize, groups: usize) -> Option<usize> {
        let k = groups * N::GROUP;
        match self.pairs {
            false => Some((m - 1) * stride + k),
            true => (stride >= k && stride == paired_stride(stride)).then(|| paired_len(m, stride)),
        }
    }
}

/// bytes x i8: codes of [`super::quantise::row`] times values within -[`NARROW`] to [`NARROW`]. Its
/// micro-kernel need not be exact for other values; that of [`wide_u8s8`] is.
pub struct U8S8;
/// i16 x i16
pub struct I16;
/// f32 x f32
pub struct F32;
/// f32 x fp16
pub struct F16;

macro_rules! gemm_types {
    ($type:ident, $a:ty, $b:ty, $sum:ty, $group:literal, $name:ident $(, $arrange:item)?) => {
        impl GemmTypes for $type {
            type A = $a;
            type B = $b;
            type Sum = $sum;
            const GROUP: usize = $group;

            fn kernel(isa: Isa) -> Kernel<Self> {
                let kernel = |rows, run: Run<Self>, prefetch| Kernel { rows, panels: 1, run, prefetch, pairs: false, direct: false };
                match isa.kind() {
                    Kind::Scalar => kernel(scalar::ROWS, scalar::$name, Prefetch::Output),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx2 => kernel(avx2::ROWS, avx2::$name, Prefetch::Output),
                    #[cfg(target_arch = "x86_64")]
                    Kind::AvxVnni => kernel(avxvnni::ROWS, avxvnni::$name, Prefetch::Before),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx512Vnni => {
                        let direct = size_of::<$a>() == 1;
                        Kernel { panels: 2, direct, ..kernel(avx512::ROWS, avx512::$name, Prefetch::Between) }
                    },
                    #[cfg(target_arch = "aarch64")]
                    Kind::Neon => kernel(neon::rows::$name, neon::$name, Prefetch::Before),
                    #[cfg(target_arch = "aarch64")]
                    Kind::Dotprod => kernel(dotprod::rows::$name, dotprod::$name, Prefetch::Before),
                    #[cfg(target_arch = "aarch64")]
                    // The product of bytes takes pairs of rows.
                    Kind::I8mm => {
                        Kernel { pairs: size_of::<$a>() == 1, ..kernel(i8mm::rows::$name, i8mm::$name, Prefetch::Before) }
                    }
                }
            }

            $($arrange)?
        }
    };
}

gemm_types!(
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
gemm_types!(I16, i16, i16, i32, 2, i16);
gemm_types!(F32, f32, f32, f32, 1, f32);
gemm_types!(F16, f32, u16, f32, 1, f16);

/// The micro-kernel for any codes and weights within -127 to 127, in the layout of [`U8S8`] and with the same number of
/// rows; `None` on AVX2, where such weights go through [`I16`]. It differs from that of [`U8S8`] only on plain NEON.
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

/// The micro-kernel for weighted sums of blocks. AVX2 has no product of bytes that is exact here (2 x 255 x 127 does
/// not fit into an i16), so its codes and values have 16 bits.
pub(super) fn block_kernel(isa: Isa) -> BlockKernel {
    let kernel = |rows, run: unsafe fn(blocks::Blocks)| BlockKernel {
        rows,
        panels: 1,
        keys: 4,
        signed: isa.code_offset() != 0,
        pairs: false,
        run,
    };
    match isa.kind() {
        Kind::Scalar => kernel(1, scalar::blocks),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => BlockKernel { keys: 2, ..kernel(6, avx2::blocks) },
        #[cfg(target_arch = "x86_64")]
        Kind::AvxVnni => kernel(6, avxvnni::blocks),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => BlockKernel { panels: 2, ..kernel(6, avx512::blocks) },
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => kernel(2, neon::blocks),
        #[cfg(target_arch = "aarch64")]
        Kind::Dotprod => kernel(3, dotprod::blocks),
        #[cfg(target_arch = "aarch64")]
        Kind::I8mm => BlockKernel { pairs: true, ..kernel(4, i8mm::blocks) },
    }
}

/// Widening of fp16 weights to f32 ahead of the product, instead of while the micro-kernel reads them.
#[derive(Clone, Copy)]
pub struct Widening {
    /// Widens the values of whole panels; both slices have the same length.
    pub widen: fn(&[u16], &mut [f32]),
    /// Bytes of left-hand rows that share a widened panel; at least [`Widening::LEAST_ROWS`] rows share it.
    pub block_bytes: usize,
}

impl Widening {
    /// Minimum number of rows that share a widened panel.
    pub const LEAST_ROWS: usize = 24;
}

/// How fp16 panels are widened ahead of [`F32`], or `None` if [`F16`] widens them as it reads them.
///
/// NEON widens 4 values in an instruction that takes the place of multiplications, so widening inside the kernel would
/// limit a Cortex-A76 to 5.5 multiply-adds per cycle instead of 8; x86-64 converts as it loads. Widening and storing 16
/// columns of one k takes 11 cycles on a Cortex-A76 and 10 on an A72; multiplying them by a row takes 2 and 4
/// (llvm-mca). With 96 rows the overhead is 6% and 3%, and with 24 rows on an A72 it is 10%.
///
/// An A76 and its successors have 512 KB of L2 per core and an L3. On a Raspberry Pi 5 these total 4 MB for the four
/// cores, which hold 96 rows of 1536 and their panel for each core. An A72 has 1 MB for four cores, which holds 24 such
/// rows, or 120 of 384.
pub fn widening(isa: Isa) -> Option<Widening> {
    match isa.kind() {
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => Some(Widening { widen: neon::widen_fp16, block_bytes: 192 << 10 }),
        #[cfg(target_arch = "aarch64")]
        Kind::Dotprod | Kind::I8mm => Some(Widening { widen: neon::widen_fp16, block_bytes: 576 << 10 }),
        _ => None,
    }
}

/// Processes a tile's accumulators. A trait, not a closure: `#[inline(always)]` makes it part of a function that is
/// compiled for an instruction set, and a closure cannot request that.
pub(super) trait Epilogue<S> {
    /// Where a tile writes, if that is to be prefetched: not if it was in use a moment ago.
    #[inline(always)]
    fn written(&self, row: usize, panel: usize) -> Option<Lines> {
        let _ = (row, panel);
        None
    }

    /// How the micro-kernel can process the sums of the same rows and of `panels` panels by itself, if it can.
    #[inline(always)]
    fn direct(&mut self, row: usize, panel: usize, panels: usize) -> Option<Direct<'_>> {
        let _ = (row, panel, panels);
        None
    }

    /// Processes the sums of rows `row..row + rows` and the columns of panel `panel`.
    fn take(&mut self, row: usize, panel: usize, rows: usize, sums: &Sums<S>);
}

/// A product of `a: [m, k]` and the panels in `b`.
pub(super) struct Product<'a, N: GemmTypes> {
    /// The micro-kernel.
    pub(super) kernel: Kernel<N>,
    /// Number of rows of `a`.
    pub(super) m: usize,
    /// Number of groups of k.
    pub(super) groups: usize,
    /// The left side, in pairs of rows if the kernel requires it ([`Kernel::pairs`]).
    pub(super) a: &'a [N::A],
    /// Distance between the rows of `a`.
    pub(super) stride: usize,
    /// The right side: whole panels of `groups` groups each.
    pub(super) b: &'a [N::B],
}

impl<N: GemmTypes> Product<'_, N> {
    /// Calls `epilogue.take(first_row, panel, rows, sums)` for every tile.
    ///
    /// Panels are the outer loop: the one or two of a tile stay in the nearest cache that holds them while all rows are
    /// processed, and the next ones are prefetched meanwhile ([`Prefetch`]).
    ///
    /// # Panics
    /// If `a` is shorter than its `m` rows, its stride does not suit the kernel, or `b` is not aligned or not whole
    /// panels.
    #[inline(always)]
    pub(super) fn for_tiles(self, mut epilogue: impl Epilogue<N::Sum>) {
        let Product { kernel, m, groups, a, stride, b } = self;
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
            let next = &rest[..most.min(rest.len())];
            let mut shares = next.chunks(most.div_ceil(m.div_ceil(kernel.rows)));
            let mut row = 0;
            while row < m {
                let rows = kernel.rows.min(m - row);
                let share = if kernel.prefetch == Prefetch::Output { None } else { shares.next() };
                let share = share.unwrap_or(&[]);
                let written = epilogue.written(row, panel);
                let ahead = Ahead::of(written, [rows, panels], share, size_of_val(next));
                if kernel.prefetch != Prefetch::Between {
                    ahead.all();
                }
                let mut direct = if kernel.direct { epilogue.direct(row, panel, panels) } else { None };
                assert!(direct.as_ref().is_none_or(|direct| direct.holds(rows, panels)));
                let done = direct.is_some();
                // SAFETY: the kernel came from `N::kernel(isa)` or `wide_u8s8(isa)`, and an `Isa` exists only if the
                // CPU has its instructions. `rows` is at most `kernel.rows`, and `panels` at most `kernel.panels`. The
                // length of `a` was asserted above, and so was its stride if rows are in pairs; `row` is a multiple of
                // `kernel.rows`, which is then even, so a pair begins at `row`. `now` holds `panels` whole panels. The
                // first begins at a multiple of 64 bytes (asserted above), and the size of every panel is `groups`
                // times 64 bytes (32 for fp16). `direct` holds the rows and panels.
                unsafe {
                    (kernel.run)(
                        Extent { rows, panels, groups },
                        a.as_ptr().add(row * stride),
                        stride,
                        now.as_ptr(),
                        &ahead,
                        direct.as_mut(),
                        &mut tile,
                    )
                };
                if !done {
                    for (p, sums) in tile.iter().enumerate().take(panels) {
                        epilogue.take(row, panel + p, rows, sums);
                    }
                }
                row += rows;
            }
            (b, panel) = (rest, panel + panels);
        }
    }
}
