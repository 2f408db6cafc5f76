//! A stage for the handlers' tests: the whole router over a scripted stack that remembers what reached it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use time::macros::datetime;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::s3::{S3Config, router};
use crate::storage::{
    Announced, AnyOperation, AnyOutput, BucketCreated, BucketDeleted, BucketFound, BucketInfo,
    BucketList, BucketName, ByteStream, ContentHash, Credentials, FoundPart, Gateway, ListEntry,
    ObjectAppended, ObjectCopied, ObjectData, ObjectDeleted, ObjectDescription, ObjectFound,
    ObjectInfo, ObjectKey, ObjectMetadata, ObjectPage, ObjectSummary, ObjectWritten,
    ObjectsDeleted, PartCopied, PartNumber, PartPage, PartSummary, PartUploaded, ResolvedRange,
    Secret, SessionIssued, StorageError, StorageRequest, Tags, TagsDeleted, TagsFound, TagsPut,
    UploadAborted, UploadCompleted, UploadCreated, UploadEntry, UploadPage, UploadSummary,
    Visibility,
};
use crate::telemetry::Metrics;

/// The hash of every object on the stage.
pub(super) const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The entity tag that belongs to [`HASH`], in quotes.
pub(super) const ETAG: &str = "\"0123456789abcdef0123456789abcdef-1\"";

/// The id of every upload on the stage.
pub(super) const UPLOAD_ID: &str = "00112233445566778899aabbccddeeff";

/// The content of every object on the stage.
pub(super) const CONTENT: &[u8] = b"0123456789";

/// What reached the stack.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) caller: Credentials,
    pub(super) operation: AnyOperation,
    /// The whole payload, if the operation has one and the stack did not refuse.
    pub(super) payload: Bytes,
}

type Script = dyn Fn(&AnyOperation) -> Result<AnyOutput, StorageError> + Send + Sync;

/// The router with its stack.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) router: Router,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Stage {
    /// Everything succeeds.
    pub(super) fn new() -> Self {
        Self::answering(|operation| Ok(ordinary(operation)))
    }

    /// Everything fails, with bodies left unread.
    pub(super) fn failing(error: StorageError) -> Self {
        Self::answering(move |_| Err(error.clone()))
    }

    /// Answers as told. A payload is read to its end before a success, and not touched before a refusal.
    pub(super) fn answering(
        script: impl Fn(&AnyOperation) -> Result<AnyOutput, StorageError> + Send + Sync + 'static,
    ) -> Self {
        Self::configured(S3Config::default(), script)
    }

    pub(super) fn configured(
        config: S3Config,
        script: impl Fn(&AnyOperation) -> Result<AnyOutput, StorageError> + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::clone(&calls);
        let stack = tower::service_fn(move |request: StorageRequest<Credentials>| {
            perform(Arc::clone(&script), Arc::clone(&seen), request)
        });
        let gateway = Gateway::new(BoxCloneSyncService::new(stack));
        let router = router(gateway, config, Metrics::new());
        Self { router, calls }
    }

    /// Sends a request without a body: `GET /b/k`, then headers.
    pub(super) async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(line, headers, Body::empty()).await
    }

    /// Sends a request with a body.
    pub(super) async fn send(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "s3.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let collected = body.collect().await;
        Answer {
            status: head.status,
            headers: head.headers,
            is_whole: collected.is_ok(),
            body: collected
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default(),
        }
    }

    /// Returns the one call that reached the stack.
    pub(super) fn only_call(&self) -> Call {
        let mut calls = self.calls.lock().unwrap();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    /// Returns how many calls reached the stack.
    pub(super) fn call_count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

async fn perform(
    script: Arc<Script>,
    calls: Arc<Mutex<Vec<Call>>>,
    request: StorageRequest<Credentials>,
) -> Result<AnyOutput, StorageError> {
    let StorageRequest {
        caller,
        mut operation,
        ..
    } = request;
    let verdict = script(&operation);
    let mut payload = Vec::new();
    if verdict.is_ok()
        && let Some(sent) = operation.payload_mut()
    {
        while let Some(frame) = sent.body.next().await {
            payload.extend_from_slice(&frame?);
        }
    }
    if verdict.is_ok() {
        let payload = payload.into();
        calls.lock().unwrap().push(Call {
            caller,
            operation,
            payload,
        });
    }
    verdict
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body ended without an error.
    pub(super) is_whole: bool,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns a header, or the empty text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the text of the first element with this name, or the empty text.
    pub(super) fn element(&self, name: &str) -> &str {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let inner = text
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close));
        inner.map_or("", |(inner, _)| inner)
    }

    /// Returns status and error code.
    pub(super) fn verdict(&self) -> (u16, &str) {
        (self.status.as_u16(), self.element("Code"))
    }
}

pub(super) fn hash() -> ContentHash {
    HASH.parse().unwrap()
}

/// What is known of the one object.
pub(super) fn object() -> ObjectInfo {
    ObjectInfo {
        key: ObjectKey::new("k").unwrap(),
        size: CONTENT.len() as u64,
        hash: hash(),
        last_modified: datetime!(2026-01-02 03:04:05.678 UTC),
        mtime: None,
        metadata: ObjectMetadata {
            content_type: Some("text/plain".into()),
            cache_control: Some("no-store".into()),
            user: [("color".to_owned(), "red".to_owned())].into(),
            ..ObjectMetadata::default()
        },
        checksum: None,
        has_sidecar: false,
        parts_file: None,
    }
}

