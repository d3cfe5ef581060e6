//! The secret in a page's URL.

use sha2::{Digest, Sha256};

/// 128 random bits of the system, in hexadecimal.
pub struct Token(String);

impl Token {
    /// # Errors
    /// If the system gives no random bits.
    pub fn new() -> anyhow::Result<Token> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Token(bits.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this token. Digests are compared, so that the time that it takes says nothing of the token.
    pub fn is(&self, given: &str) -> bool {
        Sha256::digest(given) == Sha256::digest(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::new().unwrap();
        let text = token.text().to_owned();
        assert!(text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert!(token.is(&text));
        for other in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"),
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert_ne!(Token::new().unwrap().text(), text);
    }
}
