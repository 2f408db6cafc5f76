//! The gateway's own files: no way of writing a key addresses them, and no listing shows them.

use hugbucket::s3::S3Config;
use sha2::{Digest as _, Sha256};

use crate::stand::Stand;
use crate::wire::{Answer, Request};

async fn send(stand: &Stand, method: &'static str, target: &str) -> Answer {
    let mut request = Request::new(method, target);
    if matches!(method, "PUT" | "POST") {
        request = request.body("");
    }
    request.signed(stand).send(stand).await
}

/// A stand with metadata beside `k`, a directory marker `d/`, an upload under way, and keys whose names are close to hidden ones.
/// Returns it with the path of each hidden file, and the upload's id.
async fn stand_with_hidden_files(config: S3Config) -> (Stand, Vec<String>, String) {
    let stand = Stand::start_with(config).await;
    let put = Request::new("PUT", "/bucket/k").body("content");
    let put = put
        .header("x-amz-meta-state", "kept")
        .header("x-amz-tagging", "a=1");
    assert_eq!(put.signed(&stand).send(&stand).await.status, 200);
    for key in [
        "d/",
        ".hugbuckets",
        ".hugbucket_",
        ".hug",
        "e/.hugbucket/x",
        "~",
    ] {
        let put = Request::new("PUT", &format!("/bucket/{key}")).body("");
        assert_eq!(put.signed(&stand).send(&stand).await.status, 200, "{key}");
    }
    let begun = send(&stand, "POST", "/bucket/k?uploads").await;
    let upload_id = begun.element("UploadId").to_owned();
    let part = format!("/bucket/k?partNumber=1&uploadId={upload_id}");
    let part = Request::new("PUT", &part).body("part").signed(&stand);
    assert_eq!(part.send(&stand).await.status, 200);
    let digest = hex::encode(Sha256::digest("k"));
    let paths = vec![
        format!(".hugbucket/meta/{}/{}", &digest[..2], &digest[2..]),
        format!(".hugbucket/uploads/{upload_id}"),
        ".hugbucket/".into(),
        ".hugbucket".into(),
        "d/.hugbucket_keep".into(),
        ".hugbucket_keep".into(),
    ];
    (stand, paths, upload_id)
}

/// Writes a key in every way that a URL knows, and in some that a file system would fold into it.
fn spellings(path: &str) -> Vec<String> {
    let every_byte: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
    vec![
        path.to_owned(),
        path.replace('.', "%2E"),
        path.replace('.', "%2e").replace('/', "%2f"),
        path.replace('/', "%2F").replace('h', "%68"),
        every_byte.clone(),
        every_byte.to_ascii_lowercase(),
        format!("/{path}"),
        format!("%2F{path}"),
        format!("./{path}"),
        format!("%2E/{path}"),
        format!("x/../{path}"),
        format!("x/%2E%2E/{path}"),
        format!("x/..%2F{path}"),
        path.replace('/', "//"),
        path.replace('/', "/./"),
        path.replace('/', "\\"),
        path.replace('/', "%5C"),
        format!("{path}%00"),
    ]
}

