//! Which operation a request asks for: one table over method, resource, and query.
//!
//! A sub-resource that is not in the table is refused by name. It is never taken for the plain operation: `PUT /b/k?acl`
//! must not store the policy document as the object.

use http::{HeaderMap, Method};

use crate::s3::fault::Fault;
use crate::s3::params::Params;
use crate::s3::sts;
use crate::s3::stub::Stub;
use crate::s3::target::Target;
use crate::storage::{BucketName, ObjectKey};

/// An operation on its checked resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Lists the buckets.
    ListBuckets,
    /// Asks the Security Token Service; for what, its body says.
    Sts,
    /// On a bucket.
    Bucket(BucketAction, BucketName),
    /// On an object.
    Object(ObjectAction, BucketName, ObjectKey),
}

/// Operations on a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BucketAction {
    Create,
    Head,
    Delete,
    Location,
    ListObjects,
    ListObjectsV2,
    ListVersions,
    ListUploads,
    DeleteObjects,
    PostForm,
    Stub(Stub),
}

/// Operations on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectAction {
    Get,
    Head,
    Put,
    Copy,
    Delete,
    CreateUpload,
    UploadPart,
    UploadPartCopy,
    CompleteUpload,
    AbortUpload,
    ListParts,
    Attributes,
    GetTagging,
    PutTagging,
    DeleteTagging,
    Stub(Stub),
}

impl Route {
    /// Finds the operation.
    ///
    /// Errors: NotImplemented with the parameter's name, MethodNotAllowed, InvalidBucketName, and InvalidArgument for keys
    /// that a Storage Bucket cannot hold.
    pub(super) fn choose(
        method: &Method,
        target: Target,
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Self, Fault> {
        check_version_id(params, &target)?;
        match target {
            Target::Service => {
                let selectors = selectors(params, SERVICE_ARGUMENTS);
                match (method.as_str(), selectors.as_slice()) {
                    ("GET", []) => Ok(Self::ListBuckets),
                    ("POST", []) if sts::is_form(headers) => Ok(Self::Sts),
                    (_, []) => Err(Fault::method_not_allowed(method, target.kind())),
                    (_, [first, ..]) => Err(Fault::parameter_not_implemented(method, first)),
                }
            }
            Target::Bucket(bucket) => {
                let action = bucket_action(method, params)?;
                Ok(Self::Bucket(action, BucketName::new(&bucket)?))
            }
            Target::Object(bucket, key) => {
                let action = object_action(method, params, headers)?;
                Ok(Self::Object(
                    action,
                    BucketName::new(&bucket)?,
                    ObjectKey::new(&key)?,
                ))
            }
        }
    }

    /// Reports whether this asks for more than the stack can tell from its operation: settings, attributes, tags, and versions
    /// are read by looking up or listing what strangers may look up and list where it is public. They are for members all the
    /// same. Operations that the stack knows as such are its own affair.
    pub(super) fn asks_for_settings(&self) -> bool {
        match self {
            Self::ListBuckets | Self::Sts => false,
            Self::Bucket(action, _) => match action {
                BucketAction::Stub(_) | BucketAction::ListVersions => true,
                BucketAction::Create
                | BucketAction::Head
                | BucketAction::Delete
                | BucketAction::Location
                | BucketAction::ListObjects
                | BucketAction::ListObjectsV2
                | BucketAction::ListUploads
                | BucketAction::DeleteObjects
                | BucketAction::PostForm => false,
            },
            Self::Object(action, ..) => match action {
                ObjectAction::Stub(_) | ObjectAction::Attributes | ObjectAction::GetTagging => true,
                ObjectAction::Get
                | ObjectAction::Head
                | ObjectAction::Put
                | ObjectAction::Copy
                | ObjectAction::Delete
                | ObjectAction::CreateUpload
                | ObjectAction::UploadPart
                | ObjectAction::UploadPartCopy
                | ObjectAction::CompleteUpload
                | ObjectAction::AbortUpload
                | ObjectAction::ListParts
                | ObjectAction::PutTagging
                | ObjectAction::DeleteTagging => false,
            },
        }
    }

    /// Returns S3's name of the operation, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::Sts => "Sts",
            Self::Bucket(action, _) => match action {
                BucketAction::Create => "CreateBucket",
                BucketAction::Head => "HeadBucket",
                BucketAction::Delete => "DeleteBucket",
                BucketAction::Location => "GetBucketLocation",
                BucketAction::ListObjects => "ListObjects",
                BucketAction::ListObjectsV2 => "ListObjectsV2",
                BucketAction::ListVersions => "ListObjectVersions",
                BucketAction::ListUploads => "ListMultipartUploads",
                BucketAction::DeleteObjects => "DeleteObjects",
                BucketAction::PostForm => "PostObject",
                BucketAction::Stub(stub) => stub.parameter(),
            },
            Self::Object(action, ..) => match action {
                ObjectAction::Get => "GetObject",
                ObjectAction::Head => "HeadObject",
                ObjectAction::Put => "PutObject",
                ObjectAction::Copy => "CopyObject",
                ObjectAction::Delete => "DeleteObject",
                ObjectAction::CreateUpload => "CreateMultipartUpload",
                ObjectAction::UploadPart => "UploadPart",
                ObjectAction::UploadPartCopy => "UploadPartCopy",
                ObjectAction::CompleteUpload => "CompleteMultipartUpload",
                ObjectAction::AbortUpload => "AbortMultipartUpload",
                ObjectAction::ListParts => "ListParts",
                ObjectAction::Attributes => "GetObjectAttributes",
                ObjectAction::GetTagging => "GetObjectTagging",
                ObjectAction::PutTagging => "PutObjectTagging",
                ObjectAction::DeleteTagging => "DeleteObjectTagging",
                ObjectAction::Stub(stub) => stub.parameter(),
            },
        }
    }
}

