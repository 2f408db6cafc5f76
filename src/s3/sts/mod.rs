//! The part of AWS's Security Token Service that is answered on the S3 listener: temporary credentials for whoever holds a key.
//!
//! `POST /` with a form: AssumeRole, GetFederationToken, and GetCallerIdentity, signed for the service `sts`. There are no roles: the
//! caller's own entitlement is what it assumes, narrowed by the policy that it sends. Whatever else a request asks for is refused
//! and never ignored.
//!
//! | file | holds |
//! |---|---|
//! | `form` | what a request asks for |
//! | `document` | answers and refusals in XML |
//!
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html>.

mod document;
mod form;

pub(super) use document::{error_document, in_sts_terms};

use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::s3::access_log::Note;
use crate::s3::body::LentBody;
use crate::s3::exchange::Caller;
use crate::s3::fault::Fault;
use crate::s3::sts::form::Asked;
use crate::storage::Identify;

/// The longest form: a policy of 2,048 characters, each escaped in three, and the rest.
const MAX_FORM_BYTES: usize = 16 << 10;

/// Reports whether a request to the service itself brings a form, as those of the Security Token Service do.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    kind.trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What the handler needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    /// Makes a caller of the request's head, for a body of this SHA-256 in hex.
    pub(super) caller: &'a (dyn Fn(&Parts, &str) -> Result<Caller, Fault> + Sync),
    /// How long the form may take to arrive.
    pub(super) patience: std::time::Duration,
}

/// Answers a request.
///
/// Errors: in the words of the Security Token Service.
pub(super) async fn answer(
    surroundings: Surroundings<'_>,
    head: &Parts,
    body: LentBody,
    note: &mut Note,
) -> Result<Response, Fault> {
    let answered = answer_form(surroundings, head, body, note).await;
    answered.map_err(in_sts_terms)
}

async fn answer_form(
    surroundings: Surroundings<'_>,
    head: &Parts,
    body: LentBody,
    note: &mut Note,
) -> Result<Response, Fault> {
    let form = body
        .read_document(MAX_FORM_BYTES, surroundings.patience)
        .await?;
    let body_sha256 = hex::encode(Sha256::digest(&form));
    let caller = (surroundings.caller)(head, &body_sha256)?;
    let request_id = caller.request_id();
    let asked = Asked::read(&form)?;
    note.operation = asked.name();
    let document = match asked {
        Asked::CallerIdentity => {
            let identity = caller.call(Identify).await?;
            document::caller_identity(&identity.principal.id, &request_id)
        }
        Asked::Role { role, session } => {
            let name = session.name.clone();
            let issued = caller.call(session).await?;
            document::role(&issued, &role, &name, &request_id)
        }
        Asked::Federation { session } => {
            let name = session.name.clone();
            let issued = caller.call(session).await?;
            document::federation(&issued, &name, &request_id)
        }
    };
    Ok(document.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{Answer, Stage};
    use crate::storage::{AnyOperation, Credentials, StorageError};

    const FORM: &str =
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::0:role/any&RoleSessionName=job";

    /// Sends a form that is signed for a service, as far as the adapter can tell.
    async fn ask(stage: &Stage, service: &str, form: &str, more: &[(&str, &str)]) -> Answer {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AK/20260102/us-east-1/{service}/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature={}",
            "a".repeat(64)
        );
        let own = [
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("x-amz-date", "20260102T030405Z"),
            ("authorization", authorization.as_str()),
        ];
        let headers = [&own, more].concat();
        stage.send("POST /", &headers, form.to_owned()).await
    }

    #[tokio::test]
    async fn credentials_are_asked_of_the_stack_and_handed_out() {
        let stage = Stage::new();
        let answer = ask(&stage, "sts", FORM, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.element("SecretAccessKey"), "temporary");
        assert_eq!(
            answer.element("RequestId"),
            answer.header("x-amz-request-id")
        );
        let call = stage.only_call();
        assert!(matches!(call.operation, AnyOperation::IssueSession(_)));
        let Credentials::SigV4(evidence) = call.caller else {
            panic!("not signed");
        };
        // What was signed of the body is what came, although no header says so.
        let digest = hex::encode(Sha256::digest(FORM));
        assert!(evidence.canonical_requests[0].ends_with(&digest));
        assert_eq!(evidence.scope.service, "sts");
    }

    #[tokio::test]
    async fn what_is_malformed_reaches_nothing() {
        let stage = Stage::new();
        for (service, form, more, code) in [
            ("s3", FORM, None, "IncompleteSignature"),
            ("sts", "Action=Other", None, "InvalidAction"),
            ("sts", "", None, "MissingAction"),
            (
                "sts",
                FORM,
                Some(("x-amz-content-sha256", "UNSIGNED-PAYLOAD")),
                "InvalidRequest",
            ),
        ] {
            let answer = ask(&stage, service, form, more.as_slice()).await;
            assert_eq!(answer.element("Code"), code, "{}", answer.text());
            assert!(answer.text().contains("<ErrorResponse xmlns"));
        }
        let long = format!("{FORM}&Policy={}", "x".repeat(MAX_FORM_BYTES));
        let answer = ask(&stage, "sts", &long, &[]).await;
        assert_eq!(answer.verdict(), (400, "ValidationError"));
        let presigned = "POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=x";
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(stage.send(presigned, &kind, FORM).await.status, 400);
        // Anything else at this address is what it was.
        assert_eq!(
            stage.send("POST /", &[], FORM).await.verdict(),
            (405, "MethodNotAllowed")
        );
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn refusals_of_the_stack_are_in_the_services_words() {
        let error = StorageError::InvalidAccessKeyId {
            access_key_id: "AK".into(),
        };
        let answer = ask(&Stage::failing(error), "sts", FORM, &[]).await;
        assert_eq!(answer.verdict(), (403, "InvalidClientTokenId"));
    }
}
