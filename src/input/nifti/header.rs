//! The headers of NIfTI-1 (Cox et al. 2004, `nifti1.h`) and NIfTI-2 (`nifti2.h`), in either byte order.

/// Size of a NIfTI-1 header in bytes, which is also stored in its first four bytes.
const FIRST: usize = 348;

/// Size of a NIfTI-2 header in bytes.
const SECOND: usize = 540;

/// Number of bytes from which either header can be read.
pub(super) const HEADER_BYTES: usize = SECOND;

/// Follows the magic of NIfTI-2, and shows whether line ends were converted in transfer (`nifti2.h`).
const LINE_ENDS: &[u8] = b"\r\n\x1a\n";

/// The kind of file that the first bytes indicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Header and voxels in one file.
    Single,
    /// A header whose voxels are in a separate file.
    Pair,
    /// A header of 348 bytes without the magic: Analyze 7.5, from which NIfTI-1 comes.
    Analyze,
}

impl Family {
    /// `None` if the bytes match none of them.
    pub(super) fn of(start: &[u8]) -> Option<Family> {
        match (start.get(4..8), start.get(344..348)) {
            (Some(b"n+2\0"), _) | (_, Some(b"n+1\0")) => Some(Family::Single),
            (Some(b"ni2\0"), _) | (_, Some(b"ni1\0")) => Some(Family::Pair),
            (Some(_), Some(_)) => {
                let size = [start[0], start[1], start[2], start[3]];
                let little = i32::from_le_bytes(size) == FIRST as i32;
                let big = i32::from_be_bytes(size) == FIRST as i32;
                let count = Fields { raw: start, little }.i16(40);
                ((little || big) && (1..=7).contains(&count)).then_some(Family::Analyze)
            }
            _ => None,
        }
    }
}

/// Data type of a voxel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voxel {
    /// Unsigned integer of this many bytes.
    Unsigned(usize),
    /// Signed integer of this many bytes.
    Signed(usize),
    /// IEEE floating point of 4 or 8 bytes.
    Float(usize),
    /// Red, green and blue, one byte each.
    Rgb,
    /// Red, green, blue and alpha, one byte each.
    Rgba,
}

impl Voxel {
    /// The type for its code in `nifti1.h`.
    fn of(code: i16) -> Result<Voxel, String> {
        let unread = |name: &str| {
            Err(format!(
                "has voxels of type {name}: convert it to whole or floating-point numbers of at most 64 bits"
            ))
        };
        match code {
            2 => Ok(Voxel::Unsigned(1)),
            4 => Ok(Voxel::Signed(2)),
            8 => Ok(Voxel::Signed(4)),
            16 => Ok(Voxel::Float(4)),
            64 => Ok(Voxel::Float(8)),
            128 => Ok(Voxel::Rgb),
            256 => Ok(Voxel::Signed(1)),
            512 => Ok(Voxel::Unsigned(2)),
            768 => Ok(Voxel::Unsigned(4)),
            1024 => Ok(Voxel::Signed(8)),
            1280 => Ok(Voxel::Unsigned(8)),
            2304 => Ok(Voxel::Rgba),
            1 => unread("binary (1 bit)"),
            32 | 1792 | 2048 => unread("complex"),
            1536 => unread("float128"),
            _ => Err(format!("has voxels of the unknown type {code}: the file is damaged")),
        }
    }

    /// Bytes per voxel.
    pub(super) fn bytes(self) -> usize {
        match self {
            Voxel::Unsigned(bytes) | Voxel::Signed(bytes) | Voxel::Float(bytes) => bytes,
            Voxel::Rgb => 3,
            Voxel::Rgba => 4,
        }
    }

    /// Whether a voxel is a colour and not a number.
    pub(super) fn is_colour(self) -> bool {
        matches!(self, Voxel::Rgb | Voxel::Rgba)
    }
}

/// The fields of a header, validated as far as the header alone allows.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub little: bool,
    pub family: Family,
    pub voxel: Voxel,
    /// Along the file's axes i, j, k; 1 for an absent axis.
    pub dims: [usize; 3],
    /// Number of consecutive volumes of these dimensions.
    pub volumes: usize,
    /// Whether each axis is present; the voxel size along an absent axis has no meaning.
    present: [bool; 3],
    /// Offset of the voxels in their own file.
    pub offset: u64,
    pub slope: f64,
    pub intercept: f64,
    /// The values displayed as black and as white, if specified.
    pub display: Option<[f64; 2]>,
    /// Millimetres per unit of length of the file.
    pub unit: f64,
    /// The handedness of the qform, then the voxel sizes.
    pub pixdim: [f64; 4],
    pub qform_code: i32,
    pub sform_code: i32,
    /// Components b, c and d of the unit quaternion.
    pub quaternion: [f64; 3],
    pub qform_origin: [f64; 3],
    pub sform: [[f64; 4]; 3],
}