/// Parameters that refine the plain operation and do not choose another one.
const SERVICE_ARGUMENTS: &[&str] = &[
    "max-buckets",
    "prefix",
    "continuation-token",
    "bucket-region",
];
const LIST_ARGUMENTS: &[&str] = &[
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "key-marker",
    "version-id-marker",
    "upload-id-marker",
    "max-uploads",
];
const READ_ARGUMENTS: &[&str] = &[
    "partNumber",
    "part-number-marker",
    "max-parts",
    "encoding-type",
    "versionId",
    "response-content-type",
    "response-content-language",
    "response-expires",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
];
const WRITE_ARGUMENTS: &[&str] = &["versionId"];

fn bucket_action(method: &Method, params: &Params) -> Result<BucketAction, Fault> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let selectors = selectors(params, if is_read { LIST_ARGUMENTS } else { &[] });
    let action = match (method.as_str(), selectors.as_slice()) {
        ("GET", []) => list_action(params)?,
        ("GET", ["location"]) => BucketAction::Location,
        ("GET", ["versions"]) => BucketAction::ListVersions,
        ("GET", ["uploads"]) => BucketAction::ListUploads,
        ("GET", [name]) if let Some(stub) = Stub::of_bucket(name) => BucketAction::Stub(stub),
        ("HEAD", []) => BucketAction::Head,
        ("PUT", []) => BucketAction::Create,
        ("DELETE", []) => BucketAction::Delete,
        ("POST", ["delete"]) => BucketAction::DeleteObjects,
        ("POST", []) => BucketAction::PostForm,
        ("GET" | "HEAD", names) if are_unknown_arguments(params, names) => match *method {
            Method::HEAD => BucketAction::Head,
            _ => list_action(params)?,
        },
        ("GET" | "HEAD" | "PUT" | "DELETE" | "POST", [first, ..]) => {
            return Err(Fault::parameter_not_implemented(method, first));
        }
        _ => return Err(Fault::method_not_allowed(method, "BUCKET")),
    };
    Ok(action)
}

fn list_action(params: &Params) -> Result<BucketAction, Fault> {
    match params.get("list-type") {
        None => Ok(BucketAction::ListObjects),
        Some("2") => Ok(BucketAction::ListObjectsV2),
        Some(_) => Err(Fault::invalid_argument(
            "list-type",
            "Invalid List Type specified in query string",
        )),
    }
}

