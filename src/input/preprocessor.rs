//! Converts decoded pixels to the network's input.

use super::Image;
use crate::kernels::Isa;
use crate::kernels::resample::Filter;
use crate::vit::{Preprocess, Size};

/// Number of pixel rows filtered together, one per SIMD lane.
const ROWS: usize = 8;

/// Wider images are filtered row by row; otherwise the rows filtered together could take more memory than the image.
const WIDE: usize = 1 << 16;

/// Converts images to a network input of one size. The buffers, and the filters for the last image's size, are reused
/// for the next image.
///
/// ```
/// use microraptor::input::{PhantomKind, Preprocessor, phantom};
/// use microraptor::vit::{Preprocess, Size};
///
/// let mut preprocessor = Preprocessor::new(Size::square(224), Preprocess::IMAGENET);
/// let mut tensor = Vec::new();
/// preprocessor.run(&phantom(1, PhantomKind::Cyst, 128).image, &mut tensor);
/// assert_eq!(tensor.len(), 3 * 224 * 224);
/// ```
pub struct Preprocessor {
    size: Size,
    preprocess: Preprocess,
    filters: Option<Filters>,
    /// `[image width, channels]`
    row: Vec<f32>,
    /// `[image width, channels, ROWS]`, or of a single row.
    rows: Vec<f32>,
    /// `[width, channels, ROWS]`, or of a single row.
    filtered: Vec<f32>,
    /// `[width, channels]`
    line: Vec<f32>,
    /// `[height, width, channels]`
    resized: Vec<f32>,
}

/// Filters for one image size.
struct Filters {
    /// Rows and columns of the image.
    of: (usize, usize),
    vertical: Filter,
    horizontal: Filter,
}

impl Preprocessor {
    /// A preprocessor for inputs of `size`. Filters are computed on the first image.
    ///
    /// # Panics
    /// If a side of `size` is zero.
    pub fn new(size: Size, preprocess: Preprocess) -> Preprocessor {
        assert!(size.area() > 0, "an input of no pixels");
        let (row, rows, filtered) = (Vec::new(), Vec::new(), Vec::new());
        let (line, resized) = (Vec::new(), Vec::new());
        Preprocessor { size, preprocess, filters: None, row, rows, filtered, line, resized }
    }

    /// The input size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Writes the network's input, `[3, height, width]`, to `tensor`, replacing its content: values are scaled to 0..1,
    /// resized in f32 (directly, or resized and cropped if the model's preprocessing specifies it; a crop that extends
    /// beyond the image is black there), then normalised by `(x - mean) / std`. The order is that of transformers'
    /// `DINOv3ViTImageProcessor`; the results agree to 1e-4 (the difference is the rounding of torch's f32 weights:
    /// against a resize in f64 it is 1e-6). A grey image is filtered once and replicated; alpha is dropped.
    ///
    /// The same pixels give the same bits on every machine ([`kernels::resample`](crate::kernels::resample)). Apart
    /// from the result, memory holds one image of the input size and a few rows, however large the source is.
    pub fn run(&mut self, image: &Image, tensor: &mut Vec<f32>) {
        self.resize(image);
        tensor.clear();
        tensor.reserve_exact(3 * self.size.area());
        let channels = image.channels();
        for (channel, (mean, std)) in self.preprocess.mean.iter().zip(&self.preprocess.std).enumerate() {
            let values = self.resized[channel % channels..].iter().step_by(channels);
            tensor.extend(values.map(|x| (x - mean) / std));
        }
    }

    /// Fills `resized`.
    fn resize(&mut self, image: &Image) {
        let of = (image.height(), image.width());
        if self.filters.as_ref().is_none_or(|filters| filters.of != of) {
            self.filters = Some(Filters::new(of, self.size, &self.preprocess));
        }
        self.resized.clear();
        self.resized.resize(self.size.area() * image.channels(), 0.0);
        if image.width() > WIDE {
            self.filter::<1>(image)
        } else {
            self.filter::<ROWS>(image)
        }
        if self.preprocess.rounded {
            to_bytes(&mut self.resized);
        }
    }

