//! Temporary credentials: issued for a form that is signed as SDKs do, and used with every kind of signature.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hugbucket::sigv4::{Scope, SigningKey};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::stand::{ACCESS_KEY, BUCKET, Gateway, SECRET_KEY, Stand, get, put};
use crate::tenants::{Tenants, credential};

/// Allows objects below `team/`, and to list them.
const TEAM: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::data/team/*"},
    {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::data","Condition":{"StringLike":{"s3:prefix":"team/*"}}},
    {"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::data/team/secret/*"}]}"#;

/// Temporary credentials as a client gets them.
#[derive(Debug, Clone)]
struct Temporary {
    id: String,
    secret: String,
    token: String,
}

impl Temporary {
    fn s3(&self, gateway: &Gateway) -> Client {
        gateway.s3_as(&self.id, &self.secret, Some(&self.token))
    }
}

/// Sends a signed form, and returns status and document.
async fn ask(
    gateway: &Gateway,
    (id, secret, token): (&str, &str, Option<&str>),
    form: &[(&str, &str)],
) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let form = reqwest::Url::parse_with_params("http://x/?Version=2011-06-15", form).unwrap();
    let body = form.query().unwrap().to_owned();
    let token = token.map(str::to_owned);
    let identity = aws_sdk_s3::config::Credentials::new(id, secret, token, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("sts")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let uri = format!("{}/", gateway.endpoint);
    let headers = [("content-type", kind)].into_iter();
    let signable = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new("POST", &uri, headers, signable).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = http::Request::post(&uri)
        .header("content-type", kind)
        .body(())
        .unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = client
        .post(&uri)
        .headers(request.headers().clone())
        .body(body);
    let answer = send.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn element(document: &str, name: &str) -> String {
    let (_, rest) = document
        .split_once(&format!("<{name}>"))
        .unwrap_or_else(|| panic!("no {name} in {document}"));
    rest.split_once('<').unwrap().0.to_owned()
}

/// Asks for temporary credentials with a key.
async fn assume(gateway: &Gateway, key: (&str, &str), policy: Option<&str>) -> Temporary {
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("RoleArn", "arn:aws:iam::000000000000:role/any"),
        ("RoleSessionName", "job-1"),
    ];
    form.extend(policy.map(|policy| ("Policy", policy)));
    let (status, document) = ask(gateway, (key.0, key.1, None), &form).await;
    assert_eq!(status, 200, "{document}");
    Temporary {
        id: element(&document, "AccessKeyId"),
        secret: element(&document, "SecretAccessKey"),
        token: element(&document, "SessionToken"),
    }
}

const OWNER: (&str, &str) = (ACCESS_KEY, SECRET_KEY);

/// Returns status and code of a refusal; an answer that is none fails the test.
macro_rules! refusal {
    ($request:expr) => {{
        let refused = $request.send().await.expect_err("it was let through");
        let status = refused
            .raw_response()
            .map_or(0, |raw| raw.status().as_u16());
        (status, refused.code().unwrap_or_default().to_owned())
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_works_within_its_policy_on_every_replica_and_by_every_signature() {
    let stand = Stand::start().await;
    let session = assume(&stand.gateway, OWNER, Some(TEAM)).await;
    let replica = stand.another_gateway(&[]).await;
    for (n, gateway) in [&stand.gateway, &replica].into_iter().enumerate() {
        let s3 = session.s3(gateway);
        let key = format!("team/{n}");
        put(&s3, &key, "text").await;
        assert_eq!(get(&s3, &key).await.unwrap(), b"text");
        let page = s3
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix("team/")
            .send()
            .await
            .unwrap();
        assert_eq!(page.contents().len(), n + 1);
        // The token in the query of a presigned URL.
        let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let signed = s3
            .get_object()
            .bucket(BUCKET)
            .key(&key)
            .presigned(expiry)
            .await
            .unwrap();
        assert!(signed.uri().contains("X-Amz-Security-Token="));
        let answer = reqwest::get(signed.uri()).await.unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.text().await.unwrap().as_str()
            ),
            (200, "text")
        );
    }
    // The token in the field of a form.
    let s3 = stand.s3();
    assert_eq!(
        post_form(&stand.gateway, &session, "team/form", true).await,
        204
    );
    assert_eq!(get(&s3, "team/form").await.unwrap(), b"of a form");
    assert_eq!(
        post_form(&stand.gateway, &session, "team/other", false).await,
        403
    );
    assert_eq!(
        post_form(&stand.gateway, &session, "elsewhere", true).await,
        403
    );
    assert_eq!(get(&s3, "elsewhere").await, None);
}

/// Uploads by a browser's form, and returns the status.
async fn post_form(gateway: &Gateway, session: &Temporary, key: &str, has_token: bool) -> u16 {
    let now = OffsetDateTime::now_utc();
    let day = now
        .format(format_description!("[year][month][day]"))
        .unwrap();
    let date = now
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .unwrap();
    let scope = Scope {
        date: day,
        region: "us-east-1".into(),
        service: "s3".into(),
    };
    let claimed = format!("{}/{}", session.id, scope.line());
    let mut fields = vec![
        ("key", key),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &claimed),
        ("x-amz-date", &date),
    ];
    if has_token {
        fields.push(("x-amz-security-token", &session.token));
    }
    let mut conditions: Vec<_> = fields
        .iter()
        .map(|(name, value)| serde_json::json!({*name: value}))
        .collect();
    conditions.push(serde_json::json!({"bucket": BUCKET}));
    let policy =
        serde_json::json!({"expiration": "2099-01-01T00:00:00Z", "conditions": conditions});
    let policy = STANDARD.encode(policy.to_string());
    let signature = SigningKey::derive(&session.secret, &scope).sign(&policy);
    fields.extend([("policy", policy.as_str()), ("x-amz-signature", &signature)]);
    let boundary = "b-o-u-n-d-a-r-y";
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
    }
    body += &format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nof a form\r\n--{boundary}--\r\n"
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = client
        .post(format!("{}/{BUCKET}", gateway.endpoint))
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(body);
    send.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_beyond_a_policy_are_refused_and_reach_nothing() {
    let stand = Stand::start().await;
    let ours = stand.s3();
    for key in ["team/own", "team/secret/a", "teams/a", "secret"] {
        put(&ours, key, key).await;
    }
    ours.create_bucket()
        .bucket("elsewhere")
        .send()
        .await
        .unwrap();
    let session = assume(&stand.gateway, OWNER, Some(TEAM)).await;
    let s3 = session.s3(&stand.gateway);
    stand.hub.calls().reset();
    let mut answers = Vec::new();
    for key in ["team/secret/a", "teams/a", "secret", "team", "Team/own"] {
        answers.push(refusal!(s3.get_object().bucket(BUCKET).key(key)));
        answers.push(refusal!(s3.head_object().bucket(BUCKET).key(key)));
        answers.push(refusal!(
            s3.put_object()
                .bucket(BUCKET)
                .key(key)
                .body(b"x".to_vec().into())
        ));
        answers.push(refusal!(s3.delete_object().bucket(BUCKET).key(key)));
        answers.push(refusal!(s3.get_object_tagging().bucket(BUCKET).key(key)));
        let to = s3.copy_object().bucket(BUCKET).key("team/stolen");
        answers.push(refusal!(to.copy_source(format!("{BUCKET}/{key}"))));
        let from = s3.copy_object().bucket(BUCKET).key(key);
        answers.push(refusal!(from.copy_source(format!("{BUCKET}/team/own"))));
        answers.push(refusal!(
            s3.create_multipart_upload().bucket(BUCKET).key(key)
        ));
        let own = ObjectIdentifier::builder().key("team/own").build().unwrap();
        let other = ObjectIdentifier::builder().key(key).build().unwrap();
        let delete = Delete::builder()
            .objects(own)
            .objects(other)
            .build()
            .unwrap();
        answers.push(refusal!(s3.delete_objects().bucket(BUCKET).delete(delete)));
    }
    for prefix in ["", "t", "team", "teams/", "secret"] {
        answers.push(refusal!(s3.list_objects_v2().bucket(BUCKET).prefix(prefix)));
        answers.push(refusal!(s3.list_objects().bucket(BUCKET).prefix(prefix)));
        answers.push(refusal!(
            s3.list_multipart_uploads().bucket(BUCKET).prefix(prefix)
        ));
    }
    // What the policy does not name at all, also where its resources match.
    answers.push(refusal!(
        s3.get_object_tagging().bucket(BUCKET).key("team/own")
    ));
    answers.push(refusal!(
        s3.delete_object_tagging().bucket(BUCKET).key("team/own")
    ));
    let tagged = s3
        .put_object()
        .bucket(BUCKET)
        .key("team/own")
        .tagging("a=b");
    answers.push(refusal!(tagged.body(b"x".to_vec().into())));
    answers.push(refusal!(s3.list_buckets()));
    answers.push(refusal!(s3.create_bucket().bucket("new")));
    for bucket in [BUCKET, "elsewhere", "nowhere"] {
        answers.push(refusal!(s3.delete_bucket().bucket(bucket)));
        answers.push(refusal!(s3.head_bucket().bucket(bucket)));
    }
    answers.push(refusal!(
        s3.get_object().bucket("elsewhere").key("team/own")
    ));
    assert!(answers.len() > 70, "{} attempts", answers.len());
    for (status, code) in &answers {
        assert!(
            *status == 403 && matches!(code.as_str(), "AccessDenied" | ""),
            "{status} {code}"
        );
    }
    assert_eq!(stand.hub.calls().total(), 0, "nothing went on to the Hub");
    for key in ["team/own", "team/secret/a", "teams/a", "secret"] {
        assert_eq!(get(&ours, key).await.unwrap(), key.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_foreign_or_missing_has_awss_own_code() {
    let stand = Stand::start().await;
    let gateway = &stand.gateway;
    let (one, other) = (
        assume(gateway, OWNER, None).await,
        assume(gateway, OWNER, None).await,
    );
    stand.hub.calls().reset();
    let list = |id: &str, secret: &str, token: Option<&str>| {
        gateway.s3_as(id, secret, token).list_buckets()
    };
    let invalid = (400, "InvalidToken".to_owned());
    let foreign = list(&one.id, &one.secret, Some(&other.token));
    assert_eq!(refusal!(foreign), invalid);
    for token in [
        "x",
        "AAAA",
        &one.token[1..],
        &format!("{}A", one.token),
        &one.token.to_uppercase(),
    ] {
        assert_eq!(refusal!(list(&one.id, &one.secret, Some(token))), invalid);
    }
    assert_eq!(
        refusal!(list(ACCESS_KEY, SECRET_KEY, Some(&one.token))),
        invalid
    );
    assert_eq!(
        refusal!(list(&other.id, &one.secret, Some(&one.token))),
        invalid
    );
    let unknown = (403, "InvalidAccessKeyId".to_owned());
    assert_eq!(refusal!(list(&one.id, &one.secret, None)), unknown);
    let guessed = list(&one.id, SECRET_KEY, Some(&one.token));
    assert_eq!(refusal!(guessed), (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(stand.hub.calls().total(), 0);
    one.s3(gateway).list_buckets().send().await.unwrap();
    // A session neither issues others, nor does a wrong secret issue any.
    let form = [("Action", "GetFederationToken"), ("Name", "bob")];
    let credentials = (
        one.id.as_str(),
        one.secret.as_str(),
        Some(one.token.as_str()),
    );
    let (status, document) = ask(gateway, credentials, &form).await;
    assert_eq!(
        (status, element(&document, "Code").as_str()),
        (403, "AccessDenied")
    );
    let (status, document) = ask(gateway, (ACCESS_KEY, "wrong", None), &form).await;
    assert_eq!(
        (status, element(&document, "Code").as_str()),
        (403, "SignatureDoesNotMatch")
    );
    let (status, document) = ask(gateway, ("nobody", "wrong", None), &form).await;
    assert_eq!(
        (status, element(&document, "Code").as_str()),
        (403, "InvalidClientTokenId")
    );
    let bad = [
        ("Action", "GetFederationToken"),
        ("Name", "bob"),
        ("Policy", r#"{"Statement":{"NotAction":"s3:*"}}"#),
    ];
    let (status, document) = ask(gateway, (ACCESS_KEY, SECRET_KEY, None), &bad).await;
    assert_eq!(
        (status, element(&document, "Code").as_str()),
        (400, "MalformedPolicyDocument")
    );
    let (status, document) = ask(gateway, credentials, &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(
        (status, element(&document, "UserId")),
        (200, format!("{ACCESS_KEY}/job-1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_its_issuers_limits_and_ends_with_it() {
    let file = credential(
        "lab",
        "root = \"data/lab\"\nsource_networks = [\"127.0.0.0/8\"]",
    );
    let tenants = Tenants::start(&file, &[]).await;
    let gateway = &tenants.stand.gateway;
    let session = assume(gateway, ("lab", "s"), None).await;
    let s3 = session.s3(gateway);
    put(&s3, "lab/k", "text").await;
    let beyond = refusal!(s3.get_object().bucket(BUCKET).key("other"));
    assert_eq!(beyond, (403, "AccessDenied".to_owned()));
    // A federated user without a policy may do nothing.
    let form = [
        ("Action", "GetFederationToken"),
        ("Name", "bob"),
        ("DurationSeconds", "900"),
    ];
    let (_, document) = ask(gateway, ("lab", "s", None), &form).await;
    let nothing = Temporary {
        id: element(&document, "AccessKeyId"),
        secret: element(&document, "SecretAccessKey"),
        token: element(&document, "SessionToken"),
    };
    let denied = refusal!(nothing.s3(gateway).get_object().bucket(BUCKET).key("lab/k"));
    assert_eq!(denied, (403, "AccessDenied".to_owned()));

    for (file, code) in [
        (
            credential("lab", "expires = 2020-01-01T00:00:00Z"),
            "ExpiredToken",
        ),
        (credential("other", ""), "InvalidToken"),
    ] {
        tenants.rewrite(&file);
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            let answer = s3.get_object().bucket(BUCKET).key("lab/k").send().await;
            if answer.err().is_some_and(|error| error.code() == Some(code)) {
                break;
            }
        }
    }
}
