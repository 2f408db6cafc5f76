//! The life of multipart uploads besides their parts: what is listed of them, how they end, and what stays of them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_parts::ListPartsOutput;
use aws_sdk_s3::types::{CompletedPart, ObjectAttributes};
use bytes::Bytes;
use hugbucket::devhub::{Effect, Fault, Route};
use hugbucket::provider::cas::CasConfig;
use hugbucket::provider::http::HttpConfig;
use hugbucket::provider::hub::HubConfig;
use hugbucket::provider::multipart::{SweepConfig, Swept};
use hugbucket::provider::undo::UndoConfig;
use hugbucket::provider::{HfProvider, ProviderConfig};
use hugbucket::storage::{
    AnyOperation, BucketName, DeleteObject, DescribeObject, Guards, Namespace, ObjectKey,
    Principal, Protocol, ReadConditions, RequestContext, Secret, StorageRequest, Tenant,
    Visibility, WriteConditions,
};
use hugbucket::telemetry::Metrics;
use tower::Service;

use crate::multipart::{MIB, begin, complete, send_part};
use crate::stand::{BUCKET, HUB_TOKEN, NAMESPACE, Stand, get, put, random_bytes};
use crate::xet;

async fn list_parts(s3: &Client, upload_id: &str, after: &str, max: i32) -> ListPartsOutput {
    let list = s3.list_parts().bucket(BUCKET).key("k").upload_id(upload_id);
    let list = list.part_number_marker(after).max_parts(max);
    list.send().await.unwrap()
}

/// Lists the uploads as `key id`, and common prefixes as they are, page by page.
async fn list_uploads(s3: &Client, delimiter: Option<&str>, page_size: i32) -> Vec<String> {
    let mut seen = Vec::new();
    let (mut key, mut id) = (None, None);
    loop {
        let list = s3
            .list_multipart_uploads()
            .bucket(BUCKET)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_key_marker(key)
            .set_upload_id_marker(id)
            .max_uploads(page_size);
        let page = list.send().await.unwrap();
        let uploads = page
            .uploads()
            .iter()
            .map(|upload| format!("{} {}", upload.key().unwrap(), upload.upload_id().unwrap()));
        let prefixes = page.common_prefixes().iter();
        let mut entries: Vec<String> = uploads
            .chain(prefixes.map(|common| common.prefix().unwrap().to_owned()))
            .collect();
        assert!(entries.len() <= usize::try_from(page_size).unwrap());
        entries.sort();
        seen.extend(entries);
        if page.is_truncated() != Some(true) {
            return seen;
        }
        key = page.next_key_marker().map(str::to_owned);
        id = page.next_upload_id_marker().map(str::to_owned);
    }
}