fn object_action(
    method: &Method,
    params: &Params,
    headers: &HeaderMap,
) -> Result<ObjectAction, Fault> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let selectors = selectors(
        params,
        if is_read {
            READ_ARGUMENTS
        } else {
            WRITE_ARGUMENTS
        },
    );
    let is_copy = headers.contains_key("x-amz-copy-source");
    let action = match (method.as_str(), selectors.as_slice()) {
        ("GET", []) => ObjectAction::Get,
        ("GET", ["uploadId"]) => ObjectAction::ListParts,
        ("GET", ["attributes"]) => ObjectAction::Attributes,
        ("GET", ["tagging"]) => ObjectAction::GetTagging,
        ("GET", [name]) if let Some(stub) = Stub::of_object(name) => ObjectAction::Stub(stub),
        ("HEAD", []) => ObjectAction::Head,
        ("PUT", ["tagging"]) => ObjectAction::PutTagging,
        ("PUT", []) if is_copy => ObjectAction::Copy,
        ("PUT", []) => ObjectAction::Put,
        ("PUT", ["partNumber", "uploadId"] | ["uploadId", "partNumber"]) if is_copy => {
            ObjectAction::UploadPartCopy
        }
        ("PUT", ["partNumber", "uploadId"] | ["uploadId", "partNumber"]) => {
            ObjectAction::UploadPart
        }
        ("PUT", ["partNumber"]) => {
            return Err(Fault::invalid_argument(
                "uploadId",
                "This operation does not accept a part number without an upload ID.",
            ));
        }
        ("PUT", ["uploadId"]) => {
            return Err(Fault::invalid_argument(
                "partNumber",
                "This operation needs a part number with the upload ID.",
            ));
        }
        ("POST", ["uploads"]) => ObjectAction::CreateUpload,
        ("POST", ["uploadId"]) => ObjectAction::CompleteUpload,
        ("DELETE", []) => ObjectAction::Delete,
        ("DELETE", ["uploadId"]) => ObjectAction::AbortUpload,
        ("DELETE", ["tagging"]) => ObjectAction::DeleteTagging,
        ("GET" | "HEAD", names) if are_unknown_arguments(params, names) => match *method {
            Method::HEAD => ObjectAction::Head,
            _ => ObjectAction::Get,
        },
        ("GET" | "HEAD" | "PUT" | "DELETE" | "POST", [first, ..]) => {
            return Err(Fault::parameter_not_implemented(method, first));
        }
        _ => return Err(Fault::method_not_allowed(method, "OBJECT")),
    };
    Ok(action)
}

/// Returns the parameters that choose an operation, in order and each once: all but the arguments of the plain operation,
/// what SDKs add for their own statistics (`x-id=PutObject`), and the parameters of a presigned URL.
fn selectors<'a>(params: &'a Params, arguments: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in params.iter() {
        let is_signing = name
            .get(..6)
            .is_some_and(|head| head.eq_ignore_ascii_case("x-amz-"));
        if name != "x-id" && !is_signing && !arguments.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reports whether the parameters only decorate a read, as `?v=3` or `?download=true` do, which S3 ignores. A parameter
/// without a value is a sub-resource, and so is `uploadId`, which lists parts.
fn are_unknown_arguments(params: &Params, names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| *name != "uploadId" && params.non_empty(name).is_some())
}

