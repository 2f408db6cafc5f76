//! The sources of copies, as clients spell them.

use crate::stand::Stand;
use crate::wire::Request;

/// Copies from a source as it is spelt, as an object or as a part, and returns the verdict.
async fn copied(stand: &Stand, target: &str, source: &str) -> (u16, String) {
    let copy = Request::new("PUT", target).header("x-amz-copy-source", source);
    let answer = copy.body("").signed(stand).send(stand).await;
    (answer.status, answer.element("Code").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plus_means_a_blank_and_an_escaped_one_a_plus_in_copies_and_parts_alike() {
    let stand = Stand::start().await;
    // The path of a request is no form: there a plus is a plus, however it was signed.
    for (target, content) in [
        ("/bucket/a%2Bb", "plus"),
        ("/bucket/a%20b", "blank"),
        ("/bucket/p%25", "percent"),
    ] {
        let put = Request::new("PUT", target).body(content).signed(&stand);
        let put = put.sent_as("%2B", "+");
        assert_eq!(put.send(&stand).await.status, 200);
    }
    let begun = Request::new("POST", "/bucket/parts?uploads").signed(&stand);
    let begun = begun.send(&stand).await;
    let upload = begun.element("UploadId");
    for (number, (source, content)) in (1..).zip([
        ("/bucket/a%2Bb", "plus"),
        ("bucket/a%2bb", "plus"),
        ("/bucket/a+b", "blank"),
        ("/bucket/a%20b", "blank"),
        ("bucket%2Fa%20b?versionId=null", "blank"),
        ("/bucket/p%25", "percent"),
    ]) {
        assert_eq!(
            copied(&stand, "/bucket/copy", source).await.0,
            200,
            "{source}"
        );
        let get = Request::new("GET", "/bucket/copy").signed(&stand);
        assert_eq!(get.send(&stand).await.text(), content, "{source}");
        let part = format!("/bucket/parts?partNumber={number}&uploadId={upload}");
        assert_eq!(copied(&stand, &part, source).await.0, 200, "{source}");
        let listed = format!(
            "/bucket/parts?uploadId={upload}&part-number-marker={}",
            number - 1
        );
        let listed = Request::new("GET", &listed)
            .signed(&stand)
            .send(&stand)
            .await;
        assert_eq!(
            listed.element("Size"),
            content.len().to_string(),
            "{source}"
        );
    }
    let part = format!("/bucket/parts?partNumber=9&uploadId={upload}");
    for (source, verdict) in [
        ("/bucket/a%252Bb", (404, "NoSuchKey")),
        ("/bucket/a%zzb", (400, "InvalidURI")),
        ("/bucket/a%20b?versionId=7", (400, "InvalidArgument")),
        ("/bucket", (400, "InvalidArgument")),
        ("/absent/k", (404, "NoSuchBucket")),
    ] {
        for target in ["/bucket/copy", &part] {
            let (status, code) = copied(&stand, target, source).await;
            assert_eq!((status, code.as_str()), verdict, "{source} to {target}");
        }
    }
}
