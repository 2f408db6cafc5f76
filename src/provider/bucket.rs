//! Buckets as a tenant sees them.

use crate::provider::hub::{BucketRecord, CreateOutcome, HubClient, TreeEntry, TreeQuery};
use crate::provider::list::is_hidden_file;
use crate::provider::undo::{expiry_of, is_copy};
use crate::storage::{
    BucketCreated, BucketDeleted, BucketFound, BucketId, BucketInfo, BucketList, BucketName,
    StorageError, Tenant, Visibility,
};

/// Entries that the first look into a bucket asks for: one is enough to know that it is not empty, unless it is hidden.
const FIRST_LOOK: usize = 20;

/// Entries that further looks ask for, through hidden ones only.
const NEXT_LOOKS: usize = 1000;

/// Lists the buckets of the tenant's namespaces, by name in byte order; those of further namespaces under
/// `<namespace>.<bucket>`.
pub async fn list(hub: &HubClient, tenant: &Tenant) -> Result<BucketList, StorageError> {
    let mut buckets = Vec::new();
    for record in hub
        .list_buckets(&tenant.hub_token, &tenant.namespace)
        .await?
    {
        let name = record.id.name.clone();
        // Hidden by one of a further namespace: the name leads there, so it is not shown for this one.
        if tenant.bucket(&name) == record.id {
            buckets.push(info(name, &record));
        }
    }
    for namespace in tenant.extra_namespaces.iter() {
        for record in hub.list_buckets(&tenant.hub_token, namespace).await? {
            // A name that is too long with its namespace in front cannot be addressed, so it is not shown.
            if let Ok(name) = BucketName::new(&format!("{namespace}.{}", record.id.name)) {
                buckets.push(info(name, &record));
            }
        }
    }
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(BucketList {
        owner: tenant.namespace.to_string(),
        buckets,
    })
}

/// Creates a bucket; one's own existing bucket is left as it is.
///
/// Errors: `InvalidBucketName` by S3's rules for new names; `BucketAlreadyExists`; `AccessDenied`.
pub async fn create(
    hub: &HubClient,
    tenant: &Tenant,
    name: &BucketName,
    visibility: Visibility,
) -> Result<BucketCreated, StorageError> {
    let bucket = tenant.bucket(name);
    bucket.name.check_for_creation()?;
    match hub
        .create_bucket(&tenant.hub_token, &bucket, visibility)
        .await?
    {
        CreateOutcome::Created | CreateOutcome::Exists => Ok(BucketCreated {}),
    }
}

/// Looks a bucket up. Errors: `NoSuchBucket`.
pub async fn head(
    hub: &HubClient,
    tenant: &Tenant,
    name: &BucketName,
) -> Result<BucketFound, StorageError> {
    let record = hub.bucket(&tenant.hub_token, &tenant.bucket(name)).await?;
    Ok(BucketFound {
        info: info(name.clone(), &record),
    })
}

/// Deletes a bucket if it is empty. The Hub itself would delete a full one too, so this looks first; whoever calls it
/// keeps this process's own commits out meanwhile.
///
/// Errors: `NoSuchBucket`, `BucketNotEmpty`.
pub async fn delete(
    hub: &HubClient,
    tenant: &Tenant,
    name: &BucketName,
) -> Result<BucketDeleted, StorageError> {
    let bucket = tenant.bucket(name);
    if let Some(left) = what_is_left(hub, tenant, &bucket).await? {
        return Err(StorageError::BucketNotEmpty {
            bucket: name.to_string(),
            holds_only_copies: left == Left::Copies,
        });
    }
    hub.delete_bucket(&tenant.hub_token, &bucket).await?;
    Ok(BucketDeleted {})
}

/// What a bucket that is not empty holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Objects,
    /// Nothing but copies of objects that are kept for undo, and have not expired.
    Copies,
}

/// Returns what a bucket holds besides hugbucket's own hidden state; `None` for nothing. A recursive listing, because the Hub
/// promises nothing about the freshness of others.
async fn what_is_left(
    hub: &HubClient,
    tenant: &Tenant,
    bucket: &BucketId,
) -> Result<Option<Left>, StorageError> {
    let mut query = TreeQuery {
        prefix: String::new(),
        is_recursive: true,
        limit: FIRST_LOOK,
    };
    let mut cursor: Option<String> = None;
    let mut has_copies = false;
    loop {
        let page = hub
            .tree_page(&tenant.hub_token, bucket, &query, cursor.as_deref())
            .await?;
        let is_hidden = |entry: &TreeEntry| match entry {
            TreeEntry::File(file) => is_hidden_file(&file.path),
            // Directories hold files; those that are listed decide.
            TreeEntry::Directory(_) => true,
        };
        if !page.entries.iter().all(is_hidden) {
            return Ok(Some(Left::Objects));
        }
        let now = hub.now();
        has_copies |= page.entries.iter().any(|entry| match entry {
            // What is kept for ever, or by an unknown clock, has not expired.
            TreeEntry::File(file) if is_copy(&file.path) => {
                let expiry = expiry_of(file);
                expiry.zip(now).is_none_or(|(expiry, now)| now <= expiry)
            }
            TreeEntry::File(_) | TreeEntry::Directory(_) => false,
        });
        cursor = page.next;
        if cursor.is_none() {
            return Ok(has_copies.then_some(Left::Copies));
        }
        query.limit = NEXT_LOOKS;
    }
}

