//! One call of the Hub: how it is addressed and sent, and what comes back.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::provider::http::{
    AttemptNumber, CallName, Unrepeatable, is_answer_lost, unavailable, unexpected_json,
};
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::storage::{BucketId, Secret, StorageError};
use crate::telemetry::Upstream;

/// The largest answer that is taken: far above a page of 5,000 tree entries with paths of 1,024 bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A call that is ready to be sent.
#[derive(Debug)]
pub(super) struct Call {
    name: &'static str,
    method: Method,
    url: Url,
    body: Option<(&'static str, Bytes)>,
    is_unrepeatable: bool,
}

impl Call {
    pub(super) fn new(name: &'static str, method: Method, url: Url) -> Self {
        Self {
            name,
            method,
            url,
            body: None,
            is_unrepeatable: false,
        }
    }

    pub(super) fn get(name: &'static str, url: Url) -> Self {
        Self::new(name, Method::GET, url)
    }

    /// Attaches a body.
    pub(super) fn body(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.body = Some((content_type, body));
        self
    }

    /// Attaches a JSON body.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, StorageError> {
        let json = serde_json::to_vec(body)
            .map_err(|error| StorageError::internal(format!("cannot write JSON: {error}")))?;
        Ok(self.body("application/json", json.into()))
    }

    /// Forbids to repeat the call where it may have had its effect.
    pub(super) fn unrepeatable(mut self) -> Self {
        self.is_unrepeatable = true;
        self
    }
}

/// An answer, whatever its status, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// The call's name.
    pub(super) name: &'static str,
    /// Its status.
    pub(super) status: StatusCode,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Which attempt it answers, from 1.
    pub(super) attempt: u32,
    /// Its body.
    pub(super) body: Bytes,
}

impl Answer {
    /// Returns an accepted answer, or the error that a refusal means.
    pub(super) fn accepted(self, bucket: &BucketId) -> Result<Self, StorageError> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(error::refusal(&self, bucket))
    }

    /// Reads the body as JSON. Errors: `Unavailable` if it is none, or has another shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, StorageError> {
        serde_json::from_slice(&self.body)
            .map_err(|cause| error::senseless(self, &unexpected_json(&cause)))
    }

    /// Returns the query of the next page from the `Link` header, or `None` on the last page.
    ///
    /// Only the query is taken: whatever host and path the header names, the next call goes where this one went, so a
    /// token never reaches another origin.
    pub(super) fn next_page(&self) -> Option<String> {
        self.headers
            .get_all("link")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(", <"))
            .find_map(next_query)
    }
}

/// Returns the query of a link such as `<https://hub/path?cursor=x>; rel="next"`.
fn next_query(link: &str) -> Option<String> {
    let (target, parameters) = link.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let parameter = parameter.trim();
        parameter.eq_ignore_ascii_case("rel=\"next\"") || parameter.eq_ignore_ascii_case("rel=next")
    });
    let (_, query) = target.trim_start_matches(['<', ' ']).split_once('?')?;
    is_next.then(|| query.to_owned())
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// The error for whoever does not care about the difference.
    pub(super) error: StorageError,
    /// Whether the call may have had its effect.
    pub(super) is_lost: bool,
}

impl From<NoAnswer> for StorageError {
    fn from(no_answer: NoAnswer) -> Self {
        no_answer.error
    }
}

impl HubClient {
    /// Returns the address of an API path: the segments are percent-encoded, slashes within them too.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.shared.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("api").extend(segments);
        }
        url
    }

    /// Returns the address of a bucket, or of something below it.
    pub(super) fn bucket_url(&self, bucket: &BucketId, below: &[&str]) -> Url {
        let bucket = ["buckets", bucket.namespace.as_str(), bucket.name.as_str()];
        self.url(bucket.into_iter().chain(below.iter().copied()))
    }

    /// Reports whether there is enough of the token's budget for work that can wait.
    pub fn has_spare(&self, token: &Secret) -> bool {
        self.shared.budget.has_spare(token.id())
    }

    /// Sends a call and reads its answer to the end, whatever its status. An empty token sends none.
    pub(super) async fn send(&self, token: &Secret, call: Call) -> Result<Answer, NoAnswer> {
        let shared = &self.shared;
        let token_id = token.id();
        if let Err(error) = shared.budget.admit(token).await {
            return Err(NoAnswer {
                error,
                is_lost: false,
            });
        }
        let mut request = shared
            .http
            .request(call.method, call.url)
            .with_extension(CallName(call.name));
        if !token.is_empty() {
            request = request.bearer_auth(token.expose());
        }
        if call.is_unrepeatable {
            request = request.with_extension(Unrepeatable);
        }
        if let Some((content_type, body)) = call.body {
            shared
                .metrics
                .upstream_sent(Upstream::Hub, body.len() as u64);
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        let response = request.send().await.map_err(|error| NoAnswer {
            error: unavailable("hub", &error),
            is_lost: is_answer_lost(&error),
        })?;
        shared.budget.observe(token_id, &response);
        shared.clock.observe(response.headers());
        let answer = read(call.name, response).await?;
        shared
            .metrics
            .upstream_received(Upstream::Hub, answer.body.len() as u64);
        Ok(answer)
    }
}

/// Reads an answer's body. One that breaks off is safe to ask for again above: the retry below has seen a good head.
pub(super) async fn read(
    name: &'static str,
    mut response: reqwest::Response,
) -> Result<Answer, NoAnswer> {
    let broken = |reason: String| NoAnswer {
        error: StorageError::Unavailable {
            service: "hub",
            reason,
            is_safe_to_retry: true,
        },
        is_lost: true,
    };
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                return Err(broken(format!("its answer to `{name}` is too large")));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => return Err(broken(format!("its answer to `{name}` broke off"))),
        }
    }
    let attempt = response
        .extensions()
        .get()
        .map_or(1, |AttemptNumber(number)| *number);
    Ok(Answer {
        name,
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        attempt,
        body: body.freeze(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (link, query) in [
            (
                "<https://hub/api/x?cursor=a%3D%3D&limit=2>; rel=\"next\"",
                Some("cursor=a%3D%3D&limit=2"),
            ),
            ("</api/x?cursor=b>; title=t; rel=next", Some("cursor=b")),
            ("<https://hub/api/x?cursor=c>; rel=\"prev\"", None),
            ("<https://hub/api/x>; rel=\"next\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(next_query(link).as_deref(), query, "{link}");
        }
        let answer = Answer {
            name: "probe",
            status: StatusCode::OK,
            headers: [(
                "link".parse().unwrap(),
                "<https://h/?a=1>; rel=\"prev\", <https://h/?a=2>; rel=\"next\""
                    .parse()
                    .unwrap(),
            )]
            .into_iter()
            .collect(),
            attempt: 1,
            body: Bytes::new(),
        };
        assert_eq!(answer.next_page().as_deref(), Some("a=2"));
    }
}