fn bucket() -> BucketInfo {
    BucketInfo {
        name: BucketName::new("b").unwrap(),
        created_at: datetime!(2026-01-02 03:04:05 UTC),
        visibility: Visibility::Private,
    }
}

/// Returns what a stack answers that holds one bucket with one object.
pub(super) fn ordinary(operation: &AnyOperation) -> AnyOutput {
    use AnyOperation as O;
    match operation {
        O::ListBuckets(_) => AnyOutput::ListBuckets(BucketList {
            owner: "ada".into(),
            buckets: vec![bucket()],
        }),
        O::CreateBucket(_) => AnyOutput::CreateBucket(BucketCreated {}),
        O::HeadBucket(_) => AnyOutput::HeadBucket(BucketFound { info: bucket() }),
        O::DeleteBucket(_) => AnyOutput::DeleteBucket(BucketDeleted {}),
        O::ListObjects(_) => AnyOutput::ListObjects(ObjectPage {
            entries: vec![ListEntry::Object(ObjectSummary {
                key: "k".into(),
                size: CONTENT.len() as u64,
                hash: hash(),
                last_modified: object().last_modified,
                mtime: None,
            })],
            next: None,
        }),
        O::HeadObject(head) => AnyOutput::HeadObject(ObjectFound {
            info: Arc::new(object()),
            part: head.part.map(only_part),
        }),
        O::GetObject(get) => {
            let range = get
                .range
                .map(|range| range.resolve(CONTENT.len() as u64).unwrap());
            let (start, end) = range.map_or((0, 10), |range| (range.start, range.end));
            let bytes = &CONTENT[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
            AnyOutput::GetObject(ObjectData {
                info: Arc::new(object()),
                range,
                part: get.part.map(only_part),
                body: ByteStream::from_bytes(bytes),
            })
        }
        O::PutObject(_) => AnyOutput::PutObject(ObjectWritten {
            size: 10,
            hash: hash(),
        }),
        O::AppendObject(_) => AnyOutput::AppendObject(ObjectAppended {
            size: 10,
            kept_bytes: 0,
            hash: hash(),
        }),
        O::CopyObject(_) => AnyOutput::CopyObject(ObjectCopied {
            hash: hash(),
            checksum: None,
            last_modified: object().last_modified,
        }),
        O::DeleteObject(_) => AnyOutput::DeleteObject(ObjectDeleted {}),
        O::IssueSession(_) => AnyOutput::IssueSession(SessionIssued {
            issuer: "AK".into(),
            access_key_id: "ASIATEST".into(),
            secret: Secret::new("temporary"),
            token: Secret::new("token"),
            expires_at: object().last_modified,
        }),
        O::DeleteObjects(delete) => AnyOutput::DeleteObjects(ObjectsDeleted {
            verdicts: delete.deletions.iter().map(|_| Ok(())).collect(),
        }),
        O::CreateUpload(_) => AnyOutput::CreateUpload(UploadCreated {
            upload_id: UPLOAD_ID.parse().unwrap(),
        }),
        O::UploadPart(_) => AnyOutput::UploadPart(PartUploaded {
            hash: hash(),
            size: 10,
            checksum: None,
        }),
        O::UploadPartCopy(_) => AnyOutput::UploadPartCopy(PartCopied {
            hash: hash(),
            size: 10,
            last_modified: object().last_modified,
        }),
        O::CompleteUpload(_) => AnyOutput::CompleteUpload(UploadCompleted {
            hash: hash(),
            size: 10,
            checksum: None,
        }),
        O::AbortUpload(_) => AnyOutput::AbortUpload(UploadAborted {}),
        O::ListParts(_) => AnyOutput::ListParts(PartPage {
            parts: vec![PartSummary {
                part_number: PartNumber::new(7).unwrap(),
                size: 10,
                hash: hash(),
                last_modified: object().last_modified,
                checksum: None,
            }],
            has_more: false,
            declared: None,
        }),
        O::ListUploads(_) => AnyOutput::ListUploads(UploadPage {
            entries: vec![UploadEntry::Upload(UploadSummary {
                key: "k".into(),
                upload_id: UPLOAD_ID.parse().unwrap(),
                initiated_at: object().last_modified,
            })],
            has_more: false,
        }),
        O::Identify(_) => unreachable!("S3 has no logins"),
        O::Announce(_) => AnyOutput::Announce(Announced {}),
        O::DescribeObject(_) => AnyOutput::DescribeObject(ObjectDescription {
            info: Arc::new(object()),
            parts: None,
        }),
        O::GetTags(_) => AnyOutput::GetTags(TagsFound {
            tags: Tags::default(),
        }),
        O::PutTags(_) => AnyOutput::PutTags(TagsPut {}),
        O::DeleteTags(_) => AnyOutput::DeleteTags(TagsDeleted {}),
    }
}

/// Returns what is found of the first part of an object that was uploaded whole.
fn only_part(_number: PartNumber) -> FoundPart {
    let end = CONTENT.len() as u64;
    FoundPart {
        range: Some(ResolvedRange { start: 0, end }),
        count: None,
    }
}
