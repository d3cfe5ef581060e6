//! Presses of a switch whose contacts bounce.

/// Readings in a row that make a level: at 2 ms each, longer than the bouncing of common switches (some 5 ms).
const STEADY: u8 = 5;

/// Tells presses from readings. A switch that is held from the start is not pressed until it was let go.
#[derive(Debug)]
pub(super) struct Debounce {
    high: bool,
    others: u8,
}

impl Debounce {
    pub fn new() -> Debounce {
        Debounce { high: true, others: 0 }
    }

    /// Takes one reading; whether it completes a press.
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

    /// Places in the text, of `_` and `#`, at which presses are completed.
    fn presses(text: &str) -> Vec<usize> {
        let mut debounce = Debounce::new();
        text.char_indices().filter(|&(_, c)| debounce.press(c == '#')).map(|(i, _)| i).collect()
    }

    #[test]
    fn a_press_is_an_edge_and_then_a_steady_level() {
        assert_eq!(presses("_____#####"), [9]);
        // Bounces of both edges, and one press that is held.
        assert_eq!(presses("______#_##_#__##_###############_#_#_____"), [21]);
        assert_eq!(presses("_____#####_____#####"), [9, 19]);
        // Held from the start, let go for too short, then pressed.
        assert!(presses("##########____########").is_empty());
        assert_eq!(presses("##########_____#####"), [19]);
        // Interference.
        assert!(presses("_______####____##_#_#_#_####_").is_empty());
    }
}
