//! Forms as browsers send them: signed by their policy, and stored whole or not at all.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::stand::{ACCESS_KEY, Stand};
use crate::wire::{Answer, Request, Signed, signature_of, stamp};

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A form under construction.
pub(crate) struct Form {
    access_key: &'static str,
    expires_in: i64,
    conditions: String,
    fields: Vec<(&'static str, String)>,
    content: Vec<u8>,
}

impl Form {
    /// A form for keys below `user/`.
    pub(crate) fn new(content: impl Into<Vec<u8>>) -> Self {
        Self {
            access_key: ACCESS_KEY,
            expires_in: 60,
            conditions: "{\"bucket\": \"bucket\"}, [\"starts-with\", \"$key\", \"user/\"]".into(),
            fields: vec![("key", "user/${filename}".into())],
            content: content.into(),
        }
    }

    /// Adds a field together with the condition that it needs.
    fn field(mut self, name: &'static str, value: &str) -> Self {
        self.conditions += &format!(", {{\"{name}\": \"{value}\"}}");
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn condition(mut self, condition: &str) -> Self {
        self.conditions += &format!(", {condition}");
        self
    }

    /// Lets the policy have ended an hour ago.
    pub(crate) fn ended(mut self) -> Self {
        self.expires_in = -3600;
        self
    }

    /// Adds a field of which the policy knows nothing.
    pub(crate) fn unnamed(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Gives a field another value, past the signature.
    pub(crate) fn replaced(mut self, name: &str, value: &str) -> Self {
        for (known, present) in &mut self.fields {
            if *known == name {
                *present = value.into();
            }
        }
        self
    }

    /// Signs the policy, and returns the fields that browsers would have in the page.
    pub(crate) fn signed(mut self) -> Self {
        let now = stamp(SystemTime::now());
        let (_, scope) = signature_of("", &now);
        let credential = format!("{}/{scope}", self.access_key);
        self = self
            .field("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .field("x-amz-credential", &credential)
            .field("x-amz-date", &now);
        let expiration = OffsetDateTime::now_utc() + time::Duration::seconds(self.expires_in);
        let expiration = expiration.format(&Rfc3339).unwrap();
        let policy = format!(
            "{{\"expiration\": \"{expiration}\", \"conditions\": [{}]}}",
            self.conditions
        );
        let policy = BASE64.encode(policy);
        let (signature, _) = signature_of(&policy, &now);
        self.fields.push(("policy", policy));
        self.fields.push(("x-amz-signature", signature));
        self
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let part = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"photo 1.jpg\"\r\n\
             Content-Type: image/jpeg\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&self.content);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        body
    }

    async fn send(self, stand: &Stand) -> Answer {
        post(stand, self.body()).await
    }
}

async fn post(stand: &Stand, body: Vec<u8>) -> Answer {
    request_of(stand, body).send(stand).await
}

/// Returns the request that carries a form.
pub(crate) fn request_of(stand: &Stand, body: Vec<u8>) -> Signed {
    let request = Request::new("POST", "/bucket")
        .header(
            "content-type",
            &format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .body(body);
    request.unsigned(stand)
}

async fn stored(stand: &Stand) -> Answer {
    let get = Request::new("GET", "/bucket/user/photo%201.jpg").signed(stand);
    get.send(stand).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_form_is_stored_as_it_says() {
    let stand = Stand::start().await;
    // More than a frame, with what looks like a delimiter's beginning inside.
    let content = format!("\r\n--{}", &BOUNDARY[..20]).repeat(20_000);
    let answer = Form::new(content.clone())
        .field("Content-Type", "image/jpeg")
        .field("x-amz-meta-color", "red")
        .field("success_action_status", "201")
        .condition("[\"content-length-range\", 1, 1000000]")
        .signed()
        .send(&stand)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.element("Key"), "user/photo 1.jpg");
    let stored = stored(&stand).await;
    assert_eq!(stored.text(), content);
    assert_eq!(stored.header("content-type"), "image/jpeg");
    assert_eq!(stored.header("x-amz-meta-color"), "red");
    assert_eq!(stored.header("etag"), answer.header("etag"));
    let again = Form::new("again").signed().send(&stand).await;
    assert_eq!((again.status, again.text()), (204, ""));
    assert!(
        again
            .header("location")
            .ends_with("/bucket/user/photo%201.jpg")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_allowed_stores_nothing() {
    let stand = Stand::start().await;
    let mut forged = Form::new("x").signed();
    forged.fields.last_mut().unwrap().1.replace_range(..2, "zz");
    let mut widened = Form::new("x").signed();
    let policy = widened
        .fields
        .iter()
        .position(|(name, _)| *name == "policy")
        .unwrap();
    let text = BASE64.decode(&widened.fields[policy].1).unwrap();
    let text = String::from_utf8(text).unwrap().replace("user/", "");
    widened.fields[policy].1 = BASE64.encode(text);
    let unknown = Form {
        access_key: "nobody",
        ..Form::new("x")
    };
    let expired = Form {
        expires_in: -60,
        ..Form::new("x")
    };
    let mut unsigned = Form::new("x");
    unsigned.fields = vec![("key", "user/photo 1.jpg".into())];
    let mut extra = Form::new("x").signed();
    extra.fields.push(("acl", "private".into()));
    let range = |range: &str| {
        Form::new("x".repeat(100_000)).condition(&format!("[\"content-length-range\", {range}]"))
    };
    for (form, verdict, message) in [
        (
            forged,
            (403, "SignatureDoesNotMatch"),
            "The request signature",
        ),
        (
            widened,
            (403, "SignatureDoesNotMatch"),
            "The request signature",
        ),
        (
            unknown.signed(),
            (403, "InvalidAccessKeyId"),
            "The AWS Access Key Id",
        ),
        (
            expired.signed(),
            (403, "AccessDenied"),
            "Invalid according to Policy: Policy expired.",
        ),
        (unsigned, (403, "AccessDenied"), "Anonymous access"),
        (
            extra,
            (403, "AccessDenied"),
            "Invalid according to Policy: Extra input fields: acl",
        ),
        (
            range("0, 99999").signed(),
            (400, "EntityTooLarge"),
            "Your proposed upload exceeds",
        ),
        (
            range("100001, 200000").signed(),
            (400, "EntityTooSmall"),
            "Your proposed upload is smaller",
        ),
        (
            Form::new("x")
                .field("x-amz-checksum-crc32", "AAAAAA==")
                .signed(),
            (400, "BadDigest"),
            "The CRC32 you specified",
        ),
    ] {
        let answer = form.send(&stand).await;
        assert_eq!(answer.verdict(), verdict, "{}", answer.text());
        assert!(
            answer.element("Message").starts_with(message),
            "{}",
            answer.text()
        );
        assert_eq!(stored(&stand).await.status, 404, "{message}");
    }
    let mut cut = Form::new("x").signed().body();
    cut.truncate(cut.len() - BOUNDARY.len() - 8);
    assert_eq!(post(&stand, cut).await.verdict(), (400, "IncompleteBody"));
    assert_eq!(stored(&stand).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_carries_tags_and_wrong_ones_store_nothing() {
    const TAGS: &str =
        "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    let stand = Stand::start().await;
    let form = |tags: &str| Form::new("x").field("tagging", tags).signed();
    let wrong = TAGS.replace(">a<", ">aws:a<");
    for (tags, verdict) in [
        (wrong.as_str(), (400, "InvalidTag")),
        ("a=1", (400, "MalformedXML")),
    ] {
        assert_eq!(form(tags).send(&stand).await.verdict(), verdict);
        assert_eq!(stored(&stand).await.status, 404);
    }
    assert_eq!(form(TAGS).send(&stand).await.status, 204);
    assert_eq!(stored(&stand).await.header("x-amz-tagging-count"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_a_form_is_a_hidden_file_s() {
    let stand = Stand::start().await;
    let before = stand.hub.calls().total();
    for key in [
        ".hugbucket/x",
        ".hugbucket/${filename}",
        "/.hugbucket/x",
        "./.hugbucket/x",
        "user/../.hugbucket/x",
        "user/.hugbucket_keep",
    ] {
        let mut form = Form::new("x").condition("[\"starts-with\", \"$key\", \"\"]");
        form.conditions = form.conditions.replace("\"user/\"", "\"\"");
        form.fields[0].1 = key.into();
        let answer = form.signed().send(&stand).await;
        assert_eq!(answer.verdict(), (400, "InvalidArgument"), "{key}");
    }
    assert_eq!(stand.hub.calls().total(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_names_its_string_to_sign() {
    let stand = Stand::start().await;
    let mut forged = Form::new("x").signed();
    forged.fields.last_mut().unwrap().1 = "0".repeat(64);
    let policy = forged
        .fields
        .iter()
        .find(|(name, _)| *name == "policy")
        .unwrap();
    let policy = policy.1.clone();
    let answer = forged.send(&stand).await;
    assert_eq!(answer.element("StringToSign"), policy);
    assert_eq!(answer.element("AWSAccessKeyId"), ACCESS_KEY);
    assert!(!answer.text().contains(crate::stand::SECRET_KEY));
}
