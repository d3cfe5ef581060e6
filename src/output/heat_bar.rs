//! The strip below a heat map: which colour stands for which number.

use image::{Rgb, RgbImage};

/// What is under the colours of the bar: the grey of tissue.
pub(super) const UNDER: [u8; 3] = [110; 3];

const GROUND: Rgb<u8> = Rgb([16; 3]);
const INK: Rgb<u8> = Rgb([235; 3]);

/// Columns and rows of a character, and the columns from one to the next.
const GLYPH: (usize, usize, usize) = (5, 7, 6);

/// Length of the bar at least, and the space around things, in pixels of a character.
const LEAST: usize = 40;
const SPACE: usize = 4;

/// Where the strip's parts lie.
pub(super) struct Bar {
    /// Pixels of the picture for a pixel of a character.
    zoom: usize,
    scale: f64,
    texts: [String; 2],
    width: usize,
}

impl Bar {
    /// For a picture of `width` columns, whose full colours stand for `-scale` and `scale`.
    pub(super) fn new(width: usize, scale: f64) -> Bar {
        let zoom = (width / 320).max(1);
        let number = number(scale);
        let texts = [format!("-{number}"), format!("+{number}")];
        let least = zoom * (2 * length(&texts[0]) + LEAST + 4 * SPACE);
        Bar { zoom, scale, texts, width: width.max(least) }
    }

    /// Columns of the whole picture, which may be wider than the one above the strip.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Rows of the strip.
    pub(super) fn height(&self) -> usize {
        self.zoom * (GLYPH.1 + 2 * SPACE)
    }
}

/// Draws the strip from row `top` on; `colour` is that of a number.
pub(super) fn draw(bar: &Bar, picture: &mut RgbImage, top: usize, colour: impl Fn(f64) -> [u8; 3]) {
    let Bar { zoom, scale, ref texts, width } = *bar;
    let mut put = |x: usize, y: usize, ink: Rgb<u8>| picture.put_pixel(x as u32, (top + y) as u32, ink);
    (0..bar.height()).for_each(|y| (0..width).for_each(|x| put(x, y, GROUND)));
    let text = zoom * length(&texts[0]);
    let (begin, end) = (text + 2 * zoom * SPACE, width - text - 2 * zoom * SPACE);
    let rows = zoom * SPACE..zoom * (SPACE + GLYPH.1);
    for x in begin..end {
        let place = (x - begin) as f64 / (end - begin - 1).max(1) as f64;
        let ink = Rgb(colour(scale * (2.0 * place - 1.0)));
        rows.clone().for_each(|y| put(x, y, ink));
    }
    // Zero is in the middle.
    let middle = (begin + end - zoom) / 2;
    (middle..middle + zoom)
        .for_each(|x| (rows.end..rows.end + zoom * SPACE / 2).for_each(|y| put(x, y, INK)));
    for (text, left) in texts.iter().zip([zoom * SPACE, end + zoom * SPACE]) {
        for (n, character) in text.chars().enumerate() {
            for (y, row) in glyph(character).into_iter().enumerate() {
                for x in (0..GLYPH.0).filter(|x| row >> (GLYPH.0 - 1 - x) & 1 == 1) {
                    let (x, y) = (left + zoom * (n * GLYPH.2 + x), zoom * (SPACE + y));
                    (0..zoom * zoom).for_each(|i| put(x + i % zoom, y + i / zoom, INK));
                }
            }
        }
    }
}

/// Length of a text in pixels of a character.
fn length(text: &str) -> usize {
    text.len() * GLYPH.2
}

/// Two significant digits of a number that is not negative.
fn number(value: f64) -> String {
    let exponent = if value > 0.0 { value.log10().floor() } else { 0.0 };
    match exponent {
        -4.0..=-1.0 => format!("{value:.*}", (1.0 - exponent) as usize),
        0.0 => format!("{value:.1}"),
        1.0..=5.0 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

/// The rows of a character, the leftmost pixel in the highest of five bits.
fn glyph(character: char) -> [u8; 7] {
    match character {
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 2, 4, 8, 31],
        '3' => [14, 17, 1, 6, 1, 17, 14],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        '+' => [0, 4, 4, 31, 4, 4, 0],
        '-' => [0, 0, 0, 31, 0, 0, 0],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        'e' => [0, 0, 14, 17, 31, 16, 14],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_all_of_their_characters_can_be_drawn() {
        for (value, text) in [
            (0.0, "0.0"),
            (0.123, "0.12"),
            (0.0123, "0.012"),
            (0.000_123, "0.00012"),
            (0.000_012_3, "1.2e-5"),
            (1.26, "1.3"),
            (12.6, "13"),
            (1.2e7, "1.2e7"),
        ] {
            assert_eq!(number(value), text);
            assert!(text.chars().all(|character| glyph(character) != [0; 7]), "{text}");
        }
        // A picture narrower than its strip gets a wider one.
        assert!(Bar::new(8, 0.1).width() > 8 && Bar::new(700, 0.1).width() == 700);
    }
}
