//! Refusals in S3's terms, and how they are rendered.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use crate::s3::header as s3_header;
use crate::s3::sts;
use crate::s3::xml::Document;
use crate::storage::StorageError;

/// A refusal in S3's terms.
///
/// Handlers return it as their error. It travels to the edge as an extension of an empty response, because only the edge
/// knows the request id, the resource, and whether a body may be sent at all.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// S3's error code.
    pub(super) code: &'static str,
    /// A sentence for people.
    pub(super) message: String,
    /// Further elements of the error document, in order.
    pub(super) details: Vec<(&'static str, String)>,
    /// Further headers of the response.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the stack decided so, and has counted it.
    pub(super) is_from_stack: bool,
    /// Whether the client speaks to the Security Token Service, whose documents are others.
    pub(super) is_of_sts: bool,
}

impl Fault {
    /// Returns a refusal without further elements.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            headers: Vec::new(),
            is_from_stack: false,
            is_of_sts: false,
        }
    }

    /// Returns the refusal as one that the stack decided and has counted.
    pub(super) fn from_stack(error: StorageError) -> Self {
        Self {
            is_from_stack: true,
            ..error.into()
        }
    }

    /// Returns a refusal with status 400.
    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Adds an element to the error document.
    #[must_use]
    pub(super) fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.details.push((element, value.into()));
        self
    }

    /// Adds a header to the response; a value that no header can have is left out.
    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// A header or parameter has a value that it cannot have.
    pub(super) fn invalid_argument(name: &'static str, reason: impl Into<String>) -> Self {
        Self::bad("InvalidArgument", reason).with("ArgumentName", name)
    }

    /// The request contradicts itself or lacks something.
    pub(super) fn invalid_request(reason: impl Into<String>) -> Self {
        Self::bad("InvalidRequest", reason)
    }

    /// The XML document is not what the operation takes.
    pub(super) fn malformed_xml(reason: impl fmt::Display) -> Self {
        Self::bad(
            "MalformedXML",
            format!(
                "The XML you provided was not well-formed or did not validate against our published schema: {reason}."
            ),
        )
    }

    /// Content-MD5 is not the base64 of 16 bytes.
    pub(super) fn invalid_digest() -> Self {
        Self::bad(
            "InvalidDigest",
            "The Content-MD5 you specified was invalid.",
        )
    }

    /// User metadata is larger than 2 KiB.
    pub(super) fn metadata_too_large(size: usize, limit: usize) -> Self {
        Self::bad(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size.",
        )
        .with("Size", size.to_string())
        .with("MaxSizeAllowed", limit.to_string())
    }

    /// The header section is larger than the gateway takes.
    pub(super) fn headers_too_large(limit: usize) -> Self {
        Self::bad(
            "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed request header section size.",
        )
        .with("MaxSizeAllowed", limit.to_string())
    }

    /// There are too many headers.
    pub(super) fn too_many_headers(limit: usize) -> Self {
        Self::bad(
            "RequestHeaderSectionTooLarge",
            "Your request has more headers than the maximum allowed number.",
        )
        .with("MaxHeadersAllowed", limit.to_string())
    }

    /// The method does not exist on this kind of resource.
    pub(super) fn method_not_allowed(method: &http::Method, resource_type: &'static str) -> Self {
        let allowed = match resource_type {
            "SERVICE" => "GET",
            _ => "GET, HEAD, PUT, POST, DELETE",
        };
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )
        .with("Method", method.as_str())
        .with("ResourceType", resource_type)
        .with_header(header::ALLOW, allowed)
    }

    /// A header asks for something that the gateway does not do.
    pub(super) fn header_not_implemented(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            format!("The header `{name}` implies functionality that is not implemented."),
        )
        .with("Header", name)
    }

    /// A query parameter or sub-resource names something that the gateway does not do.
    pub(super) fn parameter_not_implemented(method: &http::Method, name: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            format!("`{method}` with the query parameter `{name}` is not implemented."),
        )
        .with("Parameter", name)
    }

    /// A sub-resource that a client asks for, and that is not configured.
    pub(super) fn not_configured(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Objects have one version, `null`, and the client asks for another.
    pub(super) fn no_such_version(key: &str, version: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchVersion",
            "The specified version does not exist.",
        )
        .with("Key", key)
        .with("VersionId", version)
    }

    /// A handler panicked.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "We encountered an internal error. Please try again.",
        )
    }

    /// Returns the error document.
    pub(super) fn document(&self, resource: &str, request_id: &str) -> Document {
        if self.is_of_sts {
            return sts::error_document(self, request_id);
        }
        let mut document = Document::new();
        self.write(&mut document, resource, request_id);
        document
    }

    /// Returns the error document for an answer whose declaration was already sent.
    pub(super) fn fragment(&self, resource: &str, request_id: &str) -> Document {
        let mut document = Document::fragment();
        self.write(&mut document, resource, request_id);
        document
    }

    fn write(&self, document: &mut Document, resource: &str, request_id: &str) {
        document.element("Error", |error| {
            error.text("Code", self.code);
            error.text("Message", &self.message);
            for (element, value) in &self.details {
                error.text(element, value);
            }
            error.text("Resource", resource);
            error.text("RequestId", request_id);
            error.text("HostId", s3_header::HOST_ID);
        });
    }

    /// Returns the response: the document, or the headers alone for HEAD and 304.
    pub(super) fn render(self, is_head: bool, resource: &str, request_id: &str) -> Response {
        let mut response = if is_head || self.status == StatusCode::NOT_MODIFIED {
            self.status.into_response()
        } else {
            (self.status, self.document(resource, request_id)).into_response()
        };
        response.headers_mut().extend(self.headers);
        response
    }
}

impl IntoResponse for Fault {
    /// Hands the fault to the edge, which renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_escaped_and_names_the_request() {
        let fault = Fault::from(StorageError::NoSuchKey { key: "a<b".into() });
        let document = fault.document("/bucket/a<b", "0123").to_string();
        assert_eq!(
            document,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>The specified key does not exist.</Message><Key>a&lt;b</Key>\
             <Resource>/bucket/a&lt;b</Resource><RequestId>0123</RequestId><HostId>hugbucket</HostId></Error>"
        );
    }
}