/// What was kept is still there, and the upload can still be completed.
async fn assert_untouched(stand: &Stand, upload_id: &str) {
    let head = send(stand, "HEAD", "/bucket/k").await;
    assert_eq!(head.header("x-amz-meta-state"), "kept");
    assert_eq!(head.header("x-amz-tagging-count"), "1");
    let parts = send(stand, "GET", &format!("/bucket/k?uploadId={upload_id}")).await;
    assert_eq!(parts.element("PartNumber"), "1");
    assert_eq!(send(stand, "HEAD", "/bucket/d/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_key_addresses_a_hidden_file() {
    let config = S3Config {
        domains: vec!["s3.test".into()],
        ..S3Config::default()
    };
    let (stand, paths, upload_id) = stand_with_hidden_files(config).await;
    let calls = || stand.hub.calls().total();
    let before = calls();
    for path in paths.iter().flat_map(|path| spellings(path)) {
        for (method, query) in [
            ("GET", ""),
            ("HEAD", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("GET", "?tagging"),
            ("PUT", "?tagging"),
            ("DELETE", "?tagging"),
            ("GET", "?acl"),
            ("GET", "?attributes"),
            ("GET", "?partNumber=1"),
            ("POST", "?uploads"),
        ] {
            let target = format!("/bucket/{path}{query}");
            let answer = send(&stand, method, &target).await;
            assert_eq!(answer.status, 400, "{method} {target}: {}", answer.head);
            let by_host = Request::new(method, &format!("/{path}{query}"));
            let by_host = by_host.host("bucket.s3.test").body("").signed(&stand);
            let answer = by_host.send(&stand).await;
            assert_eq!(answer.status, 400, "{method} {path} by host");
        }
        let range = Request::new("GET", &format!("/bucket/{path}")).header("range", "bytes=0-1");
        assert_eq!(
            range.signed(&stand).send(&stand).await.status,
            400,
            "{path}"
        );
    }
    assert_eq!(calls(), before, "nothing was asked of the Hub");
    assert_untouched(&stand, &upload_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_source_of_a_copy_names_a_hidden_file() {
    let (stand, paths, upload_id) = stand_with_hidden_files(S3Config::default()).await;
    let part = format!("/bucket/k?partNumber=2&uploadId={upload_id}");
    let before = stand.hub.calls().total();
    for path in paths.iter().flat_map(|path| spellings(path)) {
        for source in [
            format!("/bucket/{path}"),
            format!("bucket%2F{path}"),
            format!("/bucket/{path}?versionId=null"),
        ] {
            for target in ["/bucket/stolen", part.as_str()] {
                let copy = Request::new("PUT", target).header("x-amz-copy-source", &source);
                let answer = copy.body("").signed(&stand).send(&stand).await;
                assert_eq!(answer.status, 400, "{source} to {target}");
            }
        }
    }
    assert_eq!(stand.hub.calls().total(), before);
    assert_eq!(send(&stand, "GET", "/bucket/stolen").await.status, 404);
    assert_untouched(&stand, &upload_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_deletion_reaches_no_hidden_file() {
    let (stand, paths, upload_id) = stand_with_hidden_files(S3Config::default()).await;
    let spelt = |path: &String| {
        let entities: String = path.bytes().map(|byte| format!("&#{byte};")).collect();
        [path.clone(), entities, format!("<![CDATA[{path}]]>")]
    };
    let names: Vec<String> = paths.iter().flat_map(spelt).collect();
    let objects: String = names
        .iter()
        .map(|name| format!("<Object><Key>{name}</Key></Object>"))
        .collect();
    let delete = Request::new("POST", "/bucket?delete").body(format!("<Delete>{objects}</Delete>"));
    let answer = delete.signed(&stand).send(&stand).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("<Deleted>"), "{}", answer.text());
    let refusals = answer
        .text()
        .matches("<Code>InvalidArgument</Code>")
        .count();
    assert_eq!(refusals, names.len(), "{}", answer.text());
    assert_untouched(&stand, &upload_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_listing_shows_a_hidden_file() {
    let (stand, _, upload_id) = stand_with_hidden_files(S3Config::default()).await;
    let own = [
        ".hug",
        ".hugbucket_",
        ".hugbuckets",
        "d/",
        "e/.hugbucket/x",
        "k",
        "~",
    ];
    for prefix in [
        "",
        ".",
        ".hug",
        ".hugbucket",
        ".hugbucket/",
        ".hugbucket%2Fmeta%2F",
        "d/",
        "d/.",
    ] {
        for delimiter in ["", "/", "h", "_", "."] {
            for kind in ["", "list-type=2&", "versions&", "uploads&"] {
                for start in [
                    "",
                    "&start-after=.hugbucket",
                    "&marker=.hugbucket%2F",
                    "&key-marker=.hugbucket%2Fa",
                ] {
                    let target =
                        format!("/bucket?{kind}prefix={prefix}&delimiter={delimiter}{start}");
                    let answer = send(&stand, "GET", &target).await;
                    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
                    let names = answer
                        .text()
                        .split("<Key>")
                        .chain(answer.text().split("<CommonPrefixes><Prefix>"));
                    let names = names
                        .filter_map(|rest| rest.split_once("</"))
                        .map(|(name, _)| name);
                    for name in names.skip(1).filter(|name| !name.contains('<')) {
                        let is_own = own.iter().any(|key| key.starts_with(name));
                        assert!(is_own, "{target} shows {name}: {}", answer.text());
                        assert!(!name.starts_with(".hugbucket/"), "{target} shows {name}");
                        assert!(!name.contains("_keep"), "{target} shows {name}");
                    }
                }
            }
        }
    }
    // What only looks like it is an object like any other.
    let all = send(&stand, "GET", "/bucket?list-type=2").await;
    let shown: Vec<_> = all
        .text()
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split_once('<'))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(shown, own);
    assert_untouched(&stand, &upload_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_capitals_are_other_keys() {
    let (stand, _, upload_id) = stand_with_hidden_files(S3Config::default()).await;
    let digest = hex::encode(Sha256::digest("k"));
    for prefix in [".HUGBUCKET", ".Hugbucket", ".hugBucket"] {
        let target = format!("/bucket/{prefix}/meta/{}/{}", &digest[..2], &digest[2..]);
        assert_eq!(
            send(&stand, "GET", &target).await.verdict(),
            (404, "NoSuchKey")
        );
        let put = Request::new("PUT", &target).body("own").signed(&stand);
        assert_eq!(put.send(&stand).await.status, 200);
        assert_eq!(send(&stand, "GET", &target).await.text(), "own");
    }
    assert_untouched(&stand, &upload_id).await;
}
