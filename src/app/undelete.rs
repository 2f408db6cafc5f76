//! `hugbucket undelete`: brings back what was overwritten or deleted, in buckets where undo is on.
//!
//! It works on the Hub with the configuration of the gateway, whether or not one is running. A gateway that runs sees what
//! was brought back once its file infos have ended their life.

use futures::{StreamExt, stream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::Failure;
use crate::app::assemble::provider_config;
use crate::app::cli::UndeleteArguments;
use crate::app::upstream::Upstream;
use crate::config::Config;
use crate::provider::HfProvider;
use crate::provider::undo::{CopiesOf, KeptCopy, copy_at};
use crate::storage::{BucketId, BucketName, ObjectKey, Principal, StorageError, Tenant};
use crate::telemetry::Metrics;

/// Objects brought back at the same time; they share calls.
const AT_ONCE: usize = 500;

/// Lists copies, or brings objects back.
///
/// Errors: the target is none; there is no copy; something newer stands there; what the Hub says.
pub(super) async fn run(config: &Config, arguments: &UndeleteArguments) -> Result<(), Failure> {
    let target = Target::parse(&arguments.target).map_err(Failure::configuration)?;
    let upstream = Upstream::open(config).await?;
    let outcome = undelete(config, &upstream, &target, arguments).await;
    upstream.close().await;
    outcome
}

async fn undelete(
    config: &Config,
    upstream: &Upstream,
    target: &Target,
    arguments: &UndeleteArguments,
) -> Result<(), Failure> {
    let failed = |error: StorageError| Failure::Runtime(error.to_string());
    let provider_config = provider_config(config, upstream.endpoint.clone());
    let provider = HfProvider::new(provider_config, &Metrics::new()).map_err(failed)?;
    let tenant = tenant(config, upstream, &provider).await?;
    let bucket = tenant.bucket(&target.bucket);
    let copies = provider.kept_copies(&tenant, &bucket, &target.copies);
    let copies = copies.await.map_err(failed)?;
    if arguments.list {
        println!("{}", table(&copies));
        return Ok(());
    }
    let chosen = chosen(&copies, arguments.at);
    if chosen.is_empty() {
        return Err(Failure::Runtime(format!(
            "there is nothing to bring back of {}{}; --list shows the copies that are kept",
            arguments.target,
            arguments
                .at
                .map(|at| format!(" at {}", text(at)))
                .unwrap_or_default(),
        )));
    }
    let work = Work {
        provider,
        tenant,
        bucket,
        replaces: arguments.force,
    };
    work.restore(&target.bucket, &chosen).await
}

/// Acts with all rights of the Hub token: whoever has it needs no credential of the gateway.
async fn tenant(
    config: &Config,
    upstream: &Upstream,
    provider: &HfProvider,
) -> Result<Tenant, Failure> {
    let namespace = match &config.namespace {
        Some(namespace) => namespace.clone(),
        None => {
            let owner = provider.hub().whoami(&upstream.token).await;
            let refused =
                |error| Failure::Runtime(format!("the Hub does not say who this is: {error}"));
            owner.map_err(refused)?.name
        }
    };
    Ok(Tenant {
        principal: Principal::unlimited("undelete"),
        namespace,
        extra_namespaces: config.extra_namespaces.as_slice().into(),
        hub_token: upstream.token.clone(),
    })
}

/// What is to be brought back.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    bucket: BucketName,
    copies: CopiesOf,
}

impl Target {
    /// Reads `s3://bucket/key`, `s3://bucket/directory/`, or `s3://bucket`.
    fn parse(text: &str) -> Result<Self, String> {
        let place = text
            .strip_prefix("s3://")
            .ok_or_else(|| format!("`{text}` is not of the form s3://bucket/key"))?;
        let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
        let bucket = BucketName::new(bucket).map_err(|error| error.to_string())?;
        let copies = if key.is_empty() || key.ends_with('/') {
            CopiesOf::Prefix(key.to_owned())
        } else {
            CopiesOf::Key(ObjectKey::new(key).map_err(|error| error.to_string())?)
        };
        Ok(Self { bucket, copies })
    }
}

/// Returns the one copy of each key that is meant. The copies are in the order of their keys.
fn chosen(copies: &[KeptCopy], at: Option<OffsetDateTime>) -> Vec<&KeptCopy> {
    let by_key = copies.chunk_by(|one, next| one.key == next.key);
    by_key.filter_map(|of_key| copy_at(of_key, at)).collect()
}

