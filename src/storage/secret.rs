//! Secrets: readable only on purpose, never printed, wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A token, key, or password.
///
/// `Debug` prints `Secret(…)`, there is no `Display`, and the memory is overwritten on drop. Whoever needs the text says
/// so with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the secret text itself. Never log, label, or format what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reports whether the secret is the empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_text() {
        assert_eq!(format!("{:?}", Secret::new("hf_abc")), "Secret(…)");
    }
}
