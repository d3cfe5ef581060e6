//! Converts luma and chroma of video to pixels.

use super::{Image, InputError, Matrix, Range};

impl Matrix {
    /// Weights of red and blue in luma: BT.601-7, 2.5.1; BT.709-6, 3.2; BT.2020-2, table 4.
    fn shares(self) -> [f64; 2] {
        match self {
            Matrix::Bt601 => [0.299, 0.114],
            Matrix::Bt709 => [0.2126, 0.0722],
            Matrix::Bt2020 => [0.2627, 0.0593],
        }
    }
}

/// Interpretation of a frame's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour {
    pub matrix: Matrix,
    pub range: Range,
}

/// Storage of a frame's samples: consecutive planes of luma, Cb and Cr.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Planes {
    pub width: usize,
    pub height: usize,
    /// Bits per sample, 8 to 16; above 8 in two bytes, little-endian.
    pub bits: u32,
    /// Subsampling factors of the chroma planes, horizontal and vertical; `None` for grey.
    pub chroma: Option<[usize; 2]>,
    /// Whether odd and even rows are separate fields, each with its own rows of chroma.
    pub interlaced: bool,
}

impl Planes {
    /// Number of samples in the luma plane, and in both chroma planes together.
    fn samples(&self) -> [usize; 2] {
        let chroma =
            self.chroma.map_or(0, |[across, down]| self.width.div_ceil(across) * self.height.div_ceil(down));
        [self.width * self.height, 2 * chroma]
    }

    /// Size of a frame in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.samples().iter().sum::<usize>() * if self.bits > 8 { 2 } else { 1 }
    }

    /// The row of a chroma plane that belongs to a row of luma.
    fn chroma_row(&self, row: usize, down: usize) -> usize {
        // In 4:2:0, of four luma rows the two of one field share a chroma row (H.262, figure 6-2).
        if self.interlaced && down > 1 {
            let rows = self.height.div_ceil(down);
            return (2 * (row / (2 * down)) + row % 2).min(rows - 1);
        }
        row / down
    }

    /// The picture of a frame of [`Planes::bytes`] bytes, with 8 bits, or with 16 if the samples have more.
    ///
    /// # Errors
    /// [`InputError::Stream`], without a name, if a sample exceeds its bit depth.
    pub(super) fn image(&self, bytes: &[u8], colour: Colour) -> Result<Image, InputError> {
        if self.bits > 8 {
            let samples: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            if let Some(sample) = samples.iter().find(|&&sample| u32::from(sample) >> self.bits != 0) {
                let problem = format!("holds the sample {sample}, which is beyond {} bits", self.bits);
                return Err(InputError::Stream { name: String::new(), problem });
            }
            let pixels = self.pixels(|at| f64::from(samples[at]), colour, |value| value as u16);
            return match self.chroma {
                None => Image::from_grey16(self.width, self.height, pixels),
                Some(_) => Image::from_rgb16(self.width, self.height, pixels),
            };
        }
        let pixels = self.pixels(|at| f64::from(bytes[at]), colour, |value| value as u8);
        match self.chroma {
            None => Image::from_grey8(self.width, self.height, pixels),
            Some(_) => Image::from_rgb8(self.width, self.height, pixels),
        }
    }

    /// `[height, width]` or `[height, width, 3]` of integers up to 255 or 65535, rounded half up. Chroma uses the
    /// nearest sample without interpolation, because the model sees patches of 16 px.
    fn pixels<T>(&self, sample: impl Fn(usize) -> f64, colour: Colour, whole: impl Fn(f64) -> T) -> Vec<T> {
        let white = if self.bits > 8 { 65535.0 } else { 255.0 };
        let unit = f64::from(1u32 << (self.bits - 8));
        let all = f64::from((1u32 << self.bits) - 1);
        // BT.709-6, 3.4 and BT.2020-2, table 5: the 8-bit codes times 2^(n - 8).
        let (black, luma, chroma) = match colour.range {
            Range::Limited => (16.0 * unit, white / (219.0 * unit), white / (224.0 * unit)),
            Range::Full => (0.0, white / all, white / all),
        };
        let whole = |value: f64| whole((value + 0.5).floor().clamp(0.0, white));
        let Some([across, down]) = self.chroma else {
            return (0..self.samples()[0]).map(|at| whole((sample(at) - black) * luma)).collect();
        };
        let [red_share, blue_share] = colour.matrix.shares();
        let green_share = 1.0 - red_share - blue_share;
        let [first, both] = self.samples();
        let stride = self.width.div_ceil(across);
        let mut out = Vec::with_capacity(3 * first);
        for row in 0..self.height {
            let chroma_row = first + self.chroma_row(row, down) * stride;
            for column in 0..self.width {
                let y = (sample(row * self.width + column) - black) * luma;
                let at = chroma_row + column / across;
                let blue = (sample(at) - 128.0 * unit) * chroma * 2.0 * (1.0 - blue_share);
                let red = (sample(at + both / 2) - 128.0 * unit) * chroma * 2.0 * (1.0 - red_share);
                out.push(whole(y + red));
                out.push(whole(y - (blue_share * blue + red_share * red) / green_share));
                out.push(whole(y + blue));
            }
        }
        out
    }
}

/// What 8-bit samples stand for, by their value: the same bits as [`Planes::image`] gives, in a tenth of the time.
pub(super) struct Table {
    luma: [f64; 256],
    /// Of Cr in red, and times its share in luma.
    red: [[f64; 2]; 256],
    /// Of Cb in blue, and times its share in luma.
    blue: [[f64; 2]; 256],
    green_share: f64,
}

impl Table {
    pub(super) fn new(colour: Colour) -> Table {
        let (black, luma, chroma) = match colour.range {
            Range::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0.0, 1.0, 1.0),
        };
        let [red_share, blue_share] = colour.matrix.shares();
        let of = |share: f64| {
            std::array::from_fn(|value| {
                let light = (value as f64 - 128.0) * chroma * 2.0 * (1.0 - share);
                [light, share * light]
            })
        };
        Table {
            luma: std::array::from_fn(|value| (value as f64 - black) * luma),
            red: of(red_share),
            blue: of(blue_share),
            green_share: 1.0 - red_share - blue_share,
        }
    }

    /// What a pair of Cb and Cr adds to red, green and blue.
    pub(super) fn chroma(&self, cb: u8, cr: u8) -> [f64; 3] {
        let ([red, red_luma], [blue, blue_luma]) = (self.red[usize::from(cr)], self.blue[usize::from(cb)]);
        [red, -((blue_luma + red_luma) / self.green_share), blue]
    }

    /// A pixel, rounded half up.
    pub(super) fn rgb(&self, luma: u8, chroma: [f64; 3]) -> [u8; 3] {
        let luma = self.luma[usize::from(luma)];
        // The conversion cuts off the fraction and what is beyond 0 and 255.
        chroma.map(|chroma| (luma + chroma + 0.5) as u8)
    }
}