struct Work {
    provider: HfProvider,
    tenant: Tenant,
    bucket: BucketId,
    replaces: bool,
}

impl Work {
    /// Brings all of them back, and says so of each; what cannot be is told too, and keeps none of the others.
    async fn restore(&self, name: &BucketName, copies: &[&KeptCopy]) -> Result<(), Failure> {
        let Self {
            provider,
            tenant,
            bucket,
            replaces,
        } = self;
        let restores = stream::iter(copies).map(|copy| async move {
            (
                copy,
                provider.restore(tenant, bucket, copy, *replaces).await,
            )
        });
        let mut restores = std::pin::pin!(restores.buffered(AT_ONCE));
        let mut failures = Vec::new();
        while let Some((copy, outcome)) = restores.next().await {
            let object = format!("s3://{name}/{}", copy.key);
            match outcome {
                Ok(()) => println!(
                    "{object}: brought back {} bytes, written {}",
                    copy.content.size,
                    text(copy.written_at)
                ),
                Err(StorageError::PreconditionFailed { .. }) => failures.push(format!(
                    "{object} exists, and is newer than the copy; --force replaces it"
                )),
                Err(error) => failures.push(format!("{object}: {error}")),
            }
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(Failure::Runtime(failures.join("\nhugbucket: "))),
        }
    }
}

/// Returns the copies as lines of columns with tabs between them.
fn table(copies: &[KeptCopy]) -> String {
    let mut lines = vec!["replaced\twritten\tkept until\tbytes\tkey".to_owned()];
    for copy in copies {
        let until = copy.expires_at().map_or("for ever".to_owned(), text);
        lines.push(format!(
            "{}\t{}\t{until}\t{}\t{}",
            text(copy.replaced_at()),
            text(copy.written_at),
            copy.content.size,
            copy.key
        ));
    }
    lines.join("\n")
}

fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::provider::hub::FileRecord;
    use crate::storage::ContentHash;

    #[test]
    fn a_target_names_a_key_or_everything_below_a_directory() {
        let copies = |text| Target::parse(text).map(|target| target.copies);
        let key = ObjectKey::new("d/k").unwrap();
        assert_eq!(copies("s3://b/d/k"), Ok(CopiesOf::Key(key)));
        assert_eq!(copies("s3://b/d/"), Ok(CopiesOf::Prefix("d/".into())));
        for whole in ["s3://b", "s3://b/"] {
            assert_eq!(copies(whole), Ok(CopiesOf::Prefix(String::new())));
        }
        for odd in [
            "b/k",
            "s3://",
            "s3:///k",
            "s3://b/../k",
            "s3://b/.hugbucket/x",
        ] {
            assert!(Target::parse(odd).is_err(), "{odd}");
        }
    }

    fn copy(key: &str, written_at: OffsetDateTime, replaced_at: OffsetDateTime) -> KeptCopy {
        KeptCopy {
            key: ObjectKey::new(key).unwrap(),
            written_at,
            content: FileRecord {
                path: ".hugbucket/undo/keys/k/0-60-0/content".into(),
                size: 5,
                hash: ContentHash::EMPTY,
                mtime: None,
                uploaded_at: replaced_at,
                content_type: None,
            },
            sidecar: None,
        }
    }

    #[test]
    fn of_each_key_one_copy_is_meant() {
        let hour = |hour| datetime!(2026-01-02 00:00 UTC) + time::Duration::hours(hour);
        let copies = [
            copy("a", hour(1), hour(2)),
            copy("a", hour(2), hour(5)),
            copy("b", hour(4), hour(6)),
        ];
        let written = |at: Option<i64>| -> Vec<OffsetDateTime> {
            let chosen = chosen(&copies, at.map(hour));
            chosen.iter().map(|copy| copy.written_at).collect()
        };
        assert_eq!(written(None), [hour(2), hour(4)]);
        assert_eq!(written(Some(1)), [hour(1)]);
        assert_eq!(written(Some(5)), [hour(4)]);
        assert!(written(Some(6)).is_empty());
        assert_eq!(
            table(&copies[..1]).lines().nth(1),
            Some("2026-01-02T02:00:00Z\t2026-01-02T01:00:00Z\t2026-01-02T02:01:00Z\t5\ta")
        );
    }
}
