//! The markers of a codestream (ISO/IEC 15444-1, annex A) and the boxes of a JP2 file around it (annex I).

use super::damaged::damaged;

/// Maximum number of tiles per image: each takes a decoder several kilobytes, whatever its size. 64 megapixels are 4096
/// tiles of 128 x 128.
const MAX_TILES: u64 = 1 << 12;

const SOC: u16 = 0xFF4F;
const SIZ: u16 = 0xFF51;
const COD: u16 = 0xFF52;
const COC: u16 = 0xFF53;
const QCD: u16 = 0xFF5C;
const QCC: u16 = 0xFF5D;
const RGN: u16 = 0xFF5E;
const POC: u16 = 0xFF5F;
const PPM: u16 = 0xFF60;
const PPT: u16 = 0xFF61;
const SOT: u16 = 0xFF90;
const SOD: u16 = 0xFF93;
const EOC: u16 = 0xFFD9;

/// A rectangle: left, top, right, bottom; right and bottom are exclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area(pub(super) [u32; 4]);

impl Area {
    pub(super) fn width(&self) -> u32 {
        self.0[2].saturating_sub(self.0[0])
    }

    pub(super) fn height(&self) -> u32 {
        self.0[3].saturating_sub(self.0[1])
    }
}

/// A component, as described by SIZ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    pub(super) precision: u32,
    pub(super) signed: bool,
    /// Subsampling: distance between samples in pixels, horizontal and vertical.
    pub(super) steps: [u8; 2],
}

/// Coding style of a tile (COD, A.6.1).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coding {
    pub(super) progression: u8,
    pub(super) layers: u32,
    /// Whether a colour transform is applied to the first three components.
    pub(super) colours: bool,
    pub(super) components: Vec<Blocks>,
}

/// Coding parameters of a component (COD and COC).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blocks {
    /// Number of wavelet decomposition levels.
    pub(super) levels: u32,
    /// Binary logarithms of a code-block's width and height.
    pub(super) block: [u32; 2],
    /// Bit 0: selective bypass (some passes are raw); bit 2: every pass is a separate segment.
    pub(super) style: u8,
    /// Binary logarithms of a precinct's width and height, lowest resolution first.
    pub(super) precincts: Vec<[u32; 2]>,
    /// Whether a COC marker set these parameters; a later COD marker does not override them.
    own: bool,
}

/// A tile and all its packets.
pub(super) struct Tile {
    pub(super) area: Area,
    pub(super) coding: Coding,
    pub(super) data: Vec<u8>,
    parts: usize,
    announced: usize,
}

/// A complete codestream.
pub(super) struct Stream {
    pub(super) area: Area,
    pub(super) components: Vec<Component>,
    pub(super) tiles: Vec<Tile>,
}

