//! Where overwritten and deleted objects are kept for a while: the table `undo` of the configuration file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::parse;
use crate::config::source::Values;
use crate::storage::{BucketName, Namespace};

/// Returns how long copies are kept, by `namespace/bucket`, `bucket`, or `*`. Zero turns undo off where `*` turned it on.
///
/// Errors: a name or a time that is none.
pub fn undo_periods(values: &Values) -> Result<BTreeMap<String, Duration>, ConfigError> {
    let file = values.file_path.as_deref().unwrap_or(Path::new(""));
    let periods = values.file.undo.iter().map(|(name, text)| {
        let period = period(name, text);
        let told = |problem| format!("{}: `undo` of `{name}`: {problem}", file.display());
        let period = period.map_err(|problem| ConfigError::new(told(problem)))?;
        Ok((name.clone(), period))
    });
    periods.collect()
}

fn period(name: &str, text: &str) -> Result<Duration, String> {
    let is_name = match name.split_once('/') {
        None => name == "*" || BucketName::new(name).is_ok(),
        Some((namespace, bucket)) => {
            Namespace::new(namespace).is_ok() && BucketName::new(bucket).is_ok()
        }
    };
    if !is_name {
        return Err("this is neither `bucket`, nor `namespace/bucket`, nor `*`".to_owned());
    }
    parse::duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(file: &str) -> Result<BTreeMap<String, Duration>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(&path, file).unwrap();
        let values = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&path));
        undo_periods(&values.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    #[test]
    fn periods_are_read_by_bucket() {
        let day = Duration::from_secs(24 * 3600);
        let periods = periods("[undo]\n\"org/data\" = \"7 d\"\nscratch = \"0\"\n\"*\" = \"1 d\"");
        let expected = [
            ("*", day),
            ("org/data", day * 7),
            ("scratch", Duration::ZERO),
        ];
        let expected = expected.map(|(name, period)| (name.to_owned(), period));
        assert_eq!(periods, Ok(expected.into()));
    }

    #[test]
    fn what_is_no_bucket_or_no_time_is_refused() {
        for (line, named) in [
            ("\"a/b/c\" = \"7 d\"", "`a/b/c`"),
            ("\"\" = \"7 d\"", "`undo` of ``"),
            ("\"a b\" = \"7 d\"", "`a b`"),
            ("b = \"soon\"", "`soon`"),
            ("b = 7", "undo"),
        ] {
            let refused = periods(&format!("[undo]\n{line}")).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
        assert!(periods("undo = \"7 d\"").is_err());
    }
}
