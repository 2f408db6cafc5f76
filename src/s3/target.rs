//! Which bucket and key a request names: path-style or virtual-hosted.

use crate::s3::fault::Fault;
use crate::s3::params::{Plus, decode};

/// The resource of a request, decoded but not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The list of buckets.
    Service,
    /// A bucket.
    Bucket(String),
    /// A key in a bucket, exactly as written: nothing is normalised.
    Object(String, String),
}

impl Target {
    /// Finds the resource from the host and the raw path.
    ///
    /// Errors: InvalidURI when the path cannot be decoded.
    pub(super) fn locate(
        host: Option<&str>,
        raw_path: &str,
        domains: &[String],
    ) -> Result<Self, Fault> {
        let path = raw_path.strip_prefix('/').unwrap_or(raw_path);
        let (bucket, key) = match host.and_then(|host| bucket_of_host(host, domains)) {
            Some(bucket) => (bucket.to_owned(), path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decode(bucket, Plus::IsPlus)?, key)
            }
        };
        let key = decode(key, Plus::IsPlus)?;
        Ok(match (bucket.is_empty(), key.is_empty()) {
            (true, true) => Self::Service,
            // A key without a bucket (`//key`): the empty name is refused where names are checked.
            (_, false) => Self::Object(bucket, key),
            (false, true) => Self::Bucket(bucket),
        })
    }

    /// Returns the bucket as it was written, if the request names one.
    pub(super) fn bucket(&self) -> Option<&str> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }

    /// Returns S3's name for the kind of resource.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Bucket(_) => "BUCKET",
            Self::Object(..) => "OBJECT",
        }
    }
}

/// Returns the bucket of a virtual-hosted name; `None` for the domain itself and for foreign hosts.
fn bucket_of_host<'a>(host: &'a str, domains: &[String]) -> Option<&'a str> {
    let host = without_port(host);
    domains.iter().find_map(|domain| {
        let domain = without_port(domain);
        let split = host.len().checked_sub(domain.len())?;
        let (bucket, rest) = (host.get(..split)?, host.get(split..)?);
        let bucket = bucket.strip_suffix('.')?;
        (rest.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then_some(bucket)
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(host: &str, path: &str) -> Target {
        let domains = ["s3.local:9000".to_owned(), "s3.test".to_owned()];
        Target::locate(Some(host), path, &domains).unwrap()
    }

    fn object(bucket: &str, key: &str) -> Target {
        Target::Object(bucket.into(), key.into())
    }

    #[test]
    fn paths_name_buckets_and_keys_without_normalising() {
        let bucket = Target::Bucket("b".into());
        for (path, target) in [
            ("/", Target::Service),
            ("", Target::Service),
            ("/b", bucket.clone()),
            ("/b/", bucket),
            ("/b/k", object("b", "k")),
            ("/b/d/", object("b", "d/")),
            ("/b//k", object("b", "/k")),
            ("/b/a/../k", object("b", "a/../k")),
            ("/b/a+b%2Bc%20%252F", object("b", "a+b+c %2F")),
            ("/b/%E6%97%A5", object("b", "日")),
            ("//k", object("", "k")),
        ] {
            assert_eq!(locate("127.0.0.1:9000", path), target, "{path}");
        }
    }

    #[test]
    fn hosts_name_buckets_under_a_known_domain() {
        assert_eq!(locate("b.s3.local:9000", "/"), Target::Bucket("b".into()));
        assert_eq!(locate("b.S3.Local", "/d/k"), object("b", "d/k"));
        assert_eq!(locate("my.b.s3.test", "/k"), object("my.b", "k"));
        assert_eq!(locate("s3.test", "/b/k"), object("b", "k"));
        assert_eq!(locate("xs3.test", "/b/k"), object("b", "k"));
        assert_eq!(locate(".s3.test", "/b"), Target::Bucket("b".into()));
        assert_eq!(locate("[::1]:9000", "/b"), Target::Bucket("b".into()));
    }

    #[test]
    fn broken_paths_are_refused() {
        for path in ["/b/%", "/b/%ff", "/%c3/k"] {
            let fault = Target::locate(None, path, &[]).unwrap_err();
            assert_eq!(fault.code, "InvalidURI", "{path}");
        }
    }
}