impl Header {
    /// Parses the first [`HEADER_BYTES`] bytes of a file, or all if there are fewer.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub(super) fn of(raw: &[u8]) -> Result<Header, String> {
        let family = Family::of(raw).ok_or("has no NIfTI header: the file is damaged or another format")?;
        if family == Family::Analyze {
            return Err(
                "is Analyze 7.5, which does not say which side is the patient's left: convert it to \
                        NIfTI with a tool that knows how it was written"
                    .into(),
            );
        }
        let second = matches!(raw.get(4..6), Some(b"n+" | b"ni")) && raw.get(6) == Some(&b'2');
        let length = if second { SECOND } else { FIRST };
        let Some(raw) = raw.get(..length) else {
            return Err(format!(
                "ends after {} of the {length} bytes of its header: the file is cut short",
                raw.len()
            ));
        };
        let size = [raw[0], raw[1], raw[2], raw[3]];
        let little = match length as i32 {
            length if i32::from_le_bytes(size) == length => true,
            length if i32::from_be_bytes(size) == length => false,
            length => {
                return Err(format!(
                    "has a header that calls itself {} bytes long, not {length}: the file is damaged",
                    i32::from_le_bytes(size)
                ));
            }
        };
        let fields = Fields { raw, little };
        if second && &raw[8..12] != LINE_ENDS && raw[8..12] != [0; 4] {
            return Err(
                "has lost the line ends of NIfTI-2's magic: it was copied as text, copy it again".into()
            );
        }
        if second { Header::second(&fields, family) } else { Header::first(&fields, family) }
    }

    fn first(fields: &Fields<'_>, family: Family) -> Result<Header, String> {
        let f32s = |at: usize| f64::from(fields.f32(at));
        let dim = [0, 1, 2, 3, 4, 5, 6, 7].map(|n| i64::from(fields.i16(40 + 2 * n)));
        let offset = f32s(108);
        if !(0.0..1e9).contains(&offset) || offset.fract() != 0.0 {
            return Err(format!("has its voxels at byte {offset}: the file is damaged"));
        }
        let row = |at: usize| [0, 4, 8, 12].map(|n| f32s(at + n));
        Header {
            pixdim: [76, 80, 84, 88].map(f32s),
            qform_code: fields.i16(252).into(),
            sform_code: fields.i16(254).into(),
            quaternion: [256, 260, 264].map(f32s),
            qform_origin: [268, 272, 276].map(f32s),
            sform: [280, 296, 312].map(row),
            ..Header::common(fields, family, dim, (70, 72), i32::from(fields.raw[123]))?
        }
        .scaled(f32s(112), f32s(116), [f32s(128), f32s(124)])?
        .placed(offset as u64, FIRST as u64)
    }

    fn second(fields: &Fields<'_>, family: Family) -> Result<Header, String> {
        let f64s = |at: usize| fields.f64(at);
        let dim = [0, 1, 2, 3, 4, 5, 6, 7].map(|n| fields.i64(16 + 8 * n));
        let offset = u64::try_from(fields.i64(168))
            .map_err(|_| format!("has its voxels at byte {}: the file is damaged", fields.i64(168)))?;
        let row = |at: usize| [0, 8, 16, 24].map(|n| f64s(at + n));
        Header {
            pixdim: [104, 112, 120, 128].map(f64s),
            qform_code: fields.i32(344),
            sform_code: fields.i32(348),
            quaternion: [352, 360, 368].map(f64s),
            qform_origin: [376, 384, 392].map(f64s),
            sform: [400, 432, 464].map(row),
            ..Header::common(fields, family, dim, (12, 14), fields.i32(500))?
        }
        .scaled(f64s(176), f64s(184), [f64s(200), f64s(192)])?
        .placed(offset, SECOND as u64)
    }

    /// Parses the shape, the data type and the unit of length.
    fn common(
        fields: &Fields<'_>,
        family: Family,
        dim: [i64; 8],
        (kind_at, bits_at): (usize, usize),
        units: i32,
    ) -> Result<Header, String> {
        let (dims, volumes, present) = shape(dim)?;
        let voxel = Voxel::of(fields.i16(kind_at))?;
        let bits = fields.i16(bits_at);
        if bits != 0 && bits as usize != 8 * voxel.bytes() {
            return Err(format!(
                "says both that its voxels have {bits} bits and that they are of type {}: the header is damaged",
                fields.i16(kind_at)
            ));
        }
        // The three lowest bits. Unknown (0) is treated as millimetres, as in every reader.
        let unit = match units & 7 {
            1 => 1000.0,
            0 | 2 => 1.0,
            3 => 0.001,
            code => return Err(format!("has the unknown unit of length {code}: the header is damaged")),
        };
        Ok(Header {
            little: fields.little,
            family,
            voxel,
            dims,
            volumes,
            present,
            offset: 0,
            slope: 1.0,
            intercept: 0.0,
            display: None,
            unit,
            pixdim: [1.0; 4],
            qform_code: 0,
            sform_code: 0,
            quaternion: [0.0; 3],
            qform_origin: [0.0; 3],
            sform: [[0.0; 4]; 3],
        })
    }

    /// Sets scale and display range. A slope of 0 means no scaling; so does a NaN or infinite slope, as in nibabel.
    fn scaled(mut self, slope: f64, intercept: f64, display: [f64; 2]) -> Result<Header, String> {
        if slope.is_finite() && slope != 0.0 {
            if !intercept.is_finite() {
                return Err(format!(
                    "scales its voxels by {slope} and adds {intercept}: the header is damaged"
                ));
            }
            if self.voxel.is_colour() && (slope, intercept) != (1.0, 0.0) {
                return Err(format!(
                    "has voxels in colour and scales them by {slope} and {intercept}: store the colours as they are meant"
                ));
            }
            (self.slope, self.intercept) = (slope, intercept);
        }
        if display.iter().all(|v| v.is_finite()) && display[1] > display[0] {
            self.display = Some(display);
        }
        Ok(self)
    }

    /// Sets the offset of the voxels; 0 means directly after the header and the four bytes that announce extensions.
    fn placed(mut self, offset: u64, length: u64) -> Result<Header, String> {
        self.offset = match (self.family, offset) {
            (Family::Single, 0) => length + 4,
            (Family::Single, offset) if offset < length => {
                return Err(format!(
                    "has its voxels at byte {offset}, within its header of {length} bytes: the header is damaged"
                ));
            }
            (_, offset) => offset,
        };
        for n in 0..3 {
            // The stored size of an absent axis has no meaning.
            if !self.present[n] || (self.dims[n] == 1 && self.pixdim[n + 1] == 0.0) {
                self.pixdim[n + 1] = 1.0;
            }
        }
        Ok(self)
    }

    /// Whether the header gives the voxels' position in the patient. If neither code is set, `best_affine` uses a
    /// default.
    pub(super) fn says_place(&self) -> bool {
        self.sform_code > 0 || self.qform_code > 0
    }
}