fn named(number: i32, part: &CompletedPart) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .e_tag(part.e_tag().unwrap())
        .build()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_listed_as_they_count() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    assert!(list_parts(&s3, &upload, "0", 10).await.parts().is_empty());
    let (a, b) = (random_bytes(1, 100_000), random_bytes(2, 200_000));
    let first = send_part(&s3, "k", &upload, 7, a.clone()).await;
    let last = send_part(&s3, "k", &upload, 10_000, b.clone()).await;
    let again = send_part(&s3, "k", &upload, 7, b).await;
    stand.restart_gateway().await;
    let s3 = stand.s3();

    let whole = list_parts(&s3, &upload, "0", 10).await;
    let shown: Vec<_> = whole
        .parts()
        .iter()
        .map(|part| (part.part_number(), part.e_tag(), part.size()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some(7), again.e_tag(), Some(200_000)),
            (Some(10_000), last.e_tag(), Some(200_000))
        ]
    );
    assert_eq!(whole.is_truncated(), Some(false));
    let page = list_parts(&s3, &upload, "0", 1).await;
    assert_eq!(
        (page.is_truncated(), page.next_part_number_marker()),
        (Some(true), Some("7"))
    );
    let page = list_parts(&s3, &upload, "7", 1).await;
    assert_eq!(page.parts()[0].part_number(), Some(10_000));
    assert_eq!(page.is_truncated(), Some(false));

    let replaced = complete(&s3, "k", &upload, vec![first]).await;
    assert_eq!(replaced, Err((400, "InvalidPart".to_owned())));
    // What was sent first counts again once it is sent again.
    let back = send_part(&s3, "k", &upload, 7, a.clone()).await;
    let replaced = complete(&s3, "k", &upload, vec![again]).await;
    assert_eq!(replaced, Err((400, "InvalidPart".to_owned())));
    complete(&s3, "k", &upload, vec![back]).await.unwrap();
    assert!(get(&s3, "k").await.unwrap() == a);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_until_they_end() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let mut uploads = Vec::new();
    for key in ["b", "a", "d/1", "a", "d/2"] {
        uploads.push(format!("{key} {}", begin(&s3, key).await));
    }
    let sorted = |uploads: &[String]| {
        let mut sorted = uploads.to_vec();
        sorted.sort();
        sorted
    };
    let expected = sorted(&uploads);
    // Of one key, the upload that was begun first comes first.
    assert_eq!(expected[..2], [uploads[1].clone(), uploads[3].clone()]);
    for page_size in [1, 2, 1000] {
        assert_eq!(list_uploads(&s3, None, page_size).await, expected);
    }
    let folded = list_uploads(&s3, Some("/"), 2).await;
    assert_eq!(folded[..3], expected[..3]);
    assert_eq!(folded[3..], ["d/"]);

    stand.restart_gateway().await;
    let s3 = stand.s3();
    stand.hub.calls().reset();
    assert_eq!(list_uploads(&s3, None, 1000).await, expected);
    assert_eq!(stand.hub.calls().count(Route::Tree), 1);
    stand.hub.calls().reset();
    assert_eq!(list_uploads(&s3, None, 1000).await, expected);
    assert_eq!(stand.hub.calls().total(), 1, "records are remembered");

    let id = |n: usize| uploads[n].split_once(' ').unwrap().1.to_owned();
    let part = send_part(&s3, "b", &id(0), 1, vec![1]).await;
    complete(&s3, "b", &id(0), vec![part]).await.unwrap();
    let abort = s3.abort_multipart_upload().bucket(BUCKET).key("a");
    abort.upload_id(id(1)).send().await.unwrap();
    assert_eq!(
        list_uploads(&s3, None, 1000).await,
        sorted(&[2, 3, 4].map(|n| uploads[n].clone()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_counts_although_what_it_leaves_behind_could_not_be_removed() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    let part = send_part(&s3, "k", &upload, 1, random_bytes(1, 1000)).await;
    // After the batches of the completion and of its mark comes the one that removes the record.
    stand.hub.faults().inject(Fault {
        after: 2,
        ..Fault::once(Route::Batch, Effect::status(403))
    });
    let tag = complete(&s3, "k", &upload, vec![part.clone()])
        .await
        .unwrap();
    let mut look = tokio::time::interval(std::time::Duration::from_millis(2));
    while !stand.hub.faults().remaining().is_empty() {
        look.tick().await;
    }
    stand.restart_gateway().await;
    let s3 = stand.s3();
    put(&s3, "k", "newer").await;
    let nothing = || vec![named(9, &part)];
    assert_eq!(complete(&s3, "k", &upload, nothing()).await.unwrap(), tag);
    assert_eq!(get(&s3, "k").await.as_deref(), Some(&b"newer"[..]));
    // To all others, the upload is over.
    let list = s3.list_parts().bucket(BUCKET).key("k").upload_id(&upload);
    let gone = list.send().await.unwrap_err();
    assert_eq!(gone.raw_response().unwrap().status().as_u16(), 404);
    let abort = s3.abort_multipart_upload().bucket(BUCKET).key("k");
    let gone = abort.upload_id(&upload).send().await.unwrap_err();
    assert_eq!(gone.raw_response().unwrap().status().as_u16(), 404);
    assert_eq!(complete(&s3, "k", &upload, nothing()).await.unwrap(), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_completions_at_once_one_stands_and_both_say_which() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for round in 0..4 {
        let key = format!("k{round}");
        let upload = begin(&s3, &key).await;
        let one = send_part(&s3, &key, &upload, 1, random_bytes(round, 5 * MIB)).await;
        let two = send_part(&s3, &key, &upload, 2, random_bytes(round + 100, 1000)).await;
        let (whole, half) = (vec![one.clone(), two], vec![one]);
        let (first, second) = tokio::join!(
            complete(&s3, &key, &upload, whole),
            complete(&s3, &key, &upload, half)
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first, second);
        let head = s3.head_object().bucket(BUCKET).key(&key);
        assert_eq!(head.send().await.unwrap().e_tag(), Some(first.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_object_is_read_by_its_parts() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    let parts = [
        random_bytes(1, 5 * MIB),
        random_bytes(2, 6 * MIB),
        random_bytes(3, 10),
    ];
    let mut sent = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        sent.push(send_part(&s3, "k", &upload, number, part.clone()).await);
    }
    let tag = complete(&s3, "k", &upload, sent).await.unwrap();
    let total = parts.concat().len();

    stand.restart_gateway().await;
    let s3 = stand.s3();
    stand.hub.calls().reset();
    let head = s3.head_object().bucket(BUCKET).key("k");
    let head = head.send().await.unwrap();
    assert_eq!((head.parts_count(), head.content_range()), (None, None));
    assert_eq!(
        stand.hub.calls().total(),
        1,
        "who asks for no part pays for none"
    );

    let mut start = 0;
    for (number, part) in (1..).zip(&parts) {
        let range = format!("bytes {start}-{}/{total}", start + part.len() - 1);
        let head = s3.head_object().bucket(BUCKET).key("k");
        let head = head.part_number(number).send().await.unwrap();
        assert_eq!(head.parts_count(), Some(3));
        assert_eq!(head.content_range(), Some(range.as_str()));
        assert_eq!(head.e_tag(), Some(tag.as_str()));
        let read = s3.get_object().bucket(BUCKET).key("k");
        let read = read.part_number(number).send().await.unwrap();
        assert_eq!(read.parts_count(), Some(3));
        assert_eq!(read.content_range(), Some(range.as_str()));
        assert!(read.body.collect().await.unwrap().into_bytes() == part[..]);
        start += part.len();
    }
    assert_eq!(part_status(&s3, 4).await, 416);

    let attributes = s3
        .get_object_attributes()
        .bucket(BUCKET)
        .key("k")
        .object_attributes(ObjectAttributes::Etag)
        .object_attributes(ObjectAttributes::ObjectParts)
        .object_attributes(ObjectAttributes::ObjectSize)
        .part_number_marker("1")
        .max_parts(1);
    let attributes = attributes.send().await.unwrap();
    assert_eq!(attributes.e_tag(), Some(tag.trim_matches('"')));
    assert_eq!(attributes.object_size(), i64::try_from(total).ok());
    let shown = attributes.object_parts().unwrap();
    assert_eq!(shown.total_parts_count(), Some(3));
    assert_eq!(shown.is_truncated(), Some(true));
    assert_eq!(shown.next_part_number_marker(), Some("2"));
    assert_eq!(
        (
            shown.parts()[0].part_number(),
            shown.parts()[0].size(),
            shown.parts().len()
        ),
        (Some(2), Some(6 << 20), 1)
    );
}

/// Returns the status of a HEAD for a part of `k`.
async fn part_status(s3: &Client, number: i32) -> u16 {
    let head = s3.head_object().bucket(BUCKET).key("k").part_number(number);
    match head.send().await {
        Ok(_) => 206,
        Err(error) => error.raw_response().unwrap().status().as_u16(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_forgotten_with_the_content_that_had_them() {
    let mut stand = Stand::start().await;
    let client = xet::Client::new(
        stand.hub.url().as_str(),
        HUB_TOKEN,
        &format!("{NAMESPACE}/{BUCKET}"),
    )
    .await
    .unwrap();
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    let one = send_part(&s3, "k", &upload, 1, random_bytes(1, 5 * MIB)).await;
    let two = send_part(&s3, "k", &upload, 2, random_bytes(2, 10)).await;
    complete(&s3, "k", &upload, vec![one, two]).await.unwrap();
    assert_eq!(part_status(&s3, 2).await, 206);

    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    let copy = copy.copy_source(format!("{BUCKET}/k"));
    copy.send().await.unwrap();
    let head = s3.head_object().bucket(BUCKET).key("copy").part_number(1);
    assert_eq!(
        head.send().await.unwrap().parts_count(),
        None,
        "a copy is written whole"
    );

    client
        .put("k", Bytes::from(random_bytes(3, 1000)))
        .await
        .unwrap();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    assert_eq!(part_status(&s3, 2).await, 416);
    let head = s3.head_object().bucket(BUCKET).key("k").part_number(1);
    let head = head.send().await.unwrap();
    assert_eq!(
        (head.parts_count(), head.content_range()),
        (None, Some("bytes 0-999/1000"))
    );
}

/// A provider in this process, in front of the stand's Hub, and its tenant.
pub(crate) fn provider(stand: &Stand, sweep: SweepConfig) -> (HfProvider, Tenant) {
    let http = HttpConfig {
        uses_env_proxy: false,
        ..HttpConfig::default()
    };
    let config = ProviderConfig {
        hub: HubConfig {
            endpoint: stand.hub.url(),
            http: http.clone(),
        },
        cas: CasConfig {
            http,
            ..CasConfig::default()
        },
        default_visibility: Visibility::Private,
        keeps_checksums: false,
        max_uploads_per_bucket: 0,
        changes: None,
        sweep,
        undo: UndoConfig::default(),
    };
    let tenant = Tenant {
        principal: Principal::unlimited("key"),
        namespace: Namespace::new(NAMESPACE).unwrap(),
        extra_namespaces: Arc::new([]),
        hub_token: Secret::new(HUB_TOKEN),
    };
    (HfProvider::new(config, &Metrics::new()).unwrap(), tenant)
}

/// Lets the Hub believe that what it holds was uploaded some hours ago.
pub(crate) fn hours_later(stand: &Stand, hours: u64) {
    let ahead = Duration::from_secs(hours * 3600 + 60);
    stand.hub.faults().turn(|knobs| knobs.clock_ahead = ahead);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_removes_what_nobody_completes_and_nothing_else() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let abandoned = begin(&s3, "k").await;
    let part = send_part(&s3, "k", &abandoned, 1, random_bytes(1, 1000)).await;
    let done = begin(&s3, "done").await;
    let only = send_part(&s3, "done", &done, 1, random_bytes(2, 1000)).await;
    let tag = complete(&s3, "done", &done, vec![only.clone()])
        .await
        .unwrap();
    put(&s3, "object", "x").await;
    let (sweeper, tenant) = provider(&stand, SweepConfig::default());
    let bucket = tenant.bucket(&BucketName::new(BUCKET).unwrap());
    let sweep = || sweeper.sweep(&tenant, &bucket);
    let removed = |uploads, marks| Swept { uploads, marks };

    assert_eq!(sweep().await.unwrap(), removed(0, 0));
    hours_later(&stand, 23);
    assert_eq!(sweep().await.unwrap(), removed(0, 0));
    assert_eq!(
        complete(&s3, "done", &done, vec![only.clone()]).await,
        Ok(tag)
    );
    hours_later(&stand, 25);
    assert_eq!(sweep().await.unwrap(), removed(0, 1));
    let again = complete(&s3, "done", &done, vec![only]).await;
    assert_eq!(again, Err((404, "NoSuchUpload".to_owned())));
    hours_later(&stand, 6 * 24);
    assert_eq!(sweep().await.unwrap(), removed(0, 0));
    assert_eq!(list_uploads(&s3, None, 10).await.len(), 1);
    hours_later(&stand, 7 * 24);
    assert_eq!(sweep().await.unwrap(), removed(1, 0));
    assert!(list_uploads(&s3, None, 10).await.is_empty());
    let late = complete(&s3, "k", &abandoned, vec![part]).await;
    assert_eq!(late, Err((404, "NoSuchUpload".to_owned())));
    assert_eq!(sweep().await.unwrap(), removed(0, 0));

    // Objects and what belongs to them stay; nothing else is left.
    assert!(get(&s3, "object").await.is_some());
    let head = s3.head_object().bucket(BUCKET).key("done").part_number(1);
    assert_eq!(head.send().await.unwrap().parts_count(), Some(1));
    for key in ["object", "done"] {
        let delete = s3.delete_object().bucket(BUCKET).key(key);
        delete.send().await.unwrap();
    }
    s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_parts_that_came_after_the_end() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    send_part(&s3, "k", &upload, 1, vec![1]).await;
    // Another process aborts; this one still remembers the record, and takes a part.
    let other = stand.another_gateway(&[]).await;
    let abort = other.s3().abort_multipart_upload().bucket(BUCKET).key("k");
    abort.upload_id(&upload).send().await.unwrap();
    send_part(&s3, "k", &upload, 2, vec![2]).await;
    let (sweeper, tenant) = provider(&stand, SweepConfig::default());
    let bucket = tenant.bucket(&BucketName::new(BUCKET).unwrap());
    assert_eq!(sweeper.sweep(&tenant, &bucket).await.unwrap().uploads, 0);
    hours_later(&stand, 1);
    let both = tokio::join!(
        sweeper.sweep(&tenant, &bucket),
        sweeper.sweep(&tenant, &bucket)
    );
    assert!(both.0.unwrap().uploads + both.1.unwrap().uploads >= 1);
    assert_eq!(
        sweeper.sweep(&tenant, &bucket).await.unwrap(),
        Swept::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_swept_because_it_is_written_to() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    begin(&s3, "k").await;
    hours_later(&stand, 8 * 24);
    let (mut sweeper, tenant) = provider(
        &stand,
        SweepConfig {
            period: Duration::ZERO,
            ..SweepConfig::default()
        },
    );
    let bucket = BucketName::new(BUCKET).unwrap();
    let request = |operation: AnyOperation| StorageRequest {
        context: RequestContext::new(Protocol::S3, None),
        caller: tenant.clone(),
        operation,
        guards: Guards::default(),
    };
    let key = ObjectKey::new("never there").unwrap();
    let read = DescribeObject {
        bucket: bucket.clone(),
        key: key.clone(),
        conditions: ReadConditions::default(),
        wants_parts: false,
    };
    assert!(sweeper.call(request(read.into())).await.is_err());
    sweeper.drained().await;
    assert_eq!(
        list_uploads(&s3, None, 10).await.len(),
        1,
        "a reader causes no deletion"
    );

    let (mut sweeper, _) = provider(
        &stand,
        SweepConfig {
            period: Duration::ZERO,
            ..SweepConfig::default()
        },
    );
    let write = DeleteObject {
        bucket,
        key,
        conditions: WriteConditions::default(),
    };
    sweeper.call(request(write.into())).await.unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !list_uploads(&s3, None, 10).await.is_empty() {
        look.tick().await;
    }
    sweeper.drained().await;
}
