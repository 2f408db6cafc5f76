//! Sub-resources that clients read in passing: each is answered as S3 answers a bucket on which it was never set.
//!
//! The bucket or object is looked up first, so that a stub tells nothing to strangers and nothing about what is not there.
//! Setting any of them is refused by name.

use axum::response::{IntoResponse, Response};

use crate::s3::fault::Fault;
use crate::s3::header::OWNER_ID;
use crate::s3::xml::Document;
use crate::storage::Visibility;

/// A sub-resource that is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stub {
    Acl,
    Accelerate,
    Cors,
    Encryption,
    LegalHold,
    Lifecycle,
    Logging,
    Notification,
    ObjectLock,
    OwnershipControls,
    Policy,
    PolicyStatus,
    PublicAccessBlock,
    Replication,
    RequestPayment,
    Retention,
    Tagging,
    Versioning,
    Website,
}

impl Stub {
    /// Returns the stub behind a bucket's query parameter.
    pub(super) fn of_bucket(parameter: &str) -> Option<Self> {
        Some(match parameter {
            "acl" => Self::Acl,
            "accelerate" => Self::Accelerate,
            "cors" => Self::Cors,
            "encryption" => Self::Encryption,
            "lifecycle" => Self::Lifecycle,
            "logging" => Self::Logging,
            "notification" => Self::Notification,
            "object-lock" => Self::ObjectLock,
            "ownershipControls" => Self::OwnershipControls,
            "policy" => Self::Policy,
            "policyStatus" => Self::PolicyStatus,
            "publicAccessBlock" => Self::PublicAccessBlock,
            "replication" => Self::Replication,
            "requestPayment" => Self::RequestPayment,
            "tagging" => Self::Tagging,
            "versioning" => Self::Versioning,
            "website" => Self::Website,
            _ => return None,
        })
    }

    /// Returns the stub behind an object's query parameter.
    pub(super) fn of_object(parameter: &str) -> Option<Self> {
        Some(match parameter {
            "acl" => Self::Acl,
            "legal-hold" => Self::LegalHold,
            "retention" => Self::Retention,
            _ => return None,
        })
    }

    /// Returns the query parameter.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Accelerate => "accelerate",
            Self::Cors => "cors",
            Self::Encryption => "encryption",
            Self::LegalHold => "legal-hold",
            Self::Lifecycle => "lifecycle",
            Self::Logging => "logging",
            Self::Notification => "notification",
            Self::ObjectLock => "object-lock",
            Self::OwnershipControls => "ownershipControls",
            Self::Policy => "policy",
            Self::PolicyStatus => "policyStatus",
            Self::PublicAccessBlock => "publicAccessBlock",
            Self::Replication => "replication",
            Self::RequestPayment => "requestPayment",
            Self::Retention => "retention",
            Self::Tagging => "tagging",
            Self::Versioning => "versioning",
            Self::Website => "website",
        }
    }

    /// Returns what S3 answers where it was never set. A public bucket's ACL lets everybody read.
    ///
    /// Errors: the sub-resource's own 404.
    pub(super) fn answer(self, visibility: Visibility) -> Result<Response, Fault> {
        let empty = |root| Ok(Document::result(root, |_| {}).into_response());
        let absent = |code, message| Err(Fault::not_configured(code, message));
        match self {
            Self::Acl => Ok(acl(visibility).into_response()),
            Self::Accelerate => empty("AccelerateConfiguration"),
            Self::Cors => absent(
                "NoSuchCORSConfiguration",
                "The CORS configuration does not exist.",
            ),
            Self::Encryption => absent(
                "ServerSideEncryptionConfigurationNotFoundError",
                "The server side encryption configuration was not found.",
            ),
            Self::LegalHold | Self::Retention => absent(
                "NoSuchObjectLockConfiguration",
                "The specified object does not have an object lock configuration.",
            ),
            Self::Lifecycle => absent(
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist.",
            ),
            Self::Logging => empty("BucketLoggingStatus"),
            Self::Notification => empty("NotificationConfiguration"),
            Self::ObjectLock => absent(
                "ObjectLockConfigurationNotFoundError",
                "Object Lock configuration does not exist for this bucket.",
            ),
            Self::OwnershipControls => absent(
                "OwnershipControlsNotFoundError",
                "The bucket ownership controls were not found.",
            ),
            Self::Policy | Self::PolicyStatus => {
                absent("NoSuchBucketPolicy", "The bucket policy does not exist.")
            }
            Self::PublicAccessBlock => absent(
                "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found.",
            ),
            Self::Replication => absent(
                "ReplicationConfigurationNotFoundError",
                "The replication configuration was not found.",
            ),
            Self::RequestPayment => {
                let payer = Document::result("RequestPaymentConfiguration", |root| {
                    root.text("Payer", "BucketOwner");
                });
                Ok(payer.into_response())
            }
            Self::Tagging => absent("NoSuchTagSet", "The TagSet does not exist."),
            Self::Versioning => empty("VersioningConfiguration"),
            Self::Website => absent(
                "NoSuchWebsiteConfiguration",
                "The specified bucket does not have a website configuration.",
            ),
        }
    }
}

/// The owner has every right, and nobody else has any but to read what is public.
fn acl(visibility: Visibility) -> Document {
    Document::result("AccessControlPolicy", |root| {
        root.element("Owner", |owner| owner.text("ID", OWNER_ID));
        root.element("AccessControlList", |list| {
            grant(list, "CanonicalUser", ("ID", OWNER_ID), "FULL_CONTROL");
            if visibility == Visibility::Public {
                grant(list, "Group", ("URI", ALL_USERS), "READ");
            }
        });
    })
}

/// S3's name for everybody.
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

fn grant(list: &mut Document, kind: &str, (name, value): (&str, &str), permission: &str) {
    let attributes = [
        ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
        ("xsi:type", kind),
    ];
    list.element("Grant", |grant| {
        grant.element_with("Grantee", &attributes, |grantee| grantee.text(name, value));
        grant.text("Permission", permission);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_lead_back_to_their_stub() {
        for name in [
            "acl",
            "policy",
            "cors",
            "tagging",
            "versioning",
            "object-lock",
        ] {
            assert_eq!(Stub::of_bucket(name).map(Stub::parameter), Some(name));
        }
        assert_eq!(Stub::of_object("policy"), None);
        assert_eq!(Stub::of_bucket("location"), None);
    }

    #[test]
    fn what_was_never_set_is_absent_or_empty() {
        for (name, code) in [
            ("policy", "NoSuchBucketPolicy"),
            ("cors", "NoSuchCORSConfiguration"),
            ("lifecycle", "NoSuchLifecycleConfiguration"),
            ("tagging", "NoSuchTagSet"),
            ("website", "NoSuchWebsiteConfiguration"),
            (
                "encryption",
                "ServerSideEncryptionConfigurationNotFoundError",
            ),
        ] {
            let fault = Stub::of_bucket(name)
                .unwrap()
                .answer(Visibility::Private)
                .unwrap_err();
            assert_eq!((fault.status.as_u16(), fault.code), (404, code));
        }
        for name in [
            "acl",
            "versioning",
            "logging",
            "notification",
            "accelerate",
            "requestPayment",
        ] {
            assert!(
                Stub::of_bucket(name)
                    .unwrap()
                    .answer(Visibility::Private)
                    .is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn only_a_public_bucket_lets_everybody_read() {
        assert!(acl(Visibility::Public).to_string().contains(ALL_USERS));
        assert!(!acl(Visibility::Private).to_string().contains(ALL_USERS));
    }
}
