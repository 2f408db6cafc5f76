//! A credential for one directory of one bucket, in the hands of somebody who wants more.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::stand::{BUCKET, Stand, get, put};

const ROOT: &str = "team/inbox";

/// Starts a gateway that knows two more credentials: `confined` for the root, and `listed` for two buckets.
async fn stand() -> Stand {
    let file = format!(
        "[[s3_credentials]]\naccess_key_id = \"confined\"\nsecret_access_key = \"s\"\nroot = \"{BUCKET}/{ROOT}\"\n\
         [[s3_credentials]]\naccess_key_id = \"listed\"\nsecret_access_key = \"s\"\nbuckets = [\"{BUCKET}\", \"more\"]\n\
         manages_buckets = false\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hugbucket.toml");
    std::fs::write(&path, file).unwrap();
    let stand = Stand::start_with(&[("HUGBUCKET_CONFIG", path.to_str().unwrap())]).await;
    let s3 = stand.s3();
    s3.create_bucket().bucket("elsewhere").send().await.unwrap();
    for key in [
        "secret",
        "team/secret",
        "team/inboxes/secret",
        "team/inbox/own",
    ] {
        put(&s3, key, key).await;
    }
    stand
}

fn client(stand: &Stand, access_key_id: &str) -> Client {
    let credentials = Credentials::new(access_key_id, "s", None, None, "test");
    let config = stand.s3().config().to_builder();
    let provider = SharedCredentialsProvider::new(credentials);
    Client::from_conf(config.credentials_provider(provider).build())
}

/// Returns the code of a refusal; an answer that is none fails the test.
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
async fn attempts_beyond_the_root_are_refused_and_reach_nothing() {
    let stand = stand().await;
    let confined = client(&stand, "confined");
    stand.hub.calls().reset();
    let mut answers = Vec::new();
    for key in [
        "secret",
        "team/secret",
        "team/inboxes/secret",
        "team/inbox",
        "Team/inbox/own",
        "team/inbox/../secret",
        "team/inbox/%2e%2e/../../secret",
        "/team/inbox/own",
        "team//inbox/own",
        "team/./inbox/own",
        ".hugbucket/meta/secret",
        "team\u{2215}inbox/own",
    ] {
        answers.push(refusal!(confined.get_object().bucket(BUCKET).key(key)));
        answers.push(refusal!(confined.head_object().bucket(BUCKET).key(key)));
        let body = b"overwritten".to_vec().into();
        answers.push(refusal!(
            confined.put_object().bucket(BUCKET).key(key).body(body)
        ));
        answers.push(refusal!(confined.delete_object().bucket(BUCKET).key(key)));
        let to = format!("{ROOT}/stolen");
        for source in [format!("{BUCKET}/{key}"), format!("/{BUCKET}/{key}")] {
            let copy = confined.copy_object().bucket(BUCKET).key(&to);
            answers.push(refusal!(copy.copy_source(source)));
        }
        let object = ObjectIdentifier::builder().key(key).build().unwrap();
        let delete = Delete::builder().objects(object).build().unwrap();
        // Where the key itself is the fault, the answer is one for each key.
        let deletion = confined.delete_objects().bucket(BUCKET).delete(delete);
        if let Ok(answer) = deletion.send().await {
            assert!(answer.deleted().is_empty(), "{key}: {answer:?}");
        }
    }
    for prefix in ["", "team", "team/inbox", "team/inboxes/", "secret"] {
        let list = confined.list_objects_v2().bucket(BUCKET).prefix(prefix);
        answers.push(refusal!(list));
        answers.push(refusal!(
            confined.list_objects().bucket(BUCKET).prefix(prefix)
        ));
        let uploads = confined.list_multipart_uploads().bucket(BUCKET);
        answers.push(refusal!(uploads.prefix(prefix)));
    }
    for bucket in ["elsewhere", "nowhere"] {
        answers.push(refusal!(confined.head_bucket().bucket(bucket)));
        answers.push(refusal!(confined.create_bucket().bucket(bucket)));
        answers.push(refusal!(confined.delete_bucket().bucket(bucket)));
        let key = format!("{ROOT}/own");
        answers.push(refusal!(confined.get_object().bucket(bucket).key(&key)));
        let upload = confined.create_multipart_upload().bucket(bucket);
        answers.push(refusal!(upload.key(&key)));
    }
    assert!(answers.len() > 90, "{} attempts", answers.len());
    for (status, code) in &answers {
        // A key that no object can have is refused as that.
        let is_right = matches!(
            (*status, code.as_str()),
            (403, "AccessDenied" | "") | (400, _)
        );
        assert!(is_right, "{status} {code}");
    }
    let denied = answers.iter().filter(|(status, _)| *status == 403).count();
    assert!(denied > 50, "{denied} of {}", answers.len());
    assert_eq!(stand.hub.calls().total(), 0, "nothing went on to the Hub");

    let s3 = stand.s3();
    for key in ["secret", "team/secret", "team/inboxes/secret"] {
        assert_eq!(
            get(&s3, key).await.as_deref(),
            Some(key.as_bytes()),
            "{key}"
        );
    }
    assert_eq!(get(&s3, "team/inbox/stolen").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_root_everything_works() {
    let stand = stand().await;
    let confined = client(&stand, "confined");
    put(&confined, "team/inbox/new", "n").await;
    assert_eq!(
        get(&confined, "team/inbox/own").await.unwrap(),
        b"team/inbox/own"
    );
    let list = confined
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix("team/inbox/");
    let page = list.send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|one| one.key()).collect();
    assert_eq!(keys, ["team/inbox/new", "team/inbox/own"]);
    let copy = confined.copy_object().bucket(BUCKET).key("team/inbox/copy");
    let source = format!("{BUCKET}/team/inbox/new");
    copy.copy_source(source).send().await.unwrap();
    let delete = confined
        .delete_object()
        .bucket(BUCKET)
        .key("team/inbox/new");
    delete.send().await.unwrap();
    let buckets = confined.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets
        .buckets()
        .iter()
        .filter_map(|one| one.name())
        .collect();
    assert_eq!(names, [BUCKET]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_buckets_is_all_that_there_is() {
    let stand = stand().await;
    let listed = client(&stand, "listed");
    put(&listed, "secret", "new").await;
    let elsewhere = listed.put_object().bucket("elsewhere").key("k");
    assert_eq!(refusal!(elsewhere), (403, "AccessDenied".to_owned()));
    let create = listed.create_bucket().bucket("more");
    assert_eq!(refusal!(create), (403, "AccessDenied".to_owned()));
    let copy = listed.copy_object().bucket(BUCKET).key("k");
    let copy = copy.copy_source("elsewhere/k");
    assert_eq!(refusal!(copy), (403, "AccessDenied".to_owned()));
}
