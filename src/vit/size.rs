//! The input size in pixels.

use std::fmt;
use std::str::FromStr;

/// The largest accepted side, in pixels: 4096 px give 65,536 patches, far beyond what attention can afford.
pub const MAX_SIDE: usize = 4096;

/// Height and width of the network's input, in pixels.
///
/// Parses from `224` (square) and from `224x352` (height x width, PyTorch's order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

/// Why a [`Size`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// The text is neither `224` nor `224x352`.
    #[error("'{0}' is not a size: write 224, or 224x352 for height x width")]
    Syntax(String),
    /// A side is not a whole number of patches.
    #[error(
        "size {size} is not a multiple of the patch, {patch} px: try {}x{}",
        nearest(size.height, *patch),
        nearest(size.width, *patch)
    )]
    NotAMultiple {
        /// The requested size.
        size: Size,
        /// The model's patch in pixels.
        patch: usize,
    },
    /// A side is zero or more than 4096 px.
    #[error("size {0} is out of range: each side is from one patch to {MAX_SIDE} px")]
    OutOfRange(Size),
}

fn nearest(side: usize, patch: usize) -> usize {
    ((side + patch / 2) / patch).max(1) * patch
}

impl Size {
    /// A square of `side` x `side` pixels.
    pub const fn square(side: usize) -> Size {
        Size { height: side, width: side }
    }

    /// Rows and columns of patches of `patch` x `patch` pixels.
    ///
    /// # Errors
    /// [`SizeError`] if a side is not a multiple of `patch`, zero, or more than 4096 px.
    ///
    /// ```
    /// # use microraptor::vit::Size;
    /// assert_eq!(Size { height: 224, width: 352 }.grid(16), Ok((14, 22)));
    /// assert!(Size::square(225).grid(16).is_err());
    /// ```
    pub fn grid(self, patch: usize) -> Result<(usize, usize), SizeError> {
        let Size { height, width } = self;
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            return Err(SizeError::OutOfRange(self));
        }
        if !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
            return Err(SizeError::NotAMultiple { size: self, patch });
        }
        Ok((height / patch, width / patch))
    }

    /// Number of pixels.
    pub const fn area(self) -> usize {
        self.height * self.width
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == self.width {
            f.pad(&self.height.to_string())
        } else {
            f.pad(&format!("{}x{}", self.height, self.width))
        }
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let side = |s: &str| s.parse::<usize>().map_err(|_| SizeError::Syntax(text.to_owned()));
        let size = match text.split_once(['x', 'X']) {
            Some((height, width)) => Size { height: side(height)?, width: side(width)? },
            None => Size::square(side(text)?),
        };
        if size.height == 0 || size.width == 0 || size.height > MAX_SIDE || size.width > MAX_SIDE {
            return Err(SizeError::OutOfRange(size));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_square_and_height_by_width() {
        assert_eq!("224".parse(), Ok(Size::square(224)));
        assert_eq!("224x352".parse(), Ok(Size { height: 224, width: 352 }));
        for bad in ["", "x", "224x", "-16", "16.0", "16x16x16"] {
            assert_eq!(bad.parse::<Size>(), Err(SizeError::Syntax(bad.to_owned())));
        }
        assert_eq!("0".parse::<Size>(), Err(SizeError::OutOfRange(Size::square(0))));
        assert!(matches!("99999999".parse::<Size>(), Err(SizeError::OutOfRange(_))));
    }

    #[test]
    fn names_the_nearest_size_that_works() {
        let error = Size { height: 225, width: 350 }.grid(16).unwrap_err();
        assert_eq!(error.to_string(), "size 225x350 is not a multiple of the patch, 16 px: try 224x352");
    }
}