/// Dimensions, number of volumes, and which of the three axes are present.
fn shape(dim: [i64; 8]) -> Result<([usize; 3], usize, [bool; 3]), String> {
    let count = dim[0];
    if !(1..=7).contains(&count) {
        return Err(format!("has {count} dimensions: the file is damaged"));
    }
    let given = &dim[1..=count as usize];
    if given.iter().any(|&d| d < 1) {
        return Err(format!("has the dimensions {given:?}: the file is damaged"));
    }
    if given.iter().skip(4).any(|&d| d > 1) {
        return Err(format!(
            "has the dimensions {given:?}, so that a voxel is several numbers: give a volume of one number each"
        ));
    }
    let side = |n: usize| given.get(n).map_or(Some(1), |&d| usize::try_from(d).ok());
    let too_large = || format!("has the dimensions {given:?}, which no memory holds: the file is damaged");
    let mut sides = [1; 4];
    for (n, slot) in sides.iter_mut().enumerate() {
        *slot = side(n).ok_or_else(too_large)?;
    }
    let all = sides.iter().try_fold(1u64, |product, &side| product.checked_mul(side as u64));
    // A voxel has at most 8 bytes; the factor of 16 ensures that byte offsets fit into 64 bits.
    all.and_then(|voxels| voxels.checked_mul(16)).ok_or_else(too_large)?;
    let present = [0, 1, 2].map(|n| n < given.len());
    Ok(([sides[0], sides[1], sides[2]], sides[3], present))
}

/// Reads numbers at offsets within a header.
struct Fields<'a> {
    raw: &'a [u8],
    little: bool,
}

impl Fields<'_> {
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.raw[at..at + N]);
        if !self.little {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.at(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.at(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.at(at))
    }

    fn f32(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.at(at))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.at(at))
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
