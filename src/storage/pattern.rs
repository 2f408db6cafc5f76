//! Patterns of names, as access policies have them: `*` stands for any text, `?` for one character.

use std::fmt;
use std::sync::Arc;

/// A pattern. `*` stands for any text, also none and also with slashes in it; `?` for one character; all else for itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Takes a text as a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reports whether the pattern stands for the whole of `text`.
    ///
    /// The time is bounded by the product of the two lengths, whatever the pattern: it comes from strangers.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        let (mut at, mut read) = (0, 0);
        // Where the last `*` stands, and how far the text goes that it stands for so far.
        let mut star: Option<(usize, usize)> = None;
        while read < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(wanted) if *wanted == '?' || *wanted == text[read] => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((star_at, taken)) = star else {
                        return false;
                    };
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    read = taken + 1;
                }
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }

    /// Reports whether the pattern stands for every text that begins with `prefix`.
    ///
    /// Only a pattern that ends with `*` can; one that would do so by a detour is not recognised.
    pub fn covers(&self, prefix: &str) -> bool {
        let Some(head) = self.0.strip_suffix('*') else {
            return false;
        };
        // What stands for the prefix itself, or for a beginning of it, stands for all that follows.
        self.matches(prefix)
            || prefix
                .char_indices()
                .any(|(end, _)| Self::new(head).matches(&prefix[..end]))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_whole_texts() {
        for (pattern, text, is_match) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "a", true),
            ("a*b", "axxb", true),
            ("a*b", "axxbc", false),
            ("a*b*c", "abxbc", true),
            ("*ab", "aab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "é", true),
            ("a**", "a", true),
            ("A", "a", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                is_match,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_judged_soon() {
        let pattern = Pattern::new(&"a*".repeat(500));
        let began = std::time::Instant::now();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(400))));
        assert!(began.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn a_pattern_covers_what_begins_with_a_prefix() {
        for (pattern, prefix, is_covered) in [
            ("*", "", true),
            ("team/*", "team/", true),
            ("team/*", "team/in", true),
            ("team/*", "team", false),
            ("team/*", "", false),
            ("team/", "team/", false),
            ("team/?", "team/", false),
            ("team/*.txt", "team/", false),
            ("t?am/*", "team/x", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).covers(prefix),
                is_covered,
                "{pattern} {prefix}"
            );
        }
    }
}