/// Objects have one version, `null`.
fn check_version_id(params: &Params, target: &Target) -> Result<(), Fault> {
    match (params.get("versionId"), target) {
        (None | Some("null"), _) => Ok(()),
        (Some(""), _) => Err(Fault::invalid_argument(
            "versionId",
            "Version id cannot be the empty string",
        )),
        (Some(version), Target::Object(_, key)) => Err(Fault::no_such_version(key, version)),
        (Some(_), Target::Service | Target::Bucket(_)) => Err(Fault::invalid_argument(
            "versionId",
            "This operation does not accept a version-id.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(line: &str) -> Result<&'static str, (u16, String)> {
        let mut words = line.split(' ');
        let method: Method = words.next().unwrap().parse().unwrap();
        let (path, query) = words
            .next()
            .map(|uri| uri.split_once('?').unwrap_or((uri, "")))
            .unwrap();
        let mut headers = HeaderMap::new();
        if words.next() == Some("copy") {
            headers.insert("x-amz-copy-source", "/b/k".parse().unwrap());
        }
        let target = Target::locate(None, path, &[]).unwrap();
        let params = Params::parse(Some(query)).unwrap();
        Route::choose(&method, target, &params, &headers)
            .map(|route| route.name())
            .map_err(|fault| {
                let detail = fault
                    .details
                    .first()
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default();
                (fault.status.as_u16(), detail)
            })
    }

    #[test]
    fn operations_are_found() {
        for (line, name) in [
            ("GET /", "ListBuckets"),
            ("GET /?max-buckets=3&x-id=ListBuckets", "ListBuckets"),
            ("PUT /b", "CreateBucket"),
            ("HEAD /b/", "HeadBucket"),
            ("DELETE /b", "DeleteBucket"),
            ("GET /b?location", "GetBucketLocation"),
            ("GET /b", "ListObjects"),
            (
                "GET /b?prefix=x&delimiter=/&marker=y&max-keys=3&encoding-type=url",
                "ListObjects",
            ),
            (
                "GET /b?list-type=2&continuation-token=x&start-after=y&fetch-owner=true",
                "ListObjectsV2",
            ),
            ("POST /b?delete", "DeleteObjects"),
            ("POST /b", "PostObject"),
            ("POST /b/", "PostObject"),
            ("POST /b?delete=&x-id=DeleteObjects", "DeleteObjects"),
            ("GET /b?versioning", "versioning"),
            ("GET /b/k", "GetObject"),
            (
                "GET /b/k?x-id=GetObject&response-content-type=a/b",
                "GetObject",
            ),
            ("GET /b/k?X-Amz-Algorithm=x&X-Amz-Signature=y", "GetObject"),
            ("GET /b/k?versionId=null&partNumber=1", "GetObject"),
            ("GET /b/k?download=true", "GetObject"),
            ("HEAD /b/k", "HeadObject"),
            ("PUT /b/k?x-id=PutObject", "PutObject"),
            ("PUT /b/k copy", "CopyObject"),
            ("DELETE /b/k", "DeleteObject"),
            ("POST /b/k?uploads", "CreateMultipartUpload"),
            ("PUT /b/k?partNumber=1&uploadId=u", "UploadPart"),
            (
                "PUT /b/k?uploadId=u&partNumber=1&x-id=UploadPart",
                "UploadPart",
            ),
            ("PUT /b/k?uploadId=u&partNumber=1 copy", "UploadPartCopy"),
            ("POST /b/k?uploadId=u", "CompleteMultipartUpload"),
            ("DELETE /b/k?uploadId=u", "AbortMultipartUpload"),
            ("GET /b/k?acl", "acl"),
            ("GET /b/k?tagging", "GetObjectTagging"),
            ("PUT /b/k?tagging&versionId=null", "PutObjectTagging"),
            (
                "DELETE /b/k?tagging&x-id=DeleteObjectTagging",
                "DeleteObjectTagging",
            ),
            (
                "GET /b?versions&key-marker=k&version-id-marker=null&prefix=p&delimiter=/",
                "ListObjectVersions",
            ),
            (
                "GET /b?uploads&key-marker=k&upload-id-marker=u&max-uploads=3",
                "ListMultipartUploads",
            ),
            (
                "GET /b/k?uploadId=u&max-parts=3&part-number-marker=4&x-id=ListParts",
                "ListParts",
            ),
            ("GET /b/k?attributes&versionId=null", "GetObjectAttributes"),
        ] {
            assert_eq!(choose(line), Ok(name), "{line}");
        }
    }

    #[test]
    fn unknown_subresources_are_refused_by_name() {
        for (line, name) in [
            ("PUT /b/k?acl", "acl"),
            ("PUT /b/k?retention", "retention"),
            ("PUT /b/k?something-new", "something-new"),
            ("PUT /b/k?something=new", "something"),
            ("PUT /b/k?prefix=x", "prefix"),
            ("GET /b/k?something-new", "something-new"),
            ("GET /b/k?something-new=", "something-new"),
            ("GET /b/k?torrent", "torrent"),
            ("HEAD /b/k?attributes", "attributes"),
            ("POST /b/k?restore", "restore"),
            ("POST /b/k?select&select-type=2", "select"),
            ("PUT /b?tagging", "tagging"),
            ("DELETE /b?tagging", "tagging"),
            ("HEAD /b/k?tagging", "tagging"),
            ("DELETE /b/k?something=new", "something"),
            ("PUT /b?versioning", "versioning"),
            ("PUT /b?policy", "policy"),
            ("PUT /b?cors", "cors"),
            ("DELETE /b?lifecycle", "lifecycle"),
            ("PUT /b?versions", "versions"),
            ("DELETE /b?uploads", "uploads"),
            ("HEAD /b/k?uploadId=u", "uploadId"),
            ("GET /b?inventory&id=1", "inventory"),
            ("GET /b?something-new", "something-new"),
            ("POST /?Action=AssumeRole", "Action"),
        ] {
            assert_eq!(choose(line), Err((501, name.to_owned())), "{line}");
        }
    }

    #[test]
    fn impossible_requests_are_refused() {
        for (line, status) in [
            ("PUT /", 405),
            ("POST /b/k", 405),
            ("PATCH /b/k", 405),
            ("PUT /b/k?partNumber=1", 400),
            ("PUT /b/k?uploadId=u", 400),
            ("GET /b/k?versionId=abc", 404),
            ("DELETE /b/k?versionId=abc", 404),
            ("GET /b/k?versionId=", 400),
            ("GET /b?versionId=abc", 400),
            ("GET /b?list-type=3", 400),
            ("GET /b%20c", 400),
            ("GET //k", 400),
            ("PUT /b//k", 400),
            ("PUT /b/.hugbucket/k", 400),
        ] {
            assert_eq!(
                choose(line).map_err(|(status, _)| status),
                Err(status),
                "{line}"
            );
        }
    }
}
