//! Paths as the session sees them: absolute, `/` between names, nothing else special.
//!
//! What a path means in storage, and which names storage refuses, is the backend's affair.

/// Resolves a path that a client sent against its working directory.
///
/// The result begins with `/`, has no empty, `.`, or `..` segment, and no slash at its end but for the root itself. `..`
/// stops at the root. A backslash, a percent sign, and a tilde are ordinary characters.
pub(super) fn resolve(working_directory: &str, argument: &str) -> String {
    let base = if argument.starts_with('/') {
        ""
    } else {
        working_directory
    };
    let mut names: Vec<&str> = Vec::new();
    for name in base.split('/').chain(argument.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Puts a path into quotes as the replies 257 have it: inner quotes are doubled (RFC 959, appendix II).
pub(super) fn quote(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_resolved_against_the_working_directory() {
        for (directory, argument, expected) in [
            ("/", "", "/"),
            ("/", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a/b", "/c", "/c"),
            ("/a/b", "..", "/a"),
            ("/a", "../../../..", "/"),
            ("/a", "./b/./c/", "/a/b/c"),
            ("/a", "//b//c", "/b/c"),
            ("/a", "b/../..", "/"),
            ("/a", "..b", "/a/..b"),
            ("/a", "~", "/a/~"),
            ("/a", "b\\c%2F", "/a/b\\c%2F"),
            ("/a", " b ", "/a/ b "),
            ("/a", "-l", "/a/-l"),
        ] {
            assert_eq!(
                resolve(directory, argument),
                expected,
                "{directory} {argument}"
            );
        }
    }

    #[test]
    fn inner_quotes_are_doubled() {
        assert_eq!(quote("/a \"b\""), "\"/a \"\"b\"\"\"");
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_root(directory in "(/[a-z.]{1,3}){0,4}", argument in "[a-z./]{0,20}") {
            let path = resolve(&directory, &argument);
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.contains("//"));
            prop_assert!(path == "/" || !path.ends_with('/'));
            prop_assert!(path.split('/').all(|name| name != "." && name != ".."));
            prop_assert_eq!(&resolve("/", &path), &path);
        }
    }
}
