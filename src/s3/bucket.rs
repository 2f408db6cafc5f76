//! Buckets: list, create, look up, delete, and say where they are.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, iso_date};
use crate::s3::params::Params;
use crate::s3::stub::Stub;
use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;
use crate::s3::{integrity, unsupported};
use crate::storage::{
    BucketInfo, BucketName, CreateBucket, DeleteBucket, HeadBucket, HeadObject, ListBuckets,
    ObjectKey, ReadConditions, Visibility,
};

/// The most buckets on a page. Source: AWS, "ListBuckets".
const MAX_BUCKETS: usize = 10_000;

/// The longest configuration of a new bucket.
const MAX_CONFIGURATION_BYTES: usize = 64 << 10;

/// `GET /`
pub(super) async fn list(exchange: Exchange) -> Result<Response, Fault> {
    let page = BucketPage::read(&exchange.params)?;
    let region = exchange.config.region.clone();
    let list = exchange.caller.call(ListBuckets {}).await?;
    let (shown, next) = page.cut(&list.buckets, &region);
    let document = Document::result("ListAllMyBucketsResult", |root| {
        root.element("Owner", |owner| {
            owner.text("ID", s3_header::OWNER_ID);
            owner.text("DisplayName", &list.owner);
        });
        root.element("Buckets", |buckets| {
            for info in shown {
                buckets.element("Bucket", |bucket| {
                    bucket.text("Name", info.name.as_str());
                    bucket.text("CreationDate", &iso_date(info.created_at));
                    bucket.text("BucketRegion", &region);
                });
            }
        });
        root.optional("Prefix", page.prefix.as_deref());
        root.optional("ContinuationToken", next.as_deref());
    });
    Ok(document.into_response())
}

/// Which buckets a client wants to see.
#[derive(Debug)]
struct BucketPage {
    prefix: Option<String>,
    after: Option<String>,
    /// Only buckets of this region.
    region: Option<String>,
    max_buckets: usize,
}

impl BucketPage {
    /// Errors: InvalidArgument for a token that is not ours, and for a count outside 1 to 10,000.
    fn read(params: &Params) -> Result<Self, Fault> {
        let token = |token| {
            let name = BASE64
                .decode(token)
                .ok()
                .and_then(|name| String::from_utf8(name).ok());
            name.ok_or_else(|| {
                Fault::invalid_argument(
                    "continuation-token",
                    "The continuation token provided is incorrect",
                )
            })
        };
        let max_buckets = match params.count("max-buckets")? {
            None => MAX_BUCKETS,
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| (1..=MAX_BUCKETS).contains(number))
                .ok_or_else(|| {
                    Fault::invalid_argument(
                        "max-buckets",
                        "Argument max-buckets must be an integer between 1 and 10000",
                    )
                })?,
        };
        Ok(Self {
            prefix: params.non_empty("prefix").map(str::to_owned),
            after: params
                .non_empty("continuation-token")
                .map(token)
                .transpose()?,
            region: params.non_empty("bucket-region").map(str::to_owned),
            max_buckets,
        })
    }

    /// Cuts the page out of all buckets, which come by name and lie in `region`; returns it and the token of the next one.
    fn cut<'a>(
        &self,
        buckets: &'a [BucketInfo],
        region: &str,
    ) -> (Vec<&'a BucketInfo>, Option<String>) {
        if self.region.as_deref().is_some_and(|asked| asked != region) {
            return (Vec::new(), None);
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        let mut rest = buckets
            .iter()
            .filter(|info| info.name.as_str() > after && info.name.as_str().starts_with(prefix));
        let shown: Vec<_> = rest.by_ref().take(self.max_buckets).collect();
        let last = rest.next().and_then(|_| shown.last());
        let next = last.map(|info| BASE64.encode(info.name.as_str()));
        (shown, next)
    }
}