impl Stream {
    pub(super) fn of(bytes: &[u8]) -> Result<Stream, String> {
        Stream::parse(bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Stream, String> {
        let cut = || damaged("ends within its header");
        let mut reader = Reader { bytes, at: 0 };
        if reader.u16() != Some(SOC) || reader.u16() != Some(SIZ) {
            return Err(damaged("does not begin with its size"));
        }
        let (area, components, grid) = size(reader.segment().ok_or_else(cut)?)?;
        let mut coding = None;
        let first = header(&mut reader, components.len(), &mut coding, SOT)?;
        let coding = coding.ok_or_else(|| damaged("does not say how it is coded"))?;
        let mut tiles = grid.tiles(&area, &coding);
        reader.at = first;
        reader.tile_parts(&mut tiles, components.len())?;
        if let Some(missing) = tiles.iter().position(|tile| tile.parts == 0) {
            let count = tiles.iter().filter(|tile| tile.parts == 0).count();
            return Err(damaged(&format!(
                "lacks {count} of its {} tiles, the first is {missing}",
                tiles.len()
            )));
        }
        if tiles.iter().any(|tile| tile.announced != 0 && tile.announced != tile.parts) {
            return Err(damaged("lacks parts of a tile"));
        }
        Ok(Stream { area, components, tiles })
    }

    /// Whether the decoder undoes a colour transform.
    pub(super) fn transforms_colours(&self) -> bool {
        self.tiles.iter().all(|tile| tile.coding.colours)
    }
}

/// The tile grid of SIZ: tile size, offset and number of tiles, horizontal and vertical.
struct Grid {
    size: [u32; 2],
    offset: [u32; 2],
    count: [u32; 2],
}

impl Grid {
    fn tiles(&self, area: &Area, coding: &Coding) -> Vec<Tile> {
        let edge = |axis: usize, n: u32| {
            let at = u64::from(self.offset[axis]) + u64::from(n) * u64::from(self.size[axis]);
            at.clamp(area.0[axis].into(), area.0[axis + 2].into()) as u32
        };
        let places = (0..self.count[1]).flat_map(|y| (0..self.count[0]).map(move |x| [x, y]));
        places
            .map(|[x, y]| Tile {
                area: Area([edge(0, x), edge(1, y), edge(0, x + 1), edge(1, y + 1)]),
                coding: coding.clone(),
                data: Vec::new(),
                parts: 0,
                announced: 0,
            })
            .collect()
    }
}

/// Parses SIZ (A.5.1).
fn size(mut segment: Reader) -> Result<(Area, Vec<Component>, Grid), String> {
    let wrong = || damaged("has a damaged size");
    segment.u16().ok_or_else(wrong)?;
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = segment.u32().ok_or_else(wrong)?;
    }
    let [right, bottom, left, top, width, height, tile_left, tile_top] = numbers;
    let count = segment.u16().ok_or_else(wrong)?;
    let mut components = Vec::with_capacity(count.min(4).into());
    for _ in 0..count {
        let [depth, across, down] =
            segment.take(3).and_then(|b| b.first_chunk().copied()).ok_or_else(wrong)?;
        let precision = u32::from(depth & 0x7F) + 1;
        components.push(Component { precision, signed: depth & 0x80 != 0, steps: [across, down] });
    }
    let area = Area([left, top, right, bottom]);
    let outside = tile_left > left || tile_top > top || width == 0 || height == 0;
    let past = u64::from(tile_left) + u64::from(width) <= u64::from(left)
        || u64::from(tile_top) + u64::from(height) <= u64::from(top);
    if area.width() == 0 || area.height() == 0 || outside || past || count == 0 {
        return Err(wrong());
    }
    let across = (right - tile_left).div_ceil(width);
    let down = (bottom - tile_top).div_ceil(height);
    if u64::from(across) * u64::from(down) > MAX_TILES {
        return Err(format!(
            "has a JPEG 2000 stream of {across}x{down} tiles, which are refused: give at most {MAX_TILES}"
        ));
    }
    Ok((
        area,
        components,
        Grid { size: [width, height], offset: [tile_left, tile_top], count: [across, down] },
    ))
}

/// Parses the marker segments of a header into `coding`, up to the marker `end`, and returns that marker's position.
fn header(
    reader: &mut Reader,
    components: usize,
    coding: &mut Option<Coding>,
    end: u16,
) -> Result<usize, String> {
    let cut = || damaged("ends within its header");
    loop {
        let at = reader.at;
        let marker = reader.u16().ok_or_else(cut)?;
        if marker == end {
            return Ok(at);
        }
        if !matches!(marker, 0xFF30..=0xFF8F) || marker == SIZ || marker == SOC {
            return Err(damaged(&format!("has the marker {marker:04X} in its header")));
        }
        // Markers without a segment.
        if marker < 0xFF40 {
            continue;
        }
        let segment = reader.segment().ok_or_else(cut)?;
        match marker {
            COD => cod(segment, components, coding).ok_or_else(|| damaged("has a damaged COD marker"))?,
            COC => {
                coding
                    .as_mut()
                    .and_then(|coding| coc(segment, components, coding))
                    .ok_or_else(|| damaged("has a damaged COC marker"))?;
            }
            POC | PPM | PPT => {
                return Err(
                    "has a JPEG 2000 stream with changes of progression or packed headers, which is not read: save it uncompressed".into(),
                );
            }
            QCD | QCC | RGN => {}
            _ => {}
        }
    }
}

/// Parses COD (A.6.1).
fn cod(mut segment: Reader, components: usize, coding: &mut Option<Coding>) -> Option<()> {
    let style = segment.u8()?;
    let progression = segment.u8()?;
    let layers = u32::from(segment.u16()?);
    let colours = segment.u8()?;
    let blocks = Blocks::read(&mut segment, style & 1 != 0, false)?;
    if progression > 4 || layers == 0 || colours > 1 || style & !7 != 0 {
        return None;
    }
    let old = coding.take();
    let components = (0..components)
        .map(|n| match old.as_ref().map(|old| &old.components[n]) {
            Some(own) if own.own => own.clone(),
            _ => blocks.clone(),
        })
        .collect();
    *coding = Some(Coding { progression, layers, colours: colours == 1, components });
    Some(())
}

/// Parses COC (A.6.2).
fn coc(mut segment: Reader, components: usize, coding: &mut Coding) -> Option<()> {
    let component = if components < 257 { usize::from(segment.u8()?) } else { usize::from(segment.u16()?) };
    let style = segment.u8()?;
    *coding.components.get_mut(component)? = Blocks::read(&mut segment, style & 1 != 0, true)?;
    Some(())
}

impl Blocks {
    /// Parses the part that COD and COC share (table A.15).
    fn read(segment: &mut Reader, precincts: bool, own: bool) -> Option<Blocks> {
        let levels = u32::from(segment.u8()?);
        let block = [u32::from(segment.u8()?) + 2, u32::from(segment.u8()?) + 2];
        let style = segment.u8()?;
        let transform = segment.u8()?;
        // Bit 6 of the style marks high-throughput JPEG 2000 (part 15), which has separate transfer syntaxes.
        let sound = levels <= 32
            && block.iter().all(|&side| side <= 10)
            && block[0] + block[1] <= 12
            && style < 0x40
            && transform <= 1;
        if !sound {
            return None;
        }
        let sizes = (0..=levels).map(|level| {
            let size = if precincts { segment.u8()? } else { 0xFF };
            let size = [u32::from(size & 15), u32::from(size >> 4)];
            // Above the lowest resolution, a precinct has half the size in each subband.
            (level == 0 || !size.contains(&0)).then_some(size)
        });
        Some(Blocks { levels, block, style, precincts: sizes.collect::<Option<_>>()?, own })
    }
}

/// A byte slice and a read position.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    /// The contents of a marker segment, which follow its length.
    fn segment(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.u16()?);
        Some(Reader { bytes: self.take(length.checked_sub(2)?)?, at: 0 })
    }

    /// Parses tile-parts up to the end of the codestream (A.4).
    fn tile_parts(&mut self, tiles: &mut [Tile], components: usize) -> Result<(), String> {
        let cut = || damaged("ends within a tile");
        // End of a last tile-part that does not state its length.
        let padding = self.bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        let last = self.bytes.len().saturating_sub(padding + 2);
        loop {
            let start = self.at;
            match self.u16() {
                Some(SOT) => {}
                Some(EOC) if self.bytes.len() - self.at <= 1.max(padding) => return Ok(()),
                Some(EOC) => return Err(damaged("goes on after its end")),
                _ => return Err(damaged("has no end or another part where a tile should be")),
            }
            let mut segment = self.segment().filter(|segment| segment.bytes.len() == 8).ok_or_else(cut)?;
            let (Some(index), Some(length)) = (segment.u16(), segment.u32()) else { return Err(cut()) };
            let (Some(number), Some(count)) = (segment.u8(), segment.u8()) else { return Err(cut()) };
            let end = if length == 0 { last } else { start.saturating_add(length as usize) };
            let tile = tiles
                .get_mut(usize::from(index))
                .ok_or_else(|| damaged("has a tile outside of the picture"))?;
            if usize::from(number) != tile.parts {
                return Err(damaged("has parts of a tile out of order"));
            }
            if count != 0 {
                tile.announced = count.into();
            }
            tile.parts += 1;
            let mut coding = Some(tile.coding.clone());
            header(self, components, &mut coding, SOD)?;
            tile.coding = coding.ok_or_else(cut)?;
            let data = self.bytes.get(self.at..end).ok_or_else(cut)?;
            tile.data.extend_from_slice(data);
            self.at = end;
        }
    }
}

