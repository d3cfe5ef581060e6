//! Pictures that no answer should be given on without a word.

use std::fmt;
use std::time::{Duration, Instant};

use crate::input::Image;

/// A picture is frozen if it has been the same, bit for bit, for so long: sensors and analogue grabbers have noise, and
/// a clinician who freezes the screen wants it to be known.
const FROZEN: Duration = Duration::from_secs(1);

/// About so many rows and columns of a picture are looked at.
const GRID: usize = 128;

/// A sample up to this is black, of 0 to 1: limited-range black with noise (16 of 255, and 8 more).
const BLACK: f32 = 24.0 / 255.0;

/// A picture is black if less than this share of its samples is not: no probe, no signal, a covered lens. An ultrasound
/// picture without contact still has a bright near field and text.
const NOT_BLACK: f64 = 0.001;

/// A sample from this on is saturated.
const WHITE: f32 = 250.0 / 255.0;

/// A picture is saturated if at least this share of its samples is.
const SATURATED: f64 = 0.9;

/// What a picture is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// As pictures should be.
    Usual,
    /// The same, bit for bit, for a second or more.
    Frozen,
    /// Fewer than one in a thousand samples are above 24 of 255.
    Black,
    /// Nine in ten samples are at least 250 of 255.
    Saturated,
    /// Of another size than the one before.
    Resized,
}

impl Picture {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Picture::Usual => "usual",
            Picture::Frozen => "frozen",
            Picture::Black => "black",
            Picture::Saturated => "saturated",
            Picture::Resized => "resized",
        }
    }

    /// Whether there is nothing in it that could be answered.
    pub fn is_blank(self) -> bool {
        matches!(self, Picture::Black | Picture::Saturated)
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Compares each picture with the one before.
#[derive(Debug, Default)]
pub struct Examiner {
    /// The last picture that differed from the one before it, and when it was exposed.
    last: Option<(Image, Instant)>,
    row: Vec<f32>,
}

impl Examiner {
    /// Tells what `image`, exposed at `exposed`, is like. The first of [`Picture::Black`], [`Picture::Saturated`],
    /// [`Picture::Resized`] and [`Picture::Frozen`] that applies is returned.
    pub fn examine(&mut self, image: &Image, exposed: Instant) -> Picture {
        let size = |image: &Image| (image.height(), image.width());
        let same = self.last.as_ref().filter(|(last, _)| last.pixels() == image.pixels());
        let frozen = same.is_some_and(|(_, since)| exposed.saturating_duration_since(*since) >= FROZEN);
        let resized = self.last.as_ref().is_some_and(|(last, _)| size(last) != size(image));
        if same.is_none() {
            self.last = Some((image.clone(), exposed));
        }
        let (bright, white) = self.shares(image);
        if bright < NOT_BLACK {
            Picture::Black
        } else if white >= SATURATED {
            Picture::Saturated
        } else if resized {
            Picture::Resized
        } else if frozen {
            Picture::Frozen
        } else {
            Picture::Usual
        }
    }

    /// Shares of the samples that are not black, and that are white, on a grid over the picture.
    fn shares(&mut self, image: &Image) -> (f64, f64) {
        let channels = image.channels();
        self.row.resize(image.width() * channels, 0.0);
        let step = |side: usize| (side / GRID).max(1);
        let (mut count, mut bright, mut white) = (0_u32, 0_u32, 0_u32);
        for y in (0..image.height()).step_by(step(image.height())) {
            image.read_row(y, &mut self.row);
            for pixel in self.row.chunks_exact(channels).step_by(step(image.width())) {
                count += 1;
                bright += u32::from(pixel.iter().any(|&sample| sample > BLACK));
                white += u32::from(pixel.iter().all(|&sample| sample >= WHITE));
            }
        }
        (f64::from(bright) / f64::from(count), f64::from(white) / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{PhantomKind, phantom};

    fn grey(side: usize, value: u8) -> Image {
        Image::from_grey8(side, side, vec![value; side * side]).unwrap()
    }

    #[test]
    fn each_kind_of_picture_is_told() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut examiner = Examiner::default();
        let cyst = phantom(1, PhantomKind::Cyst, 96).image;
        assert_eq!(examiner.examine(&cyst, at(0)), Picture::Usual);
        assert_eq!(examiner.examine(&cyst, at(500)), Picture::Usual, "for half a second only");
        assert_eq!(examiner.examine(&cyst, at(1000)), Picture::Frozen);
        assert_eq!(examiner.examine(&phantom(2, PhantomKind::Cyst, 96).image, at(1100)), Picture::Usual);
        assert_eq!(examiner.examine(&grey(96, 20), at(1200)), Picture::Black);
        assert_eq!(examiner.examine(&grey(96, 25), at(1300)), Picture::Usual);
        assert_eq!(examiner.examine(&grey(96, 251), at(1400)), Picture::Saturated);
        assert_eq!(examiner.examine(&grey(64, 100), at(1450)), Picture::Resized);
        // A probe that is unplugged may change the size too.
        assert_eq!(examiner.examine(&grey(96, 3), at(1500)), Picture::Black);
        // A single bright row of many: text on a black screen.
        let mut pixels = vec![0; 96 * 96];
        pixels[96 * 40..96 * 41].fill(255);
        examiner.examine(&grey(96, 100), at(1600));
        let text = Image::from_grey8(96, 96, pixels).unwrap();
        assert_eq!(examiner.examine(&text, at(1700)), Picture::Usual);
    }
}
