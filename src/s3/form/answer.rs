//! What a browser gets for its form.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::s3::form::fields::Fields;
use crate::s3::header::{self as s3_header, quoted};
use crate::s3::xml::Document;
use crate::storage::{BucketName, ObjectKey, ObjectWritten};

/// What a key's address leaves as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Where the object lies once it is there.
pub(super) struct Success {
    location: String,
    bucket: BucketName,
    key: ObjectKey,
}

impl Success {
    /// Takes along what the answer names. `path` is that of the bucket, which is empty where the host names it.
    pub(super) fn new(origin: &str, path: &str, bucket: &BucketName, key: &ObjectKey) -> Self {
        let path = path.trim_end_matches('/');
        let name = utf8_percent_encode(key.as_str(), PATH);
        Self {
            location: format!("{origin}{path}/{name}"),
            bucket: bucket.clone(),
            key: key.clone(),
        }
    }

    /// Returns what the form asked for: a redirect, the status 200, or 201 with a document; else 204.
    pub(super) fn answer(self, written: &ObjectWritten, fields: &Fields) -> Response {
        let etag = quoted(&written.hash.etag());
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"))
            .and_then(|target| self.redirect(target, &etag));
        let mut response = match (&redirect, fields.get("success_action_status")) {
            (Some(_), _) => StatusCode::SEE_OTHER.into_response(),
            (None, Some("201")) => (StatusCode::CREATED, self.document(&etag)).into_response(),
            (None, Some("200")) => StatusCode::OK.into_response(),
            (None, _) => StatusCode::NO_CONTENT.into_response(),
        };
        let location = redirect.unwrap_or(self.location);
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, s3_header::value(&location));
        headers.insert(header::ETAG, s3_header::value(&etag));
        headers.insert(s3_header::XET_HASH, s3_header::value(written.hash.as_str()));
        response
    }

    /// Returns where the browser is sent; `None` for what is no web address, which S3 ignores.
    fn redirect(&self, target: &str, etag: &str) -> Option<String> {
        let mut url = Url::parse(target).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        url.query_pairs_mut()
            .append_pair("bucket", self.bucket.as_str())
            .append_pair("key", self.key.as_str())
            .append_pair("etag", etag);
        Some(url.into())
    }

    fn document(&self, etag: &str) -> Document {
        let mut document = Document::new();
        document.element("PostResponse", |root| {
            root.text("Location", &self.location);
            root.text("Bucket", self.bucket.as_str());
            root.text("Key", self.key.as_str());
            root.text("ETag", etag);
        });
        document
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::s3::testing::{ETAG, hash};

    fn answer(pairs: &[(&str, &str)]) -> Response {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        let bucket = BucketName::new("b").unwrap();
        let key = ObjectKey::new("d/ä&b").unwrap();
        let written = ObjectWritten {
            size: 1,
            hash: hash(),
        };
        Success::new("https://s3.test", "/b/", &bucket, &key).answer(&written, &fields)
    }

    fn location(pairs: &[(&str, &str)]) -> (u16, String) {
        let answer = answer(pairs);
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        (answer.status().as_u16(), location.to_owned())
    }

    #[test]
    fn the_form_chooses_the_status() {
        let object = "https://s3.test/b/d/%C3%A4%26b".to_owned();
        for (status, expected) in [
            ("200", 200),
            ("201", 201),
            ("204", 204),
            ("404", 204),
            ("", 204),
        ] {
            let given = [("success_action_status", status)];
            assert_eq!(location(&given), (expected, object.clone()), "{status}");
        }
    }

    #[test]
    fn a_redirect_names_what_was_stored() {
        let query = "bucket=b&key=d%2F%C3%A4%26b&etag=%220123456789abcdef0123456789abcdef-1%22";
        for name in ["success_action_redirect", "redirect"] {
            let given = [
                (name, "https://app.test/done?x=1"),
                ("success_action_status", "200"),
            ];
            let expected = format!("https://app.test/done?x=1&{query}");
            assert_eq!(location(&given), (303, expected));
        }
        for other in ["", "done.html", "javascript:alert(1)"] {
            assert_eq!(location(&[("redirect", other)]).0, 204, "{other}");
        }
    }

    #[tokio::test]
    async fn a_created_object_is_described() {
        let answer = answer(&[("success_action_status", "201")]);
        assert_eq!(answer.headers()[header::ETAG], ETAG);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(
            text.contains("<PostResponse><Location>https://s3.test/b/d/%C3%A4%26b</Location><Bucket>b</Bucket>"),
            "{text}"
        );
    }
}