/// Finds the codestream in a JP2 file; returns the bytes themselves if they are a codestream.
pub(super) fn codestream(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.starts_with(&SOC.to_be_bytes()) {
        return Ok(bytes);
    }
    let wrong = || damaged("is neither a codestream nor in a JP2 file");
    if !bytes.starts_with(b"\0\0\0\x0cjP  \r\n\x87\n") {
        return Err(wrong());
    }
    let mut found = None;
    for (kind, content) in boxes(bytes).ok_or_else(wrong)? {
        match &kind {
            b"jp2c" if found.is_none() => found = Some(content),
            b"jp2c" => return Err("has two JPEG 2000 streams in one frame: the file is damaged".into()),
            b"jp2h" => {
                let inner = boxes(content).ok_or_else(wrong)?;
                // Palette, component mapping and channel definition.
                if inner.iter().any(|(kind, _)| matches!(kind, b"pclr" | b"cmap" | b"cdef")) {
                    return Err("has a JP2 file with a palette or channels in an order of its own, which is not read: save it uncompressed".into());
                }
            }
            _ => {}
        }
    }
    found.ok_or_else(wrong)
}

/// Type and contents of each box; `None` if the boxes do not fill the bytes.
fn boxes(bytes: &[u8]) -> Option<Vec<([u8; 4], &[u8])>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut found = Vec::new();
    while bytes.len() - reader.at >= 8 {
        let length = reader.u32()? as usize;
        let kind = *reader.take(4)?.first_chunk()?;
        let content = match length {
            0 => bytes.len() - reader.at,
            1 => {
                let length = u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?);
                usize::try_from(length).ok()?.checked_sub(16)?
            }
            _ => length.checked_sub(8)?,
        };
        found.push((kind, reader.take(content)?));
    }
    (bytes.len() - reader.at <= 1).then_some(found)
}
