//! Rows of codes in pairs, as `smmla` reads them: eight codes of one row, then eight of the next.
//!
//! One load then replaces two loads and a move that joins them, which would keep a pipe from multiplying.

/// Number of codes of a row that are stored together.
const PART: usize = 8;

/// Distance between rows of `k` codes in pairs; a pair takes twice this distance.
pub const fn paired_stride(k: usize) -> usize {
    k.next_multiple_of(PART)
}

/// Number of bytes of `m` rows of `k` codes in pairs.
pub const fn paired_len(m: usize, k: usize) -> usize {
    m.next_multiple_of(2) * paired_stride(k)
}

/// Copies `m` rows of `k` codes, `stride` apart, in pairs into `to: [m / 2][k / 8][2][8]`, both rounded up, with
/// [`paired_len`] bytes. `k` is padded with zeros. An odd last row is paired with itself.
pub fn pair_rows(rows: &[u8], stride: usize, m: usize, k: usize, to: &mut [u8]) {
    let row = |r: usize| rows[r.min(m - 1) * stride..][..k].as_chunks::<PART>();
    for (p, to) in to[..paired_len(m, k)].chunks_exact_mut(2 * paired_stride(k)).enumerate() {
        let ((one, one_tail), (two, two_tail)) = (row(2 * p), row(2 * p + 1));
        let (whole, tail) = to.split_at_mut(2 * PART * one.len());
        for (to, (one, two)) in whole.as_chunks_mut::<{ 2 * PART }>().0.iter_mut().zip(one.iter().zip(two)) {
            to[..PART].copy_from_slice(one);
            to[PART..].copy_from_slice(two);
        }
        tail.fill(0);
        for (to, from) in tail.chunks_exact_mut(PART).zip([one_tail, two_tail]) {
            to[..from.len()].copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_where_it_is_read() {
        for (m, k, stride) in [(1, 4, 4), (2, 8, 8), (3, 12, 12), (5, 20, 23), (6, 32, 40), (7, 3, 5)] {
            let rows: Vec<u8> = (0..m * stride).map(|i| (i * 37 % 251 + 1) as u8).collect();
            let mut to = vec![77; paired_len(m, k)];
            pair_rows(&rows, stride, m, k, &mut to);
            for (i, &code) in to.iter().enumerate() {
                let (pair, part, second, at) =
                    (i / (2 * paired_stride(k)), i % (2 * paired_stride(k)) / 16, i / 8 % 2, i % 8);
                let (row, column) = ((2 * pair + second).min(m - 1), part * 8 + at);
                let expected = if column < k { rows[row * stride + column] } else { 0 };
                assert_eq!(code, expected, "{m} {k} {stride} at {i}");
            }
        }
    }
}
