//! The packets of a tile (ISO/IEC 15444-1, annex B): parses their headers and skips their bodies.

use super::damaged::damaged;
use super::stream::{Area, Blocks, Stream, Tile};
use super::tag_tree::{Bits, TagTree};

/// Code-blocks and precincts allowed per image, whose state takes a decoder a few hundred bytes each: this many, plus
/// one for every [`BLOCK`] samples.
const FEW_BLOCKS: u64 = 1 << 16;

/// Samples of an 8 x 8 block, whose side is an eighth of the usual one.
const BLOCK: u64 = 64;

/// Upper bound on the missing bit-planes of a code-block: a sample has 38 bits and at most 7 guard bits.
const MAX_PLANES: u32 = 80;

/// Maximum number of passes in a segment without forced termination: 3 for each of 37 bit-planes, minus 2.
const MANY_PASSES: u32 = 109;

/// Checks that the packets of every tile fill it.
pub(super) fn check(stream: &Stream) -> Result<(), String> {
    let samples =
        u64::from(stream.area.width()) * u64::from(stream.area.height()) * stream.components.len() as u64;
    let mut left = FEW_BLOCKS + samples / BLOCK;
    for tile in &stream.tiles {
        check_tile(tile, &mut left)?;
    }
    Ok(())
}

/// `blocks` is the number of code-blocks and precincts that may still be created.
fn check_tile(tile: &Tile, blocks: &mut u64) -> Result<(), String> {
    let mut precincts = Vec::new();
    for (component, division) in tile.coding.components.iter().enumerate() {
        for resolution in 0..=division.levels {
            precincts_of(tile, component, division, resolution, blocks, &mut precincts)?;
        }
    }
    let layers = tile.coding.layers;
    let mut at = 0;
    let mut read = |precinct: &mut Precinct, layer| -> Result<(), String> {
        let rest = &tile.data[at..];
        at += precinct
            .packet(rest, layer)
            .ok_or_else(|| damaged("has a packet that is damaged or cut short"))?;
        Ok(())
    };
    // The progression orders of table A.16. The sort is stable, so precincts with equal keys stay in the order of their
    // creation.
    match tile.coding.progression {
        0 => {
            precincts.sort_by_key(|p| (p.resolution, p.component));
            for layer in 0..layers {
                precincts.iter_mut().try_for_each(|precinct| read(precinct, layer))?;
            }
        }
        1 => {
            precincts.sort_by_key(|p| (p.resolution, p.component));
            for group in precincts.chunk_by_mut(|a, b| a.resolution == b.resolution) {
                for layer in 0..layers {
                    group.iter_mut().try_for_each(|precinct| read(precinct, layer))?;
                }
            }
        }
        order => {
            precincts.sort_by_key(|p| {
                let [x, y] = p.place;
                let [resolution, component] = [u64::from(p.resolution), p.component as u64];
                match order {
                    2 => [resolution, y, x, component],
                    3 => [y, x, component, resolution],
                    _ => [component, y, x, resolution],
                }
            });
            for precinct in &mut precincts {
                (0..layers).try_for_each(|layer| read(precinct, layer))?;
            }
        }
    }
    if at != tile.data.len() {
        return Err(damaged(&format!("has {} bytes in a tile that are in no packet", tile.data.len() - at)));
    }
    Ok(())
}

/// A precinct of a resolution; each layer adds a packet to it.
struct Precinct {
    component: usize,
    resolution: u32,
    /// Position of its top left corner in the image, which position progressions sort by.
    place: [u64; 2],
    bands: Vec<Band>,
    style: u8,
}

/// The code-blocks of a precinct in one subband.
struct Band {
    width: usize,
    included: TagTree,
    missing: TagTree,
    blocks: Vec<Block>,
}

/// State of a code-block after some packets.
#[derive(Clone)]
struct Block {
    seen: bool,
    /// Lblock (B.10.7.1).
    length_bits: u32,
    /// Number of passes in the open segment, and its maximum; both are 0 before the first segment.
    passes: u32,
    limit: u32,
}

/// `a / 2^shift`, rounded up.
fn ceil(a: u64, shift: u32) -> u64 {
    a.checked_add((1 << shift) - 1).map_or(0, |sum| sum >> shift)
}

/// Creates the precincts of one resolution of a component (B.5 to B.7).
fn precincts_of(
    tile: &Tile,
    component: usize,
    division: &Blocks,
    resolution: u32,
    left: &mut u64,
    precincts: &mut Vec<Precinct>,
) -> Result<(), String> {
    let Area(area) = tile.area;
    let area = area.map(u64::from);
    let down = division.levels - resolution;
    let size = division.precincts[resolution as usize];
    let bounds = area.map(|side| ceil(side, down));
    if bounds[0] == bounds[2] || bounds[1] == bounds[3] {
        return Ok(());
    }
    let first = [0, 1].map(|axis| bounds[axis] >> size[axis]);
    let count = [0, 1].map(|axis| ceil(bounds[axis + 2], size[axis]) - first[axis]);
    charge(left, count[0].saturating_mul(count[1]))?;
    for y in 0..count[1] {
        for x in 0..count[0] {
            let index = [first[0] + x, first[1] + y];
            let place = [0, 1].map(|axis| {
                let edge = index[axis] << size[axis];
                if edge < bounds[axis] { area[axis] } else { edge << down }
            });
            let bands = bands_of(area, division, resolution, size, index, left)?;
            precincts.push(Precinct { component, resolution, place, bands, style: division.style });
        }
    }
    Ok(())
}

