//! Days of the calendar and seconds since 1970, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The last day that is read: 9999-12-31, in days since 1970.
const LAST: u64 = 2_932_896;

/// A day, UTC, from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(u64);

impl Day {
    /// The day of the Gregorian calendar; `None` if there is none, or it is before 1970 or after 9999.
    pub fn new(year: u64, month: u64, day: u64) -> Option<Day> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        let days = before(year, month) + day - 1;
        let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        (days < before(next_year, next_month)).then_some(Day(days))
    }

    /// The day of a time in seconds since 1970.
    pub fn of(seconds: u64) -> Day {
        Day((seconds / DAY).min(LAST))
    }

    /// Its first second since 1970.
    pub fn start(self) -> u64 {
        self.0 * DAY
    }

    /// Its last second since 1970.
    pub fn end(self) -> u64 {
        self.start() + DAY - 1
    }
}

/// Days from 1970-01-01 to the first of a month.
fn before(year: u64, month: u64) -> u64 {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = |month: u64| match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap(year)),
        _ => 31,
    };
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    years + (1..month).map(days).sum::<u64>()
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut year, mut month) = (1970 + self.0 / 366, 1);
        while before(year + 1, 1) <= self.0 {
            year += 1;
        }
        while month < 12 && before(year, month + 1) <= self.0 {
            month += 1;
        }
        write!(f, "{year:04}-{month:02}-{:02}", self.0 - before(year, month) + 1)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Day, String> {
        let wrong = || "a day is written like 2027-12-31".to_owned();
        let shape = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(wrong());
        }
        let number = |part: &str| part.parse().map_err(|_| wrong());
        Day::new(number(&text[..4])?, number(&text[5..7])?, number(&text[8..])?).ok_or_else(wrong)
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The system's clock, in seconds since 1970; 0 if it is before that.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_date() {
        // `date -u -d 2027-12-31 +%s` and so on.
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2027-12-31", 1_830_211_200),
            ("2100-03-01", 4_107_542_400),
            ("9999-12-31", 253_402_214_400),
        ] {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.start(), day.to_string().as_str()), (seconds, text));
            assert_eq!((Day::of(seconds), Day::of(day.end())), (day, day));
        }
        let wrong = [
            "2027-02-29",
            "2100-02-29",
            "1969-12-31",
            "2027-13-01",
            "2027-1-01",
            "2027-00-10",
            "2027-04-31",
            "",
            "ä027-01-0",
        ];
        for text in wrong {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        let mut day = Day(0);
        while day.0 < LAST {
            day = Day(day.0 + 997);
            assert_eq!(
                day.to_string().parse(),
                if day.0 <= LAST { Ok(day) } else { Err("a day is written like 2027-12-31".to_owned()) }
            );
        }
        assert_eq!(Day::of(u64::MAX).to_string(), "9999-12-31");
    }
}
