//! Estimated widths of text, without reading a font.

use super::super::text::shorten;

/// Advance widths of U+0020 to U+007E in Noto Sans Regular, in thousandths of the text size. Other system fonts are up
/// to a tenth narrower or wider, so layouts based on these widths need some margin.
const WIDTHS: [u16; 95] = [
    260, 269, 408, 646, 572, 831, 732, 225, 300, 300, 551, 572, 268, 322, 268, 372, 572, 572, 572, 572, 572,
    572, 572, 572, 572, 572, 268, 268, 572, 572, 572, 434, 899, 639, 650, 632, 730, 556, 519, 728, 741, 339,
    273, 619, 524, 907, 760, 781, 605, 781, 622, 549, 556, 731, 600, 930, 586, 566, 572, 329, 372, 329, 572,
    444, 580, 561, 615, 480, 615, 564, 344, 615, 618, 258, 258, 534, 258, 935, 618, 605, 615, 615, 413, 479,
    361, 618, 508, 786, 529, 510, 470, 380, 551, 380, 572,
];

/// Width of text at this size, pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    let of = |c: char| match c as u32 {
        code @ 0x20..=0x7e => f64::from(WIDTHS[(code - 0x20) as usize]),
        // CJK characters and emoji are as wide as they are high.
        0x1100.. => 1000.0,
        _ => 650.0,
    };
    text.chars().map(of).sum::<f64>() * size / 1000.0
}

/// Shortens text in its middle until it is at most `most` pixels wide.
pub fn fit(text: &str, size: f64, most: f64) -> String {
    let mut chars = text.chars().count();
    let mut shorter = text.to_owned();
    while chars > 1 && text_width(&shorter, size) > most {
        chars -= 1;
        shorter = shorten(text, chars);
    }
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        assert!((text_width("Mi5", 10.0) - (9.07 + 2.58 + 5.72)).abs() < 1e-9);
        assert!(text_width(&fit(&"wide ".repeat(100), 13.0, 90.0), 13.0) <= 90.0);
        assert_eq!(fit("short", 13.0, 90.0), "short");
    }
}
