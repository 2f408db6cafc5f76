//! Why a configuration is refused.

use std::fmt;

/// One sentence about a configuration that cannot be used. The process ends with exit code 2 after printing it.
///
/// It names the source of the bad value as the user wrote it, and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// Takes the sentence, without a trailing stop.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
