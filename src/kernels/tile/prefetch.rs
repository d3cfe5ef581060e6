//! Prefetching of what a tile writes and of the panels that come next.

use std::ops::Range;

/// Bytes of a cache line on every CPU that has kernels here.
const LINE: usize = 64;

/// Largest size in bytes of the next panels that are prefetched into L1: half of the smallest L1 (32 KB), which holds
/// the current ones too. Larger panels are prefetched into L2. (Zen 4, ViT-S at 224 px, into L2 instead of L1: fc2's two
/// panels of 24 KB, int8 7.1 -> 6.7 ms; all of f32 97 -> 94 ms.)
const NEXT_IN_L1: usize = 16 << 10;

/// When a product's tiles prefetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefetch {
    /// The output before each tile, the next panels not at all. With AVX2 alone prefetching panels changed nothing or
    /// lost 3% (Zen 3, whose hardware prefetchers hide the latency).
    Output,
    /// The output and the next panels, before each tile. Boards have little cache and slow memory.
    Before,
    /// Both, spread over the tile by the micro-kernel. Three dozen prefetches in a row fill the queue of misses, and what
    /// follows waits: they took 40% of the time of everything around the tiles (Zen 4, ViT-S at 224 px; spread, int8
    /// takes 29.8 instead of 30.9 ms, f32 91.6 instead of 94.4).
    Between,
}

/// Where a tile writes: a line of each panel, in each of its rows.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Lines {
    /// First line of the first row.
    pub(in crate::kernels) first: *const u8,
    /// Bytes between rows.
    pub(in crate::kernels) stride: usize,
}

/// What a tile prefetches.
pub(in crate::kernels) struct Ahead {
    /// What it writes, unless that is not to be prefetched.
    output: Option<Lines>,
    /// Number of rows of the output.
    rows: usize,
    /// Number of panels, each of which is a line of a row of the output.
    panels: usize,
    /// First line of the tile's share of the next panels.
    next: *const u8,
    /// Number of lines of that share.
    lines: usize,
    /// Whether that share is prefetched into L1, or else L2.
    into_l1: bool,
}

impl Ahead {
    /// What a tile of `rows` rows and `panels` panels writes, and `next`, a share of the next panels, which have `bytes`
    /// bytes in all.
    #[inline(always)]
    pub(super) fn of<T>(
        output: Option<Lines>,
        [rows, panels]: [usize; 2],
        next: &[T],
        bytes: usize,
    ) -> Ahead {
        Ahead {
            output,
            rows,
            panels,
            next: next.as_ptr().cast(),
            lines: size_of_val(next).div_ceil(LINE),
            into_l1: bytes <= NEXT_IN_L1,
        }
    }

    /// Prefetches part `part` of `parts` of a tile of `R` rows and `P` panels; as constants, they cost nothing.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 spreads them"))]
    #[inline(always)]
    pub(super) fn part<const R: usize, const P: usize>(&self, part: usize, parts: usize) {
        let share = |n: usize| n * part / parts..n * (part + 1) / parts;
        self.prefetch(share(R), P, share(self.lines));
    }

    /// Prefetches everything at once.
    #[inline(always)]
    pub(super) fn all(&self) {
        self.prefetch(0..self.rows, self.panels, 0..self.lines);
    }

    #[inline(always)]
    fn prefetch(&self, rows: Range<usize>, panels: usize, next: Range<usize>) {
        if let Some(Lines { first, stride }) = self.output {
            for r in rows {
                for p in 0..panels {
                    prefetch_line::<true>(first.wrapping_add(r * stride + p * LINE));
                }
            }
        }
        for i in next {
            let line = self.next.wrapping_add(i * LINE);
            if self.into_l1 { prefetch_line::<true>(line) } else { prefetch_line::<false>(line) }
        }
    }
}

/// Prefetches `values` into L1, one cache line after another.
#[inline(always)]
pub(in crate::kernels) fn prefetch<T>(values: &[T]) {
    let bytes = values.as_ptr_range();
    let mut line = bytes.start.cast::<u8>();
    while line < bytes.end.cast() {
        prefetch_line::<true>(line);
        line = line.wrapping_add(LINE);
    }
}

/// Prefetches the line of an address into L1, or else L2. The address need not be valid.
#[inline(always)]
fn prefetch_line<const L1: bool>(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; a prefetch changes nothing that the program sees and cannot fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if L1 { _mm_prefetch::<_MM_HINT_T0>(line.cast()) } else { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `prfm` is part of Armv8.0; as above, it cannot fault. (In `asm!` because the intrinsic is unstable.)
    unsafe {
        if L1 {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) line, options(nostack, readonly, preserves_flags));
        } else {
            std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) line, options(nostack, readonly, preserves_flags));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}
