//! Headers that ask for what the gateway does not do: refused by name before anything is touched, never ignored.

use http::HeaderMap;

use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::storage::Visibility;

/// Prefixes of headers that no write may carry.
const REFUSED_PREFIXES: [&str; 4] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-grant-",
];

/// Headers that no write may carry.
const REFUSED: [&str; 3] = [
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "x-amz-bucket-object-lock-enabled",
];

/// ACLs of an object that say what is the case anyway: its owner has every right.
const OBJECT_ACLS: [&str; 3] = ["private", "bucket-owner-full-control", "bucket-owner-read"];

/// Refuses what a write of an object cannot do.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn refuse_on_object_write(headers: &HeaderMap) -> Result<(), Fault> {
    refuse_common(headers)?;
    if let Some(acl) = text(headers, "x-amz-acl")
        && !OBJECT_ACLS.contains(&acl)
    {
        return Err(Fault::header_not_implemented("x-amz-acl"));
    }
    if let Some(class) = text(headers, "x-amz-storage-class")
        && class != "STANDARD"
    {
        return Err(Fault::header_not_implemented("x-amz-storage-class"));
    }
    Ok(())
}

/// Refuses what a part cannot have: besides what no write can, the tags, which belong to the whole upload.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn refuse_on_part_write(headers: &HeaderMap) -> Result<(), Fault> {
    for name in ["x-amz-tagging", "x-amz-tagging-directive"] {
        if headers.contains_key(name) {
            return Err(Fault::header_not_implemented(name));
        }
    }
    refuse_on_object_write(headers)
}

/// Refuses what the creation of a bucket cannot do, and returns who may read it; `None` where the client does not say.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn visibility_of_new_bucket(headers: &HeaderMap) -> Result<Option<Visibility>, Fault> {
    // Sent as `false` by some tools, which asks for nothing.
    let asks_for_lock = text(headers, "x-amz-bucket-object-lock-enabled")
        .is_some_and(|value| !value.eq_ignore_ascii_case("false"));
    if asks_for_lock {
        return Err(Fault::header_not_implemented(
            "x-amz-bucket-object-lock-enabled",
        ));
    }
    if let Some(name) = headers
        .keys()
        .find(|name| name.as_str().starts_with("x-amz-grant-"))
    {
        return Err(Fault::header_not_implemented(name.as_str()));
    }
    match text(headers, "x-amz-acl") {
        None => Ok(None),
        Some("private") => Ok(Some(Visibility::Private)),
        Some("public-read") => Ok(Some(Visibility::Public)),
        Some(_) => Err(Fault::header_not_implemented("x-amz-acl")),
    }
}

/// Refuses encryption keys on a read: the answer would not be what the client expects.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn refuse_on_read(headers: &HeaderMap) -> Result<(), Fault> {
    refuse_common(headers)
}

fn refuse_common(headers: &HeaderMap) -> Result<(), Fault> {
    let refused = headers.keys().map(http::HeaderName::as_str).find(|name| {
        REFUSED.contains(name)
            || REFUSED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    });
    match refused {
        Some(name) => Err(Fault::header_not_implemented(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-website-redirect-location", "/x"),
        ] {
            let fault = refuse_on_object_write(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(
                (fault.status.as_u16(), fault.details[0].1.as_str()),
                (501, name)
            );
        }
    }

    #[test]
    fn what_asks_for_nothing_passes() {
        let harmless = headers(&[
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-checksum-mode", "ENABLED"),
            ("x-amz-expected-bucket-owner", "1"),
            ("x-amz-user-agent", "x"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-tagging-directive", "COPY"),
        ]);
        assert!(refuse_on_object_write(&harmless).is_ok());
        assert!(refuse_on_part_write(&harmless).is_err());
        assert!(refuse_on_read(&harmless).is_ok());
    }

    #[test]
    fn a_new_bucket_is_public_only_when_asked() {
        let visibility =
            |acl| visibility_of_new_bucket(&headers(&[("x-amz-acl", acl)])).map_err(|f| f.code);
        assert_eq!(visibility("private"), Ok(Some(Visibility::Private)));
        assert_eq!(visibility("public-read"), Ok(Some(Visibility::Public)));
        assert_eq!(visibility("public-read-write"), Err("NotImplemented"));
        assert_eq!(visibility_of_new_bucket(&HeaderMap::new()).unwrap(), None);
        assert!(
            visibility_of_new_bucket(&headers(&[("x-amz-bucket-object-lock-enabled", "true")]))
                .is_err()
        );
        assert!(
            visibility_of_new_bucket(&headers(&[("x-amz-bucket-object-lock-enabled", "false")]))
                .is_ok()
        );
    }
}
