//! The part of a picture that is looked at, and how it is held.

use std::str::FromStr;

use super::source::{Frame, Grabbed, Source};
use crate::features::Geometry;
use crate::input::{Image, InputError, Region, Spacing};

/// A rotation, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// As it is.
    #[default]
    None,
    /// By 90 degrees.
    Quarter,
    /// By 180 degrees.
    Half,
    /// By 270 degrees.
    ThreeQuarters,
}

impl FromStr for Turn {
    type Err = String;

    /// Reads `0`, `90`, `180` or `270`.
    fn from_str(text: &str) -> Result<Turn, String> {
        match text {
            "0" => Ok(Turn::None),
            "90" => Ok(Turn::Quarter),
            "180" => Ok(Turn::Half),
            "270" => Ok(Turn::ThreeQuarters),
            _ => Err(format!("'{text}' is no rotation: give 0, 90, 180 or 270 degrees")),
        }
    }
}

/// How pictures are turned and cropped before anything looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The rotation.
    pub turn: Turn,
    /// The part of the turned picture that is looked at; masks cover the whole turned picture all the same.
    pub crop: Option<Region>,
}

impl View {
    /// The frames of `source`, turned and cropped.
    pub fn of(self, source: Box<dyn Source>) -> Box<dyn Source> {
        if self == View::default() { source } else { Box::new(Viewed { source, view: self }) }
    }

    /// Turns and crops a frame.
    ///
    /// # Errors
    /// [`InputError::Stream`] if the part does not lie within the picture, or is below 8 px a side.
    fn apply(self, frame: Frame) -> Result<Frame, InputError> {
        let Frame { number, exposed, image, geometry, file, epoch, may_show_text } = frame;
        let Geometry { kind, size: (height, width), crop, spacing } = geometry;
        let aside = matches!(self.turn, Turn::Quarter | Turn::ThreeQuarters);
        let size = if aside { (width, height) } else { (height, width) };
        let turned = |spacing: Spacing| match aside {
            true => Spacing { rows: spacing.columns, columns: spacing.rows, ..spacing },
            false => spacing,
        };
        let crop = crop.map(|region| self.turned(region, (height, width)));
        let mut geometry = Geometry { kind, size, crop, spacing: spacing.map(turned) };
        let mut image = image.turned(self.turn.quarters());
        if let Some(part) = self.crop {
            let within = |at: usize, length: usize, whole: usize| {
                at.checked_add(length).is_some_and(|end| end <= whole)
            };
            let Region { top, left, height, width } = part;
            if !within(top, height, image.height()) || !within(left, width, image.width()) {
                let problem = format!(
                    "the part {width}x{height}+{left}+{top} does not lie within its {}x{} px: give another --crop",
                    image.width(),
                    image.height()
                );
                return Err(InputError::Stream { name: format!("frame {number}"), problem });
            }
            Image::check_sides(&format!("the part {width}x{height} of frame {number}"), width, height)?;
            image = image.crop(part);
            let origin = geometry.crop.map_or((0, 0), |region| (region.top, region.left));
            geometry.crop = Some(Region { top: origin.0 + top, left: origin.1 + left, height, width });
        }
        // Whoever names a part has chosen what is seen.
        let may_show_text = may_show_text && self.crop.is_none();
        Ok(Frame { number, exposed, image, geometry, file, epoch, may_show_text })
    }

    /// Where `region` of a picture of `rows` and `columns` comes to lie.
    fn turned(self, region: Region, (rows, columns): (usize, usize)) -> Region {
        let Region { top, left, height, width } = region;
        let (below, right) = (rows - top - height, columns - left - width);
        match self.turn {
            Turn::None => region,
            Turn::Quarter => Region { top: left, left: below, height: width, width: height },
            Turn::Half => Region { top: below, left: right, height, width },
            Turn::ThreeQuarters => Region { top: right, left: top, height: width, width: height },
        }
    }
}

impl Turn {
    fn quarters(self) -> u8 {
        match self {
            Turn::None => 0,
            Turn::Quarter => 1,
            Turn::Half => 2,
            Turn::ThreeQuarters => 3,
        }
    }
}

/// A source whose frames are turned and cropped.
struct Viewed {
    source: Box<dyn Source>,
    view: View,
}

impl Source for Viewed {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        Ok(match self.source.next()? {
            Some(Grabbed::Frame(frame)) => {
                let number = frame.number;
                Some(match self.view.apply(frame) {
                    Ok(frame) => Grabbed::Frame(frame),
                    Err(problem) => Grabbed::Lost { number, problem },
                })
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A picture of 12 rows and 16 columns whose values say where they were.
    fn frame() -> Frame {
        let pixels = (0..12_u8).flat_map(|y| (0..16_u8).map(move |x| 16 * y + x)).collect();
        Frame::new(1, Instant::now(), Image::from_grey8(16, 12, pixels).unwrap())
    }

    fn corner(frame: &Frame) -> u8 {
        frame.image.pixels().as_bytes()[0]
    }

    #[test]
    fn pictures_are_turned_and_then_cropped() {
        for (turn, size, first) in
            [("0", (12, 16), 0), ("90", (16, 12), 176), ("180", (12, 16), 191), ("270", (16, 12), 15)]
        {
            let view = View { turn: turn.parse().unwrap(), crop: None };
            let turned = view.apply(frame()).unwrap();
            assert_eq!(
                (turned.geometry.size, turned.geometry.seen(), corner(&turned)),
                (size, size, first),
                "{turn}"
            );
        }
        let part = Region { top: 2, left: 1, height: 9, width: 10 };
        let view = View { turn: Turn::Quarter, crop: Some(part) };
        let seen = view.apply(frame()).unwrap();
        // Row 2 and column 1 of the turned picture: column 2 and the last but one row of the other.
        assert_eq!(corner(&seen), 16 * 10 + 2);
        assert_eq!((seen.geometry.size, seen.geometry.crop, seen.image.height()), ((16, 12), Some(part), 9));
        // A part of a part.
        let again = View { turn: Turn::None, crop: Some(Region { top: 1, left: 0, height: 8, width: 8 }) };
        let inner = again.apply(seen).unwrap();
        assert_eq!(inner.geometry.crop, Some(Region { top: 3, left: 1, height: 8, width: 8 }));
        // A region that the file names moves along.
        let named = Frame { geometry: Geometry { crop: Some(part), ..frame().geometry }, ..inner };
        for (turn, crop) in [
            (Turn::Quarter, Region { top: 1, left: 1, height: 10, width: 9 }),
            (Turn::Half, Region { top: 1, left: 5, height: 9, width: 10 }),
            (Turn::ThreeQuarters, Region { top: 5, left: 2, height: 10, width: 9 }),
        ] {
            let turned = View { turn, crop: None }.apply(named.clone()).unwrap();
            assert_eq!(turned.geometry.crop, Some(crop), "{turn:?}");
        }
    }

    #[test]
    fn a_part_outside_the_picture_is_refused() {
        for (top, left, height, width) in [(5, 0, 8, 8), (0, 9, 8, 8), (usize::MAX, 0, 8, 8), (0, 0, 4, 8)] {
            let view = View { turn: Turn::None, crop: Some(Region { top, left, height, width }) };
            let message = view.apply(frame()).unwrap_err().to_string();
            assert!(message.contains("the part"), "{message}");
        }
    }
}
