//! Escaping of text for each file format, and formatting of numbers.

use std::fmt::Write;

/// Placeholder for a missing number.
pub const NOTHING: &str = "–";

/// Escapes text for elements and attributes in XML and HTML.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(printable(c)),
        }
    }
    out
}

/// Escapes text for a table cell or a line of Markdown.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\r' | '\t' => out.push(' '),
            c => out.push(printable(c)),
        }
    }
    out
}

/// The character; a space for a line break or tab, and U+FFFD for characters that XML 1.0 forbids or that change the
/// direction of the text after them.
fn printable(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Shortens text to at most `most` characters by replacing its middle with an ellipsis. The end is kept because it
/// distinguishes most names.
pub fn shorten(text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.to_owned();
    }
    let end = most.saturating_sub(1) / 3;
    let begin = most.saturating_sub(1) - end;
    chars[..begin].iter().chain(&['…']).chain(&chars[chars.len() - end..]).collect()
}

/// Converts text to a part of a file name: at most 48 lower-case letters, digits and hyphens.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.truncate(48);
    out.trim_end_matches('-').to_owned()
}

/// A number with `digits` decimals; [`NOTHING`] if not finite.
pub fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let text = format!("{value:.digits$}");
    // Drop the sign of a negative number that rounds to zero.
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| b == b'0' || b == b'.') => rest.to_owned(),
        _ => text,
    }
}

/// Milliseconds as on the terminal: three decimals below 1, two below 100, otherwise one.
pub fn ms(value: f64) -> String {
    fixed(
        value,
        if value.abs() < 1.0 {
            3
        } else if value.abs() < 100.0 {
            2
        } else {
            1
        },
    )
}

/// Three significant digits, but all digits of the integer part: 0.0123, 1.23, 12.3, 1234.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 {
        return fixed(value, 0);
    }
    if !(1e-6..1e12).contains(&size) {
        return format!("{value:.2e}");
    }
    fixed(value, (2 - size.log10().floor() as i32).max(0) as usize)
}

/// Formats an optional number with `write`; [`NOTHING`] if `None`.
pub fn maybe<T: Copy>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), write)
}

/// Value with its interval, `0.912 [0.880, 0.940]`, or the value alone if there is no finite interval.
pub fn interval(value: f64, low: Option<f64>, high: Option<f64>, write: impl Fn(f64) -> String) -> String {
    match low.zip(high).filter(|(low, high)| low.is_finite() && high.is_finite()) {
        Some((low, high)) => format!("{} [{}, {}]", write(value), write(low), write(high)),
        None => write(value),
    }
}

/// An accuracy, with three decimals.
pub fn accuracy(value: f64) -> String {
    fixed(value, 3)
}

/// A difference, with its sign and four decimals.
pub fn signed(value: f64) -> String {
    let text = fixed(value, 4);
    if value > 0.0 && value.is_finite() { format!("+{text}") } else { text.replace('-', "−") }
}

/// A share between 0 and 1, as a percentage.
pub fn percent(share: f64) -> String {
    // One decimal for values that would otherwise round too coarsely, or to 100%.
    let close = share.abs() < 0.1 || (share > 0.99 && share < 1.0);
    match fixed(share * 100.0, usize::from(close)) {
        text if text == NOTHING => text,
        text => format!("{text}%"),
    }
}

/// A p-value, with three decimals, or `< 0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { fixed(p, 3) }
}

/// KiB converted to MiB.
pub fn mib(kib: u64) -> String {
    fixed(kib as f64 / 1024.0, 1)
}

/// A count with its noun: `1 row`, `2 rows`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Joins words into a list: `a`, `a and b`, `a, b and c`.
pub fn list<S: AsRef<str>>(parts: &[S]) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Date and time in UTC (ISO 8601), from seconds since 1970: `2026-11-25T19:47:28Z`.
pub fn date(unix_time: u64) -> String {
    let (year, month, day) = civil(unix_time / 86_400);
    let second = unix_time % 86_400;
    let mut out = String::new();
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    let _ = write!(out, "T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    out
}

/// Year, month and day, from days since 1970-01-01 (Howard Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    // The year starts in March, so that the leap day is its last day.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_not() {
        assert_eq!(xml("<b a='1'>&\"]]>\u{0}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;]]&gt;\u{fffd}");
        assert_eq!(markdown("a|b\n`c` <d>"), "a\\|b \\`c\\` &lt;d&gt;");
        assert_eq!(slug("../A b\\c: <é>"), "a-b-c");
        assert_eq!(shorten("abcdefghijkl", 7), "abcd…kl");
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let found = [0.012_34, 1.234, 12.34, 1234.4, 0.0].map(short);
        assert_eq!(found, ["0.0123", "1.23", "12.3", "1234", "0"]);
        assert_eq!([0.5, 12.345, 123.45].map(ms), ["0.500", "12.35", "123.5"].map(str::to_owned));
        assert_eq!(fixed(-0.0001, 3), "0.000");
        assert_eq!([f64::NAN, f64::INFINITY].map(short), [NOTHING, NOTHING]);
        assert_eq!([0.002, -0.01].map(signed), ["+0.0020", "−0.0100"]);
        assert_eq!([0.998, 1.0, 0.5, 0.021].map(percent), ["99.8%", "100%", "50%", "2.1%"]);
        assert_eq!([0.000_2, 0.25].map(p_value), ["< 0.001", "0.250"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_795_636_048), "2026-11-25T19:47:28Z");
    }
}