fn info(name: BucketName, record: &BucketRecord) -> BucketInfo {
    BucketInfo {
        name,
        created_at: record.created_at,
        visibility: record.visibility,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply};
    use crate::storage::{Namespace, Principal, Secret};

    fn tenant(extra: &[&str]) -> Tenant {
        Tenant {
            principal: Principal::unlimited("key"),
            namespace: Namespace::new("me").unwrap(),
            extra_namespaces: extra
                .iter()
                .map(|name| Namespace::new(name).unwrap())
                .collect(),
            hub_token: Secret::new("hf_test"),
        }
    }

    fn name(text: &str) -> BucketName {
        BucketName::new(text).unwrap()
    }

    fn wire(ids: &[&str]) -> Reply {
        let buckets: Vec<_> = ids
            .iter()
            .map(|id| serde_json::json!({"id": id, "createdAt": "2026-01-02T03:04:05.000Z"}))
            .collect();
        Reply::json(200, &buckets.into())
    }

    fn files(paths: &[&str]) -> Reply {
        let entries: Vec<_> = paths
            .iter()
            .map(|path| {
                serde_json::json!({"type": "file", "path": path, "size": 0, "uploadedAt": "2026-01-02T03:04:05.000Z"})
            })
            .collect();
        Reply::json(200, &entries.into())
    }

    #[tokio::test]
    async fn buckets_are_sorted_and_further_namespaces_are_named() {
        let (hub, _) = FakeHub::start(vec![
            wire(&["me/b", "me/a", "me/org.c", "me/org.", "me/z"]),
            wire(&["org/c"]),
        ])
        .await;
        let listed = list(&hub, &tenant(&["org"])).await.unwrap();
        let names: Vec<_> = listed
            .buckets
            .iter()
            .map(|bucket| bucket.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "org.", "org.c", "z"]);
        assert_eq!(listed.owner, "me");
    }

    #[tokio::test]
    async fn a_bad_new_name_reaches_no_hub() {
        let (hub, fake) = FakeHub::start(vec![]).await;
        let error = create(
            &hub,
            &tenant(&[]),
            &name("No_Capitals"),
            Visibility::Private,
        )
        .await
        .unwrap_err();
        assert_eq!(error.outcome(), "invalid_bucket_name");
        assert!(fake.asked().is_empty());
    }

    #[tokio::test]
    async fn a_bucket_with_an_object_is_not_deleted() {
        for path in ["a", "dir/.hugbucket_keep", ".hugbucketx"] {
            let (hub, fake) = FakeHub::start(vec![files(&[".hugbucket/parts/1", path])]).await;
            let error = delete(&hub, &tenant(&[]), &name("data")).await.unwrap_err();
            assert!(
                matches!(error, StorageError::BucketNotEmpty { bucket, holds_only_copies: false } if bucket == "data")
            );
            assert_eq!(fake.asked().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_bucket_with_hidden_state_only_is_deleted() {
        let (hub, fake) = FakeHub::start(vec![
            files(&[".hugbucket/meta/1"])
                .header("link", "</x?recursive=true&cursor=2>; rel=\"next\""),
            files(&[".hugbucket/parts/1", ".hugbucket_keep"]),
            Reply::empty(200),
        ])
        .await;
        delete(&hub, &tenant(&[]), &name("data")).await.unwrap();
        assert_eq!(fake.lines().last().unwrap(), "DELETE /api/buckets/me/data");
    }

    #[tokio::test]
    async fn a_bucket_with_copies_is_deleted_only_once_they_have_expired() {
        // Replaced in January 2026, and kept for so many seconds.
        let copy =
            |secs: u64| format!(".hugbucket/undo/keys/k/1767323045000-{secs}-00000000/content");
        let now = "Fri, 02 Jan 2026 04:04:05 GMT";
        for (secs, is_deleted) in [
            (3599, true),
            (3700, false),
            (7200, false),
            (u64::MAX, false),
        ] {
            let listed = files(&[&copy(1), &copy(secs)]).header("date", now);
            let (hub, fake) = FakeHub::start(vec![listed, Reply::empty(200)]).await;
            let outcome = delete(&hub, &tenant(&[]), &name("data")).await;
            assert_eq!(outcome.is_ok(), is_deleted, "{secs}");
            assert_eq!(fake.asked().len(), 1 + usize::from(is_deleted));
            if let Err(error) = outcome {
                assert!(error.to_string().contains("kept for undo"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_missing_bucket_is_told_before_anything_is_deleted() {
        let (hub, fake) = FakeHub::start(vec![Reply::empty(404)]).await;
        let error = delete(&hub, &tenant(&[]), &name("data")).await.unwrap_err();
        assert_eq!(error.outcome(), "no_such_bucket");
        assert_eq!(fake.asked().len(), 1);
    }

    #[tokio::test]
    async fn a_bucket_is_found_under_the_name_that_was_asked_for() {
        let reply = serde_json::json!({"id": "org/c", "private": true, "createdAt": "2026-01-02T03:04:05.000Z"});
        let (hub, fake) = FakeHub::start(vec![Reply::json(200, &reply)]).await;
        let found = head(&hub, &tenant(&["org"]), &name("org.c")).await.unwrap();
        assert_eq!(found.info.name.as_str(), "org.c");
        assert_eq!(found.info.visibility, Visibility::Private);
        assert_eq!(fake.lines(), ["GET /api/buckets/org/c"]);
    }
}