/// `PUT /bucket`
pub(super) async fn create(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    bucket.check_for_creation()?;
    let visibility = unsupported::visibility_of_new_bucket(&exchange.headers)?;
    let announced = integrity::announced(&exchange.headers)?;
    let location = format!("/{bucket}");
    let operation = CreateBucket { bucket, visibility };
    let (caller, document) = exchange
        .read_document(MAX_CONFIGURATION_BYTES, announced, operation.clone())
        .await?;
    check_configuration(&document)?;
    caller.call(operation).await?;
    let mut response = StatusCode::OK.into_response();
    response
        .headers_mut()
        .insert(header::LOCATION, s3_header::value(&location));
    Ok(response)
}

/// Accepts any region, and nothing else that a new bucket can be configured with.
///
/// Errors: MalformedXML; NotImplemented with the element's name.
pub(super) fn check_configuration(document: &[u8]) -> Result<(), Fault> {
    if document.trim_ascii().is_empty() {
        return Ok(());
    }
    let root = Element::parse(document, "CreateBucketConfiguration")?;
    match root
        .children
        .iter()
        .find(|child| child.name != "LocationConstraint")
    {
        Some(child) => Err(Fault::header_not_implemented(format!(
            "CreateBucketConfiguration/{}",
            child.name
        ))),
        None => Ok(()),
    }
}

/// `HEAD /bucket`
pub(super) async fn head(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let region = s3_header::value(&exchange.config.region);
    exchange.caller.call(HeadBucket { bucket }).await?;
    let mut response = StatusCode::OK.into_response();
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(s3_header::BUCKET_REGION, region);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    Ok(response)
}

