//! CORS of single buckets: the `[[cors_rules]]` of the configuration file.

use std::path::Path;
use std::time::Duration;

use http::HeaderName;

use crate::config::error::ConfigError;
use crate::config::file::CorsRuleEntry;
use crate::config::parse;
use crate::config::source::Values;
use crate::storage::BucketName;

/// The methods that a rule may name.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// A rule for the pages that may use a bucket. Never empty in origins and methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketCors {
    /// The bucket, as clients name it.
    pub bucket: BucketName,
    /// Origins, each with at most one `*`.
    pub origins: Vec<String>,
    /// GET, HEAD, PUT, POST, DELETE.
    pub methods: Vec<String>,
    /// Headers that requests may have, each with at most one `*`.
    pub headers: Vec<String>,
    /// Headers of answers that pages may read.
    pub expose: Vec<String>,
    /// How long a browser may remember that it asked.
    pub max_age: Option<Duration>,
}

/// Returns the rules in the order of the file; of several for one bucket, the first that fits a request counts.
///
/// Errors: a name, method, header, or time that is none.
pub fn cors_rules(values: &Values) -> Result<Vec<BucketCors>, ConfigError> {
    let file = values.file_path.as_deref().unwrap_or(Path::new(""));
    let rules = values.file.cors_rules.iter().map(|entry| {
        rule(entry).map_err(|problem| {
            let (file, bucket) = (file.display(), &entry.bucket);
            ConfigError::new(format!("{file}: the CORS rule of `{bucket}`: {problem}"))
        })
    });
    rules.collect()
}

fn rule(entry: &CorsRuleEntry) -> Result<BucketCors, String> {
    let bucket = BucketName::new(&entry.bucket);
    let max_age = entry.max_age.as_deref().map(parse::duration).transpose()?;
    Ok(BucketCors {
        bucket: bucket.map_err(|_| "this is not the name of a bucket".to_owned())?,
        origins: checked("origins", &entry.origins, is_pattern)?,
        methods: checked("methods", &entry.methods, |text| METHODS.contains(&text))?,
        headers: if entry.headers.is_empty() {
            Vec::new()
        } else {
            checked("headers", &entry.headers, is_pattern)?
        },
        expose: if entry.expose.is_empty() {
            Vec::new()
        } else {
            checked("expose", &entry.expose, |text| {
                HeaderName::try_from(text).is_ok()
            })?
        },
        max_age,
    })
}

fn checked(
    key: &str,
    texts: &[String],
    is_good: impl Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    if texts.is_empty() {
        return Err(format!("`{key}` is empty"));
    }
    match texts.iter().find(|text| !is_good(text)) {
        Some(other) => Err(format!("`{other}` cannot stand in `{key}`")),
        None => Ok(texts.to_vec()),
    }
}

/// Reports whether a text can be an origin or a header with at most one `*`.
fn is_pattern(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
        && text.matches('*').count() <= 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rules(file: &str) -> Result<Vec<BucketCors>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(&path, file).unwrap();
        let values = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&path)).unwrap();
        cors_rules(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_in_their_order() {
        let rules = rules(
            "[[cors_rules]]\nbucket = \"b\"\norigins = [\"https://*.example.org\"]\nmethods = [\"GET\", \"PUT\"]\n\
             headers = [\"x-amz-*\"]\nexpose = [\"ETag\"]\nmax_age = \"1 h\"\n\
             [[cors_rules]]\nbucket = \"b\"\norigins = [\"*\"]\nmethods = [\"GET\"]",
        )
        .unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].origins, ["https://*.example.org"]);
        assert_eq!(rules[0].max_age, Some(Duration::from_secs(3600)));
        assert_eq!((rules[1].headers.len(), rules[1].max_age), (0, None));
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for (lines, named) in [
            ("origins = []\nmethods = [\"GET\"]", "`origins` is empty"),
            ("origins = [\"*\"]\nmethods = []", "`methods` is empty"),
            ("origins = [\"*.*\"]\nmethods = [\"GET\"]", "`*.*`"),
            ("origins = [\"a b\"]\nmethods = [\"GET\"]", "`a b`"),
            ("origins = [\"*\"]\nmethods = [\"get\"]", "`get`"),
            ("origins = [\"*\"]\nmethods = [\"OPTIONS\"]", "`OPTIONS`"),
            (
                "origins = [\"*\"]\nmethods = [\"GET\"]\nexpose = [\"a b\"]",
                "`expose`",
            ),
            (
                "origins = [\"*\"]\nmethods = [\"GET\"]\nmax_age = \"soon\"",
                "`soon`",
            ),
        ] {
            let refused = rules(&format!("[[cors_rules]]\nbucket = \"b\"\n{lines}")).unwrap_err();
            assert!(refused.contains("the CORS rule of `b`"), "{refused}");
            assert!(refused.contains(named), "{refused}");
        }
        let nameless = "[[cors_rules]]\nbucket = \"a/b\"\norigins = [\"*\"]\nmethods = [\"GET\"]";
        assert!(rules(nameless).is_err());
    }
}
