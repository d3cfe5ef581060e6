//! Charts: scenes of lines, marks and text, independent of profiles, written as SVG or PNG.

mod axis;
mod frame;
mod labels;
mod legend;
mod palette;
#[cfg(feature = "plots")]
mod png;
mod scene;
mod svg;
mod width;

pub use axis::{Axis, Scale, Tick};
pub use frame::{Frame, Heading};
pub use labels::{Label, Labels};
pub use legend::{Entry, Key, legend, numbered};
pub use palette::{Paint, SERIES, Theme, css};
#[cfg(feature = "plots")]
pub use png::png;
pub use scene::{Anchor, Item, Mark, Rect, Scene, Stroke};
pub use svg::svg;
pub use width::{fit, text_width};

/// Size of ordinary text, pixels.
pub const TEXT: f64 = 13.0;