/// `DELETE /bucket`
pub(super) async fn delete(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    exchange.caller.call(DeleteBucket { bucket }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /bucket?location`
pub(super) async fn location(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let region = exchange.config.region.clone();
    exchange.caller.call(HeadBucket { bucket }).await?;
    // S3's oldest region has no name here. Source: AWS, "GetBucketLocation".
    let constraint = if region == "us-east-1" { "" } else { &region };
    let mut document = Document::new();
    document.root_text("LocationConstraint", constraint);
    Ok(document.into_response())
}

/// `GET /bucket?acl` and its like
pub(super) async fn stub(
    exchange: Exchange,
    bucket: BucketName,
    stub: Stub,
) -> Result<Response, Fault> {
    let config = exchange.config;
    let operation = HeadBucket {
        bucket: bucket.clone(),
    };
    let found = exchange.caller.call(operation).await?;
    match config.cors.document(&bucket) {
        Some(rules) if stub == Stub::Cors => Ok(rules.into_response()),
        _ => stub.answer(found.info.visibility),
    }
}

/// `GET /bucket/key?acl` and its like
pub(super) async fn object_stub(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
    stub: Stub,
) -> Result<Response, Fault> {
    let conditions = ReadConditions::default();
    exchange
        .caller
        .call(HeadObject {
            bucket,
            key,
            part: None,
            conditions,
        })
        .await?;
    stub.answer(Visibility::Private)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::S3Config;
    use crate::s3::testing::{Stage, ordinary};
    use crate::storage::{AnyOperation, StorageError};

    fn buckets(names: &[&str]) -> Vec<BucketInfo> {
        let bucket = |name: &&str| BucketInfo {
            name: BucketName::new(name).unwrap(),
            created_at: time::OffsetDateTime::UNIX_EPOCH,
            visibility: Visibility::Private,
        };
        names.iter().map(bucket).collect()
    }

    fn page(query: &str, names: &[&str]) -> (Vec<String>, Option<String>) {
        let page = BucketPage::read(&Params::parse(Some(query)).unwrap()).unwrap();
        let buckets = buckets(names);
        let (shown, next) = page.cut(&buckets, "us-east-1");
        (
            shown.iter().map(|info| info.name.to_string()).collect(),
            next,
        )
    }

    #[test]
    fn buckets_are_paged_by_name() {
        let names = ["a1", "a2", "a3", "b"];
        assert_eq!(page("", &names), (names.map(String::from).to_vec(), None));
        let (shown, next) = page("max-buckets=2&prefix=a", &names);
        assert_eq!(shown, ["a1", "a2"]);
        let query = format!(
            "max-buckets=2&prefix=a&continuation-token={}",
            next.unwrap()
        );
        assert_eq!(page(&query, &names), (vec!["a3".to_owned()], None));
        assert_eq!(page("bucket-region=us-east-1", &names).0.len(), 4);
        assert_eq!(page("bucket-region=eu-west-1", &names), (vec![], None));
    }

    #[test]
    fn wrong_pages_are_refused() {
        for query in [
            "max-buckets=0",
            "max-buckets=10001",
            "continuation-token=%25",
        ] {
            let fault = BucketPage::read(&Params::parse(Some(query)).unwrap()).unwrap_err();
            assert_eq!(fault.code, "InvalidArgument", "{query}");
        }
    }

    #[test]
    fn a_new_bucket_takes_any_region_and_nothing_else() {
        let check = |inner: &str| {
            let document =
                format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
            check_configuration(document.as_bytes()).map_err(|fault| fault.code)
        };
        assert_eq!(
            check("<LocationConstraint>eu-north-1</LocationConstraint>"),
            Ok(())
        );
        assert_eq!(check("<Tags/>"), Err("NotImplemented"));
        assert!(check_configuration(b" \n").is_ok());
        assert!(check_configuration(b"<Other/>").is_err());
    }

    #[tokio::test]
    async fn buckets_are_listed_with_their_owner() {
        let answer = Stage::new().ask("GET /", &[]).await;
        assert_eq!(answer.header("content-type"), "application/xml");
        assert_eq!(
            (answer.element("Name"), answer.element("DisplayName")),
            ("b", "ada")
        );
        assert_eq!(answer.element("CreationDate"), "2026-01-02T03:04:05.000Z");
    }

    #[tokio::test]
    async fn buckets_come_and_go() {
        let stage = Stage::new();
        let answer = stage
            .ask("PUT /my-bucket", &[("x-amz-acl", "public-read")])
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (200, "/my-bucket")
        );
        let AnyOperation::CreateBucket(create) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(create.visibility, Some(Visibility::Public));

        let answer = stage.ask("HEAD /my-bucket", &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-amz-bucket-region")),
            (200, "us-east-1")
        );
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::HeadBucket(_)
        ));

        assert_eq!(stage.ask("DELETE /my-bucket", &[]).await.status, 204);
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::DeleteBucket(_)
        ));
    }

    #[tokio::test]
    async fn names_for_new_buckets_are_narrower() {
        let stage = Stage::new();
        for name in ["My_Bucket", "ab", "1.2.3.4"] {
            let answer = stage.ask(&format!("PUT /{name}"), &[]).await;
            assert_eq!(answer.verdict(), (400, "InvalidBucketName"), "{name}");
        }
        assert_eq!(stage.call_count(), 0);
        assert_eq!(stage.ask("HEAD /My_Bucket", &[]).await.status, 200);
    }

    #[tokio::test]
    async fn the_region_is_named_unless_it_is_the_oldest() {
        let at = async |region: &str| {
            let config = S3Config {
                region: region.into(),
                ..S3Config::default()
            };
            let stage = Stage::configured(config, |operation| Ok(ordinary(operation)));
            stage.ask("GET /b?location", &[]).await.text().to_owned()
        };
        assert!(
            at("us-east-1")
                .await
                .ends_with("/2006-03-01/\"></LocationConstraint>")
        );
        assert!(
            at("eu-north-1")
                .await
                .ends_with(">eu-north-1</LocationConstraint>")
        );
    }

    #[tokio::test]
    async fn stubs_answer_only_for_what_exists() {
        let stage = Stage::new();
        assert_eq!(
            stage.ask("GET /b?policy", &[]).await.verdict(),
            (404, "NoSuchBucketPolicy")
        );
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::HeadBucket(_)
        ));
        assert_eq!(
            stage.ask("GET /b/k?acl", &[]).await.element("Permission"),
            "FULL_CONTROL"
        );
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::HeadObject(_)
        ));
        let absent = Stage::failing(StorageError::NoSuchBucket { bucket: "b".into() });
        assert_eq!(
            absent.ask("GET /b?policy", &[]).await.verdict(),
            (404, "NoSuchBucket")
        );
    }
}
