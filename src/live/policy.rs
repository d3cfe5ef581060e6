//! What happens to frames that come faster than answers.

use std::fmt;
use std::str::FromStr;

/// What happens to a frame that arrives while another one waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It takes the place of the one that waits, which is dropped: answers are about the newest frame.
    #[default]
    Newest,
    /// The source waits: every frame is answered, and those that come too fast are answered late.
    Every,
    /// Of N + 1 frames the first is taken, as by `Newest`, and N are dropped.
    Skip(u64),
}

impl FromStr for Policy {
    type Err = String;

    /// Reads `newest`, `every` or `skip:N`.
    fn from_str(text: &str) -> Result<Policy, String> {
        let wrong =
            || format!("'{text}' is no policy: give newest, every, or skip:N for each frame of N + 1");
        match text {
            "newest" => Ok(Policy::Newest),
            "every" => Ok(Policy::Every),
            _ => {
                let count = text.strip_prefix("skip:").and_then(|count| count.parse().ok());
                count.map(Policy::Skip).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Newest => f.write_str("newest"),
            Policy::Every => f.write_str("every"),
            Policy::Skip(count) => write!(f, "skip:{count}"),
        }
    }
}

impl Policy {
    /// Whether the frame `number`, from 1, is one of those that are never looked at.
    pub(super) fn passes_over(self, number: u64) -> bool {
        matches!(self, Policy::Skip(count) if !(number - 1).is_multiple_of(count.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["newest", "every", "skip:0", "skip:3"] {
            assert_eq!(name.parse::<Policy>().unwrap().to_string(), name);
        }
        for wrong in ["", "skip", "skip:", "skip:-1", "oldest"] {
            assert!(wrong.parse::<Policy>().unwrap_err().contains("newest, every"), "{wrong}");
        }
        let passed: Vec<u64> = (1..10).filter(|&number| !Policy::Skip(3).passes_over(number)).collect();
        assert_eq!(passed, [1, 5, 9]);
        assert!((1..10).all(|number| !Policy::Skip(0).passes_over(number)));
        assert!(!Policy::Skip(u64::MAX).passes_over(1));
    }
}