/// The subbands of a precinct: one at the lowest resolution, three at the others.
fn bands_of(
    area: [u64; 4],
    division: &Blocks,
    resolution: u32,
    size: [u32; 2],
    index: [u64; 2],
    left: &mut u64,
) -> Result<Vec<Band>, String> {
    let lowest = resolution == 0;
    // Except at the lowest resolution, precinct and image are half as large in a subband.
    let halved = u32::from(!lowest);
    let shift = division.levels - resolution + halved;
    let kinds: &[[u64; 2]] = if lowest { &[[0, 0]] } else { &[[1, 0], [0, 1], [1, 1]] };
    let mut bands = Vec::with_capacity(kinds.len());
    for high in kinds {
        let side = |n: usize| {
            let offset = if shift == 0 { 0 } else { high[n % 2] << (shift - 1) };
            ceil(area[n].saturating_sub(offset), shift)
        };
        let range = |axis: usize| {
            let log = size[axis] - halved;
            let block = division.block[axis].min(log);
            let start = side(axis).max(index[axis] << log);
            let end = side(axis + 2).min((index[axis] + 1) << log);
            if start < end { (start >> block, ceil(end, block)) } else { (0, 0) }
        };
        let [across, down] = [range(0), range(1)].map(|(start, end)| end - start);
        let count = if across == 0 || down == 0 { 0 } else { across.saturating_mul(down) };
        charge(left, count)?;
        let [width, height] = if count == 0 { [0, 0] } else { [across as usize, down as usize] };
        bands.push(Band {
            width,
            included: TagTree::new(width, height),
            missing: TagTree::new(width, height),
            blocks: vec![Block { seen: false, length_bits: 3, passes: 0, limit: 0 }; width * height],
        });
    }
    Ok(bands)
}

fn charge(left: &mut u64, count: u64) -> Result<(), String> {
    *left = left.checked_sub(count).ok_or(
        "has a JPEG 2000 stream of far more code-blocks or precincts than its size asks for: save it uncompressed",
    )?;
    Ok(())
}

impl Precinct {
    /// Length of the packet of `layer` at the beginning of `bytes`; `None` if the packet is truncated or invalid.
    fn packet(&mut self, bytes: &[u8], layer: u32) -> Option<usize> {
        // SOP and EPH markers are allowed before the packet and after its header (A.8).
        let before = if bytes.starts_with(&[0xFF, 0x91]) { 6 } else { 0 };
        let mut bits = Bits::new(bytes.get(before..)?);
        let mut body = Vec::new();
        if bits.bit()? == 1 {
            for band in &mut self.bands {
                band.lengths(&mut bits, layer, self.style, &mut body)?;
            }
        }
        let mut at = before + bits.end()?;
        if bytes.get(at..)?.starts_with(&[0xFF, 0x92]) {
            at += 2;
        }
        for length in body {
            let segment = bytes.get(at..at.checked_add(length)?)?;
            // The arithmetic coder emits no markers (C.2.7).
            if segment.windows(2).any(|pair| pair[0] == 0xFF && pair[1] > 0x8F) {
                return None;
            }
            at += length;
        }
        Some(at)
    }
}

impl Band {
    /// Parses the part of a packet header about this subband and appends the length of each segment to `body`.
    fn lengths(&mut self, bits: &mut Bits, layer: u32, style: u8, body: &mut Vec<usize>) -> Option<()> {
        for (n, block) in self.blocks.iter_mut().enumerate() {
            let (x, y) = (n % self.width, n / self.width);
            let included =
                if block.seen { bits.bit()? == 1 } else { self.included.below(bits, x, y, layer + 1)? };
            if !included {
                continue;
            }
            if !block.seen {
                block.seen = true;
                let mut planes = 1;
                while !self.missing.below(bits, x, y, planes)? {
                    planes += 1;
                    if planes > MAX_PLANES {
                        return None;
                    }
                }
            }
            let passes = passes(bits)?;
            while bits.bit()? == 1 {
                block.length_bits += 1;
            }
            block.segments(bits, passes, style, body)?;
        }
        Some(())
    }
}

/// Number of coding passes that a packet adds to a code-block (table B.4).
fn passes(bits: &mut Bits) -> Option<u32> {
    if bits.bit()? == 0 {
        return Some(1);
    }
    if bits.bit()? == 0 {
        return Some(2);
    }
    match bits.number(2)? {
        3 => {}
        n => return Some(3 + n),
    }
    match bits.number(5)? {
        31 => Some(37 + bits.number(7)?),
        n => Some(6 + n),
    }
}

impl Block {
    /// Reads the lengths of the segments that hold the next `passes` passes (B.10.7).
    fn segments(&mut self, bits: &mut Bits, mut passes: u32, style: u8, body: &mut Vec<usize>) -> Option<()> {
        while passes > 0 {
            if self.passes == self.limit {
                self.limit = match (style & 4 != 0, style & 1 != 0, self.limit) {
                    (true, _, _) => 1,
                    // With bypass, raw passes begin after the first ten; then segments of two raw passes and one coded
                    // pass alternate.
                    (_, true, 0) => 10,
                    (_, true, 1 | 10) => 2,
                    (_, true, _) => 1,
                    _ => MANY_PASSES,
                };
                self.passes = 0;
            }
            let now = passes.min(self.limit - self.passes);
            // A length field of more than 32 bits means that the header is damaged.
            let length = bits.number(Some(self.length_bits + now.ilog2()).filter(|&bits| bits <= 32)?)?;
            body.push(length as usize);
            self.passes += now;
            passes -= now;
        }
        Some(())
    }
}
