//! CCITT group 4 (ITU-T T.6), decoded strictly: an incomplete row is an error, and so is a missing end-of-block code.

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, slice_reader};

/// Half of the end-of-block code.
const END: (u8, u16) = (12, 1);

/// Rows of `width` pixels, packed to bytes, most significant bit first; 1 is black.
///
/// # Errors
/// If a code is invalid, a run exceeds its row, or the end-of-block code does not follow the last row.
pub(super) fn group4(bytes: &[u8], width: usize, height: usize) -> Result<Vec<u8>, String> {
    let (Ok(limit), true) = (u16::try_from(width), height / 8 <= bytes.len()) else {
        return Err(format!("{} bytes of fax cannot hold {width}x{height} px", bytes.len()));
    };
    let mut reader = slice_reader(bytes);
    let stride = width.div_ceil(8);
    let mut rows = vec![0; stride * height];
    let mut reference: Vec<u16> = Vec::new();
    for (y, packed) in rows.chunks_exact_mut(stride).enumerate() {
        reference = row(&mut reader, &reference, limit)
            .ok_or_else(|| format!("row {} of the fax is damaged", y + 1))?;
        for run in reference.chunks(2) {
            let end = run.get(1).copied().unwrap_or(limit);
            (run[0]..end).for_each(|x| packed[usize::from(x) / 8] |= 0x80 >> (x % 8));
        }
    }
    for _ in 0..2 {
        if reader.peek(END.0) != Some(END.1) {
            return Err(format!("the fax does not end after row {height}"));
        }
        let _ = reader.consume(END.0);
    }
    // Padding to a full byte, and one more byte to an even length, are allowed.
    if reader.peek(16).is_some() { Err("the fax goes on after its end".into()) } else { Ok(rows) }
}

/// Positions of colour changes in a row, which starts white, decoded relative to those of the row above; `None` if a
/// code is invalid.
fn row(reader: &mut impl BitReader, reference: &[u16], width: u16) -> Option<Vec<u16>> {
    let mut changes = Changes::default();
    // The imaginary pixel before the first is white (4.2.1.1).
    let (mut at, mut is_black, mut begun) = (0, false, false);
    while at < width {
        if reader.peek(END.0) == Some(END.1) {
            return None;
        }
        // In the row above, the first change to the other colour right of here (b1), and the next change (b2).
        let right = if begun { reference.partition_point(|&x| x <= at) } else { 0 };
        let first = right + usize::from(right % 2 != usize::from(is_black));
        let above = |n: usize| reference.get(first + n).copied().unwrap_or(width);
        match mode::decode(reader)? {
            Mode::Pass => at = above(1),
            Mode::Vertical(delta) => {
                let to = i32::from(above(0)) + i32::from(delta);
                let to =
                    u16::try_from(to).ok().filter(|&to| to <= width && (to > at || (!begun && to == 0)))?;
                changes.add(to);
                (at, is_black) = (to, !is_black);
            }
            Mode::Horizontal => {
                for _ in 0..2 {
                    at = at.checked_add(run(reader, is_black)?).filter(|&to| to <= width)?;
                    changes.add(at);
                    is_black = !is_black;
                }
            }
            Mode::Extension | Mode::EOF => return None,
        }
        begun = true;
    }
    changes.0.retain(|&x| x < width);
    Some(changes.0)
}

/// A run length: make-up codes and a terminating code.
fn run(reader: &mut impl BitReader, is_black: bool) -> Option<u16> {
    let mut length = 0_u16;
    loop {
        let part = if is_black { black::decode(reader) } else { white::decode(reader) }?;
        length = length.checked_add(part)?;
        if part < 64 {
            return Some(length);
        }
    }
}

/// Positions of colour changes; two at the same position cancel.
#[derive(Default)]
struct Changes(Vec<u16>);

impl Changes {
    fn add(&mut self, at: u16) {
        if self.0.last() == Some(&at) {
            self.0.pop();
        } else {
            self.0.push(at);
        }
    }
}
