//! What each credential may take: the general quota, and those of single credentials in the configuration file.

use crate::config::error::ConfigError;
use crate::config::parse;
use crate::config::source::Values;
use crate::storage::Quota;

/// The slowest rate, in bytes a second: below it, a transfer of many that share it would look as if it stood still.
const SLOWEST: u64 = 64 << 10;

/// Who may take how much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaSettings {
    /// `HUGBUCKET_CREDENTIAL_*`: of each credential that has no other.
    pub general: Quota,
    /// Of S3 credentials, by access key id.
    pub of_keys: Vec<(String, Quota)>,
    /// Of FTP users, by name.
    pub of_users: Vec<(String, Quota)>,
}

/// What a credential's entry says of its quota; what it does not say is as for everybody.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    max_requests: Option<usize>,
    download_rate: Option<&'a str>,
    upload_rate: Option<&'a str>,
}

/// Returns the quotas.
///
/// Errors: a rate that is none, or below 64 KiB a second.
pub fn quotas(values: &Values) -> Result<QuotaSettings, ConfigError> {
    let general = Quota {
        max_requests: values.parse("HUGBUCKET_CREDENTIAL_MAX_REQUESTS", |text| {
            Ok(unless_none(parse::count(text)?))
        })?,
        download_rate: values.parse("HUGBUCKET_CREDENTIAL_DOWNLOAD_RATE", rate)?,
        upload_rate: values.parse("HUGBUCKET_CREDENTIAL_UPLOAD_RATE", rate)?,
    };
    let of_keys = values.file.s3_credentials.iter().map(|entry| {
        let own = Entry {
            max_requests: entry.max_requests,
            download_rate: entry.download_rate.as_deref(),
            upload_rate: entry.upload_rate.as_deref(),
        };
        own_quota(values, &entry.access_key_id, own, general)
    });
    let of_keys = of_keys.collect::<Result<_, _>>()?;
    let of_users = values.file.ftp_users.iter().map(|entry| {
        let own = Entry {
            max_requests: entry.max_requests,
            download_rate: entry.download_rate.as_deref(),
            upload_rate: entry.upload_rate.as_deref(),
        };
        own_quota(values, &entry.name, own, general)
    });
    let of_users = of_users.collect::<Result<_, _>>()?;
    Ok(QuotaSettings {
        general,
        of_keys,
        of_users,
    })
}

fn own_quota(
    values: &Values,
    name: &str,
    own: Entry<'_>,
    general: Quota,
) -> Result<(String, Quota), ConfigError> {
    let rate_of = |key: &str, text: Option<&str>, general| match text {
        None => Ok(general),
        Some(text) => rate(text).map_err(|problem| {
            let file = values.file_path.clone().unwrap_or_default();
            let file = file.display();
            ConfigError::new(format!("{file}: `{key}` of `{name}`: {problem}"))
        }),
    };
    let quota = Quota {
        max_requests: own.max_requests.map_or(general.max_requests, unless_none),
        download_rate: rate_of("download_rate", own.download_rate, general.download_rate)?,
        upload_rate: rate_of("upload_rate", own.upload_rate, general.upload_rate)?,
    };
    Ok((name.to_owned(), quota))
}

fn unless_none(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}

fn rate(text: &str) -> Result<Option<u64>, String> {
    match parse::size(text)? {
        0 => Ok(None),
        rate if rate < SLOWEST => Err(format!("must be 0 or at least {} KiB", SLOWEST >> 10)),
        rate => Ok(Some(rate)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(file: &str) -> Result<QuotaSettings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(&path, file).unwrap();
        let values = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&path));
        quotas(&values.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    #[test]
    fn a_credential_has_what_it_says_and_else_what_everybody_has() {
        let read = read(
            "credential_max_requests = 10\ncredential_download_rate = \"1 MiB\"\n\
             [[s3_credentials]]\naccess_key_id = \"a\"\nsecret_access_key = \"s\"\nmax_requests = 3\ndownload_rate = \"0\"\n\
             [[ftp_users]]\nname = \"b\"\npassword = \"p\"\nmax_requests = 0\nupload_rate = \"64 KiB\"\n",
        )
        .unwrap();
        let quota = |max_requests, download_rate, upload_rate| Quota {
            max_requests,
            download_rate,
            upload_rate,
        };
        assert_eq!(read.general, quota(Some(10), Some(1 << 20), None));
        assert_eq!(read.of_keys, [("a".to_owned(), quota(Some(3), None, None))]);
        let user = quota(None, Some(1 << 20), Some(64 << 10));
        assert_eq!(read.of_users, [("b".to_owned(), user)]);
    }

    #[test]
    fn rates_that_would_look_like_silence_are_refused() {
        for (file, named) in [
            (
                "credential_upload_rate = \"1 KiB\"",
                "credential_upload_rate",
            ),
            (
                "[[ftp_users]]\nname = \"b\"\npassword = \"p\"\ndownload_rate = \"5\"\n",
                "`download_rate` of `b`",
            ),
            (
                "[[ftp_users]]\nname = \"b\"\npassword = \"p\"\nupload_rate = \"fast\"\n",
                "`fast`",
            ),
        ] {
            let refused = read(file).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
