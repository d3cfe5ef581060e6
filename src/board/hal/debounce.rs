//! Debouncing of a switch.

/// Number of equal readings in a row that make a level: at 2 ms each, longer than common switches bounce (some 5 ms).
const STEADY: u8 = 5;

/// Detects presses in a series of readings. A switch that is held from the start must be released before it counts as
/// pressed.
#[derive(Debug)]
pub(super) struct Debounce {
    high: bool,
    others: u8,
}

impl Debounce {
    pub fn new() -> Debounce {
        Debounce { high: true, others: 0 }
    }

    /// Takes one reading, and returns whether it completes a press.
    pub fn press(&mut self, high: bool) -> bool {
        self.others = if high == self.high { 0 } else { self.others + 1 };
        if self.others < STEADY {
            return false;
        }
        (self.high, self.others) = (high, 0);
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Indices in the text of `_` and `#` at which presses are completed.
    fn presses(text: &str) -> Vec<usize> {
        let mut debounce = Debounce::new();
        text.char_indices().filter(|&(_, c)| debounce.press(c == '#')).map(|(i, _)| i).collect()
    }

    #[test]
    fn a_press_is_an_edge_and_then_a_steady_level() {
        assert_eq!(presses("_____#####"), [9]);
        // Both edges bounce, and the press is held.
        assert_eq!(presses("______#_##_#__##_###############_#_#_____"), [21]);
        assert_eq!(presses("_____#####_____#####"), [9, 19]);
        // Held from the start, released for too short a time, then pressed.
        assert!(presses("##########____########").is_empty());
        assert_eq!(presses("##########_____#####"), [19]);
        // Interference.
        assert!(presses("_______####____##_#_#_#_####_").is_empty());
    }
}