    /// Filters `TOGETHER` rows at a time and adds each to the output rows of `resized` that it contributes to.
    fn filter<const TOGETHER: usize>(&mut self, image: &Image) {
        let Preprocessor { size, preprocess, filters, row, rows, filtered, line, resized } = self;
        let Filters { vertical, horizontal, .. } = filters.as_ref().expect("made for this image");
        let (height, channels, isa) = (image.height(), image.channels(), Isa::best());
        row.resize(image.width() * channels, 0.0);
        rows.resize(image.width() * channels * TOGETHER, 0.0);
        filtered.resize(size.width * channels * TOGETHER, 0.0);
        line.resize(size.width * channels, 0.0);
        for first in (0..height).step_by(TOGETHER) {
            let count = TOGETHER.min(height - first);
            for r in 0..count {
                image.read_row(first + r, row);
                let lanes = rows.as_chunks_mut::<TOGETHER>().0;
                lanes.iter_mut().zip(&*row).for_each(|(lanes, &v)| lanes[r] = v);
            }
            horizontal.line(isa, rows, filtered, channels * TOGETHER);
            for r in 0..count {
                let lanes = filtered.as_chunks::<TOGETHER>().0;
                line.iter_mut().zip(lanes).for_each(|(v, lanes)| *v = lanes[r]);
                // Pillow and torchvision resize bytes along rows, then along columns, and round to bytes after each
                // pass.
                if preprocess.rounded {
                    to_bytes(line);
                }
                vertical.spread(isa, first + r, line, resized);
            }
        }
    }
}

impl Image {
    /// The network's input, `[3, height, width]`, for this image alone; for many images an [`Extractor`](crate::Extractor) is faster.
    ///
    /// # Panics
    /// If a side of `size` is zero.
    pub fn tensor(&self, size: Size, preprocess: &Preprocess) -> Vec<f32> {
        let mut tensor = Vec::new();
        Preprocessor::new(size, *preprocess).run(self, &mut tensor);
        tensor
    }
}

impl Filters {
    fn new((height, width): (usize, usize), size: Size, preprocess: &Preprocess) -> Filters {
        let (whole, (top, left)) = preprocess.placed(height, width, size);
        let filter = |from, to, first, count| preprocess.interpolation.filter(from, to, first, count);
        Filters {
            of: (height, width),
            vertical: filter(height, whole.height, top, size.height),
            horizontal: filter(width, whole.width, left, size.width),
        }
    }
}

/// Clamps to 0..1 and rounds to multiples of 1/255.
fn to_bytes(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = (v.clamp(0.0, 1.0) * 255.0).round() / 255.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_together_and_one_by_one_give_the_same_bits() {
        let pixels = (0..37 * 53 * 3).map(|i| (i * 29 % 256) as u8).collect();
        let image = Image::from_rgb8(53, 37, pixels).unwrap();
        let mut preprocessor = Preprocessor::new(Size::square(16), Preprocess::IMAGENET);
        preprocessor.resize(&image);
        let together = std::mem::take(&mut preprocessor.resized);
        preprocessor.resized.resize(together.len(), 0.0);
        preprocessor.filter::<1>(&image);
        assert_eq!(preprocessor.resized, together);
    }

    #[test]
    fn an_image_gives_the_same_bits_whatever_came_before() {
        let grey = |height: usize, width: usize| {
            let pixels = (0..height * width).map(|i| (i * 37 % 251) as u8).collect();
            Image::from_grey8(width, height, pixels).unwrap()
        };
        let colour =
            Image::from_rgb8(19, 33, (0..19 * 33 * 3).map(|i| (i * 29 % 256) as u8).collect()).unwrap();
        let images = [grey(33, 19), colour, grey(33, 19), grey(8, 40), grey(65, 9)];
        let size = Size { height: 16, width: 32 };
        let mut preprocessor = Preprocessor::new(size, Preprocess::IMAGENET);
        let mut tensor = vec![f32::NAN; 5];
        for image in &images {
            preprocessor.run(image, &mut tensor);
            assert_eq!(tensor, image.tensor(size, &Preprocess::IMAGENET), "{image:?}");
        }
    }
}
