//! One request on its way through the adapter: what was received, and the caller on whose behalf the stack is asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::s3::body::{self, LentBody, Reclaim};
use crate::s3::config::S3Config;
use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::s3::integrity;
use crate::s3::params::Params;
use crate::s3::server::OverTls;
use crate::sigv4::{ClaimOptions, ContentSha256, Service, claim, verify_document};
use crate::storage::{
    Announce, AnyOperation, Credentials, Gateway, Integrity, Operation, Protocol, RequestContext,
    StorageError,
};

/// A request that was read but not judged.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Who asks.
    pub(super) caller: Caller,
    /// The headers, with those that a presigned URL carries in its query.
    pub(super) headers: HeaderMap,
    /// The query.
    pub(super) params: Params,
    /// The body as received.
    pub(super) body: LentBody,
    /// Settings of the adapter.
    pub(super) config: Arc<S3Config>,
    /// Where the client reached us, as URLs begin: scheme and host without a trailing slash.
    pub(super) origin: String,
    /// The path as received.
    pub(super) path: String,
    version: Version,
}

/// The way to the stack on behalf of one client; good for one operation.
#[derive(Debug)]
pub(super) struct Caller {
    gateway: Gateway,
    context: RequestContext,
    credentials: Credentials,
}

impl Caller {
    /// Reads who a request's head claims to come from, for this service.
    ///
    /// Errors: whatever is wrong with the signature's form.
    pub(super) fn read(
        head: &Parts,
        gateway: Gateway,
        config: &S3Config,
        service: Service<'_>,
    ) -> Result<Self, Fault> {
        let context = head.extensions.get::<RequestContext>().cloned();
        let context = context.unwrap_or_else(|| RequestContext::new(Protocol::S3, None));
        let is_trusted = comes_by_proxy(head, config);
        let options = ClaimOptions {
            region: config.requires_region.then_some(config.region.as_str()),
            service,
            trusts_forwarded_host: is_trusted,
            repairs_accept_encoding: is_trusted,
        };
        let credentials = claim(head, options).map_err(StorageError::from)?.into();
        Ok(Self {
            gateway,
            context,
            credentials,
        })
    }

    /// Returns the request's id.
    pub(super) fn request_id(&self) -> Arc<str> {
        Arc::clone(&self.context.request_id)
    }

    /// Has the stack judge an operation whose document is still to come.
    ///
    /// Errors: whatever refuses it without looking at the document.
    async fn announce(&self, coming: AnyOperation) -> Result<(), Fault> {
        let (context, credentials) = (self.context.clone(), self.credentials.clone());
        let announcement = Announce(Box::new(coming));
        let judged = self.gateway.call(context, credentials, announcement).await;
        judged.map(|_| ()).map_err(Fault::from_stack)
    }

    /// Replaces what the request's head claims by what its body does: a form is signed in its fields.
    pub(super) fn claiming(self, credentials: Credentials) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// Sends one operation through the stack.
    pub(super) async fn call<O: Operation>(self, operation: O) -> Result<O::Output, Fault> {
        self.gateway
            .call(self.context, self.credentials, operation)
            .await
            .map_err(Fault::from_stack)
    }
}

impl Exchange {
    /// Reads a request's head; `headers` are those of [`all_headers`].
    ///
    /// Errors: whatever is wrong with the signature's form, InvalidURI. The body is not touched.
    pub(super) fn read(
        head: &Parts,
        headers: HeaderMap,
        body: LentBody,
        params: Params,
        gateway: Gateway,
        config: Arc<S3Config>,
    ) -> Result<Self, Fault> {
        let caller = Caller::read(head, gateway, &config, Service::S3)?;
        let origin = origin(head, comes_by_proxy(head, &config));
        Ok(Self {
            caller,
            headers,
            params,
            body,
            config,
            origin,
            path: head.uri.path().to_owned(),
            version: head.version,
        })
    }

    /// Reports whether the request claims to be signed. The claim is judged by the stack.
    pub(super) fn is_signed(&self) -> bool {
        !matches!(self.caller.credentials, Credentials::Anonymous)
    }

    /// Checks that the upload says how long it is, and that it is not too long.
    ///
    /// Errors: MissingContentLength, EntityTooLarge.
    pub(super) fn check_length(&self, limit_bytes: u64) -> Result<(), Fault> {
        let decoded_length = match &self.caller.credentials {
            Credentials::SigV4(evidence) => evidence.decoded_length,
            Credentials::Anonymous | Credentials::Password { .. } => None,
        };
        body::check_length(decoded_length, &self.headers, self.version, limit_bytes)
    }

