//! Colours that are distinguishable with any kind of colour vision, on light and dark backgrounds.

/// Number of series colours before they repeat.
pub const SERIES: usize = 8;

/// Role of a colour; a [`Theme`] determines the colour itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Background of the page.
    Background,
    /// Text.
    Ink,
    /// Secondary text, axes.
    Muted,
    /// Grid lines.
    Grid,
    /// A series, by its index.
    Series(usize),
    /// Text on a series' colour.
    On(usize),
}

/// Where a scene is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// On a page that defines the variables of [`css`].
    Page,
    /// Stand-alone, on white.
    Alone,
}

/// A series' colour on light and on dark pages, and the colour of text on each of the two.
type Colours = [&'static str; 4];

/// After Okabe and Ito (Color Universal Design, 2008). On white, orange, sky blue, purple and yellow are darkened to a
/// contrast of at least 3:1, as WCAG 2.1 (1.4.11) requires for graphics; on black, all are lightened.
const COLOURS: [Colours; SERIES] = [
    ["#0072b2", "#56b4f0", "#ffffff", "#101418"],
    ["#d55e00", "#f58442", "#ffffff", "#101418"],
    ["#008a64", "#35c79c", "#ffffff", "#101418"],
    ["#b5518a", "#e493c4", "#ffffff", "#101418"],
    ["#b87a00", "#f0b63c", "#ffffff", "#101418"],
    ["#2b8fc9", "#9ad6fa", "#ffffff", "#101418"],
    ["#6f6400", "#dccf58", "#ffffff", "#101418"],
    ["#5a5f66", "#b4bac1", "#ffffff", "#101418"],
];

/// Background, ink, muted and grid: name, colour on light pages, colour on dark pages.
const PLAIN: [(&str, &str, &str); 4] = [
    ("bg", "#ffffff", "#14181c"),
    ("ink", "#1b1f24", "#e8eaed"),
    ("muted", "#5a626b", "#a3abb4"),
    ("grid", "#e2e5e9", "#30373e"),
];

impl Paint {
    /// Value for the attributes `fill` and `stroke`.
    pub fn of(self, theme: Theme) -> String {
        let plain = |place: usize| match theme {
            Theme::Page => format!("var(--{})", PLAIN[place].0),
            Theme::Alone => PLAIN[place].1.to_owned(),
        };
        match (self, theme) {
            (Paint::Background, _) => plain(0),
            (Paint::Ink, _) => plain(1),
            (Paint::Muted, _) => plain(2),
            (Paint::Grid, _) => plain(3),
            (Paint::Series(i), Theme::Page) => format!("var(--s{})", i % SERIES),
            (Paint::Series(i), Theme::Alone) => COLOURS[i % SERIES][0].to_owned(),
            (Paint::On(i), Theme::Page) => format!("var(--t{})", i % SERIES),
            (Paint::On(i), Theme::Alone) => COLOURS[i % SERIES][2].to_owned(),
        }
    }
}

/// CSS variables that [`Theme::Page`] uses, for a light or dark page.
pub fn css(dark: bool) -> String {
    let side = usize::from(dark);
    let plain =
        PLAIN.iter().map(|(name, light, night)| format!("--{name}:{};", if dark { night } else { light }));
    let series = COLOURS.iter().enumerate();
    let series = series.map(|(i, c)| format!("--s{i}:{};--t{i}:{};", c[side], c[2 + side]));
    plain.chain(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.1).
    fn luminance(colour: &str) -> f64 {
        let part = |i: usize| {
            let v = f64::from(u8::from_str_radix(&colour[i..i + 2], 16).unwrap()) / 255.0;
            if v <= 0.039_28 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn colours_stand_out_from_the_page_and_from_their_text() {
        for [light, dark, on_light, on_dark] in COLOURS {
            for (colour, page, text) in [(light, PLAIN[0].1, on_light), (dark, PLAIN[0].2, on_dark)] {
                assert!(contrast(colour, page) >= 3.0, "{colour} on {page}: {}", contrast(colour, page));
                assert!(contrast(colour, text) >= 3.0, "{text} on {colour}: {}", contrast(colour, text));
            }
        }
        // Text needs 4.5:1.
        for (ink, background) in [(1, 0), (2, 0)] {
            assert!(contrast(PLAIN[ink].1, PLAIN[background].1) >= 4.5);
            assert!(contrast(PLAIN[ink].2, PLAIN[background].2) >= 4.5);
        }
    }
}
