//! Answers and refusals of the Security Token Service in XML.

use http::StatusCode;
use time::format_description::well_known::Rfc3339;

use crate::s3::fault::Fault;
use crate::s3::xml::Document;
use crate::storage::SessionIssued;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// There are no accounts; clients want twelve digits.
const ACCOUNT: &str = "000000000000";

pub(super) fn role(issued: &SessionIssued, role: &str, name: &str, request_id: &str) -> Document {
    result("AssumeRole", request_id, |result| {
        result.element("AssumedRoleUser", |user| {
            user.text(
                "Arn",
                &format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}"),
            );
            user.text("AssumedRoleId", &format!("{}:{name}", issued.issuer));
        });
        credentials(result, issued);
    })
}

pub(super) fn federation(issued: &SessionIssued, name: &str, request_id: &str) -> Document {
    result("GetFederationToken", request_id, |result| {
        result.element("FederatedUser", |user| {
            user.text(
                "Arn",
                &format!("arn:aws:sts::{ACCOUNT}:federated-user/{name}"),
            );
            user.text("FederatedUserId", &format!("{ACCOUNT}:{name}"));
        });
        credentials(result, issued);
    })
}

/// The id is an access key id, or for temporary credentials `<access key id of the issuer>/<name>`.
pub(super) fn caller_identity(id: &str, request_id: &str) -> Document {
    result("GetCallerIdentity", request_id, |result| {
        result.text("Arn", &format!("arn:aws:iam::{ACCOUNT}:user/{id}"));
        result.text("UserId", id);
        result.text("Account", ACCOUNT);
    })
}

fn credentials(result: &mut Document, issued: &SessionIssued) {
    result.element("Credentials", |credentials| {
        credentials.text("AccessKeyId", &issued.access_key_id);
        credentials.text("SecretAccessKey", issued.secret.expose());
        credentials.text("SessionToken", issued.token.expose());
        let end = issued
            .expires_at
            .replace_nanosecond(0)
            .unwrap_or(issued.expires_at);
        credentials.text("Expiration", &end.format(&Rfc3339).unwrap_or_default());
    });
}

fn result(action: &str, request_id: &str, content: impl FnOnce(&mut Document)) -> Document {
    let mut document = Document::new();
    let root = format!("{action}Response");
    document.element_with(&root, &[("xmlns", NAMESPACE)], |root| {
        root.element(&format!("{action}Result"), content);
        root.element("ResponseMetadata", |metadata| {
            metadata.text("RequestId", request_id);
        });
    });
    document
}

/// Returns a refusal of S3 or of the stack as one of the Security Token Service, which has other codes for some.
pub(in crate::s3) fn in_sts_terms(mut fault: Fault) -> Fault {
    let (status, code) = match fault.code {
        "InvalidAccessKeyId" | "InvalidToken" => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
        "ExpiredToken" => (StatusCode::FORBIDDEN, "ExpiredToken"),
        "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" => {
            (StatusCode::BAD_REQUEST, "IncompleteSignature")
        }
        "MalformedXML" | "InvalidURI" => (StatusCode::BAD_REQUEST, "ValidationError"),
        "SlowDown" => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        "InternalError" => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
        code => (fault.status, code),
    };
    fault.status = status;
    fault.code = code;
    fault.is_of_sts = true;
    fault
}

/// Returns the document of a refusal.
pub(in crate::s3) fn error_document(fault: &Fault, request_id: &str) -> Document {
    let mut document = Document::new();
    document.element_with("ErrorResponse", &[("xmlns", NAMESPACE)], |root| {
        root.element("Error", |error| {
            let is_ours = fault.status.is_server_error();
            error.text("Type", if is_ours { "Receiver" } else { "Sender" });
            error.text("Code", fault.code);
            error.text("Message", &fault.message);
        });
        root.text("RequestId", request_id);
    });
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Secret, StorageError};

    #[test]
    fn credentials_are_where_sdks_look_for_them() {
        let issued = SessionIssued {
            issuer: "AK".into(),
            access_key_id: "ASIA".into(),
            secret: Secret::new("s<"),
            token: Secret::new("t"),
            expires_at: time::macros::datetime!(2026-01-02 03:04:05.678 UTC),
        };
        let credentials = "<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s&lt;</SecretAccessKey>\
                           <SessionToken>t</SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration></Credentials>";
        assert_eq!(
            role(&issued, "any", "job", "0123").to_string(),
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
                 <AssumedRoleUser><Arn>arn:aws:sts::000000000000:assumed-role/any/job</Arn>\
                 <AssumedRoleId>AK:job</AssumedRoleId></AssumedRoleUser>{credentials}</AssumeRoleResult>\
                 <ResponseMetadata><RequestId>0123</RequestId></ResponseMetadata></AssumeRoleResponse>"
            )
        );
        assert!(
            federation(&issued, "job", "0")
                .to_string()
                .contains(credentials)
        );
    }

    #[test]
    fn refusals_have_the_services_own_codes() {
        for (error, status, code) in [
            (StorageError::InvalidToken, 403, "InvalidClientTokenId"),
            (StorageError::ExpiredToken, 403, "ExpiredToken"),
            (StorageError::denied("no"), 403, "AccessDenied"),
        ] {
            let fault = in_sts_terms(error.into());
            assert_eq!((fault.status.as_u16(), fault.code), (status, code));
            let text = error_document(&fault, "0123").to_string();
            assert!(
                text.contains(&format!("<Type>Sender</Type><Code>{code}</Code>")),
                "{text}"
            );
        }
    }
}