    /// Reads a document whole and checks it against what was signed and announced of it.
    ///
    /// A client that waits to be asked for the document is judged first, by `coming`: the operation without what the document will
    /// say. The whole operation is judged again, as all are.
    ///
    /// Returns the caller and the document. Errors: as the stack refuses `coming`; as [`LentBody::read_document`], BadDigest,
    /// XAmzContentSHA256Mismatch.
    pub(super) async fn read_document(
        self,
        limit_bytes: usize,
        announced: Integrity,
        coming: impl Into<AnyOperation>,
    ) -> Result<(Caller, Bytes), Fault> {
        if self.headers.contains_key(header::EXPECT) {
            // The first look at the body asks the client for it, so whoever is to be refused must be refused before.
            self.caller.announce(coming.into()).await?;
        }
        let signed = self.signed_payload();
        let patience = self.config.document_timeout;
        let document = self.body.read_document(limit_bytes, patience).await?;
        verify_document(signed, &document).map_err(StorageError::from)?;
        integrity::check_document(&announced, &document)?;
        Ok((self.caller, document))
    }

    /// Returns what the signature says of the payload.
    pub(super) fn signed_payload(&self) -> ContentSha256 {
        match &self.caller.credentials {
            Credentials::SigV4(evidence) => evidence.content_sha256,
            Credentials::Anonymous | Credentials::Password { .. } => ContentSha256::Unsigned,
        }
    }
}

/// Reads a body aside from its head, so that its rest can be dealt with whatever becomes of the request.
pub(super) fn lend_body(head: &Parts, body: Body) -> (LentBody, Reclaim) {
    body::lend(body, &head.headers, head.version)
}

/// Reports whether a trusted proxy sent the request. Not by the peer of the context, which may be the client that it names.
fn comes_by_proxy(head: &Parts, config: &S3Config) -> bool {
    let peer = connected_peer(&head.extensions);
    config.trusted_proxies.include(peer)
}

/// Returns the address at the other end of the connection: the client, or the nearest proxy.
pub(super) fn connected_peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}

/// Returns the headers with the `x-amz-*` parameters of a presigned URL among them: the JavaScript SDK moves headers there
/// (`x-amz-acl`, `x-amz-meta-*`), and S3 reads them as such. A header that was sent as one wins.
///
/// Checksums stay out: SDKs put that of an empty body there, since they do not know the body yet.
pub(super) fn all_headers(headers: &HeaderMap, params: &Params) -> HeaderMap {
    let mut all = headers.clone();
    for (name, value) in params.iter() {
        let name = name.to_ascii_lowercase();
        let is_header = name.starts_with("x-amz-")
            && !name.starts_with("x-amz-checksum-")
            && !name.starts_with("x-amz-sdk-")
            && !SIGNING_PARAMETERS.contains(&name.as_str());
        if !is_header || all.contains_key(&name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            all.insert(name, value);
        }
    }
    all
}

/// Parameters of a presigned URL that are about its signature.
const SIGNING_PARAMETERS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Returns the host that the client named: HTTP/2 has it in the URI, HTTP/1.1 in a header.
pub(super) fn host(head: &Parts) -> Option<&str> {
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(header::HOST)?.to_str().ok(),
    }
}

fn origin(head: &Parts, is_trusted: bool) -> String {
    let forwarded = |name| text(&head.headers, name).filter(|_| is_trusted);
    let scheme = match forwarded("x-forwarded-proto") {
        Some("https") => "https",
        None if head.extensions.get::<OverTls>().is_some() => "https",
        _ => "http",
    };
    let host = forwarded("x-forwarded-host")
        .or_else(|| host(head))
        .unwrap_or("localhost");
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_presigned_url_are_read_from_its_query() {
        let params = Params::parse(Some(
            "X-Amz-Signature=s&x-amz-acl=private&x-amz-meta-a=1&x-amz-meta-b=2&x-amz-checksum-crc32=AAAAAA%3D%3D\
             &x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject",
        ))
        .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-b", HeaderValue::from_static("sent"));
        let all = all_headers(&headers, &params);
        assert_eq!(all["x-amz-acl"], "private");
        assert_eq!(all["x-amz-meta-a"], "1");
        assert_eq!(all["x-amz-meta-b"], "sent");
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn the_origin_is_that_of_a_trusted_proxy_or_our_own() {
        let (mut head, ()) = http::Request::get("/b/k")
            .header("host", "inner:9000")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "s3.example.org")
            .body(())
            .unwrap()
            .into_parts();
        assert_eq!(origin(&head, false), "http://inner:9000");
        assert_eq!(origin(&head, true), "https://s3.example.org");
        head.extensions.insert(OverTls);
        assert_eq!(origin(&head, false), "https://inner:9000");
    }
}
