//! Which names a listing shows, and as what.

use crate::provider::list::item::Item;
use crate::provider::list::token::Scope;
use crate::storage::{CommonPrefix, ListEntry};

/// Prefix, start, and delimiter.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    scope: Scope<'a>,
    after: Option<String>,
}

impl<'a> Selection<'a> {
    /// Shows what lies in the scope and sorts behind `after`, a key or a common prefix.
    pub(super) fn new(scope: Scope<'a>, after: Option<String>) -> Self {
        Self { scope, after }
    }

    /// Returns the name behind which the listing begins.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Returns what the listing shows for an item: itself, the common prefix that it belongs to, or nothing.
    ///
    /// Items of one common prefix all show it; whoever builds the page keeps it once.
    pub(super) fn show(&self, item: Item) -> Option<ListEntry> {
        let common_prefix = self.common_prefix(&item.name)?;
        let is_shown = match (&item.object, &common_prefix, &self.after) {
            // What follows this folded directory's name may still follow `after`, which lies within it.
            (None, Some(prefix), Some(after)) => {
                prefix > after || (after.starts_with(prefix) && after != prefix)
            }
            (None, Some(_), None) => true,
            // A directory that is not folded by this delimiter is nobody's key.
            (None, None, _) => false,
            (Some(_), _, None) => true,
            (Some(_), prefix, Some(after)) => item.name > *after && prefix.as_ref() != Some(after),
        };
        if !is_shown {
            return None;
        }
        match common_prefix {
            Some(name) => Some(ListEntry::Prefix(CommonPrefix {
                name,
                last_modified: item.changed_at,
            })),
            None => item.object.map(ListEntry::Object),
        }
    }

    /// Returns the common prefix of a name, if the delimiter occurs behind the listing's prefix; `None` outside if the name
    /// does not begin with that prefix at all.
    #[expect(
        clippy::option_option,
        reason = "outside the listing, and in it without a common prefix, are two answers"
    )]
    pub(super) fn common_prefix(&self, name: &str) -> Option<Option<String>> {
        let rest = name.strip_prefix(self.scope.prefix)?;
        let folded = self.scope.delimiter.and_then(|delimiter| {
            let end = rest.find(delimiter)? + delimiter.len();
            Some(name[..self.scope.prefix.len() + end].to_owned())
        });
        Some(folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::provider::list::item::file;

    /// Returns what is shown of the names; those in angle brackets are directories that the Hub has folded.
    fn shown(
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        names: &[&str],
    ) -> Vec<String> {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix,
            delimiter,
        };
        let selection = Selection::new(scope, after.map(Into::into));
        let item = |name: &str| match name.strip_prefix('<') {
            Some(directory) => Item::directory(directory.trim_end_matches('>').into()),
            None => Item::object(file(name)),
        };
        let entries = names
            .iter()
            .filter_map(|name| selection.show(item(name)))
            .map(|entry| match entry {
                ListEntry::Object(object) => object.key,
                ListEntry::Prefix(prefix) => format!("{}*", prefix.name),
            });
        entries.collect()
    }

    #[test]
    fn names_are_folded_behind_the_prefix() {
        assert_eq!(
            shown("", Some("-"), None, &["a", "b-c", "b--"]),
            ["a", "b-*", "b-*"]
        );
        assert_eq!(
            shown("b-", Some("-"), None, &["a", "b-c", "b-c-d"]),
            ["b-c", "b-c-*"]
        );
        assert_eq!(shown("", Some("<>"), None, &["a<>b<>c"]), ["a<>*"]);
        assert_eq!(
            shown("a/", Some("/"), None, &["a/.hugbucket_keep", "<a/b>"]),
            ["a/", "a/b/*"]
        );
        assert_eq!(shown("a", Some("/"), None, &["a/.hugbucket_keep"]), ["a/*"]);
    }

    #[test]
    fn directories_are_no_keys() {
        assert_eq!(shown("a/", Some("/"), None, &["<a>"]), [""; 0]);
        assert_eq!(shown("", None, None, &["<a>"]), [""; 0]);
    }

    #[test]
    fn a_start_passes_over_keys_and_their_common_prefix() {
        assert_eq!(
            shown("", None, Some("b"), &["a", "b", "b/", "c"]),
            ["b/", "c"]
        );
        assert_eq!(
            shown("", Some("/"), Some("b/"), &["b/c", "<b>", "b0"]),
            ["b0"]
        );
        assert_eq!(shown("", Some("/"), Some("b/c"), &["b/b", "b/d"]), ["b/*"]);
        assert_eq!(
            shown("", Some("/"), Some("b/c"), &["<a>", "<b>", "<c>"]),
            ["b/*", "c/*"]
        );
    }
}
