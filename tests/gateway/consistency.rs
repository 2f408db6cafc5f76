//! A process's own reads follow its own writes.

use std::time::Duration;

use hugbucket::devhub::{Effect, Fault, Route};

use crate::stand::{BUCKET, Stand, get, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_began_before_a_commit_never_hides_it_afterwards() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for n in 0..20 {
        let key = format!("k{n}");
        put(&s3, &key, "old").await;
        // The look-up is answered late: after the next write has been acknowledged.
        stand
            .hub
            .faults()
            .inject(Fault::once(Route::PathsInfo, Effect::Delay { millis: 150 }));
        let early = tokio::spawn({
            let (s3, key) = (stand.s3(), key.clone());
            async move { get(&s3, &key).await }
        });
        let has_begun = || stand.hub.faults().remaining().is_empty();
        while !has_begun() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        put(&s3, &key, "new").await;
        assert_eq!(
            get(&s3, &key).await.as_deref(),
            Some(&b"new"[..]),
            "at once"
        );
        let early = early.await.unwrap().unwrap();
        assert!(early == b"old" || early == b"new");
        assert_eq!(
            get(&s3, &key).await.as_deref(),
            Some(&b"new"[..]),
            "after the early look-up has ended"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_writes_copies_and_deletions_are_seen_at_once() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for n in 0..10 {
        let text = n.to_string();
        put(&s3, "k", text.as_bytes()).await;
        assert_eq!(get(&s3, "k").await.as_deref(), Some(text.as_bytes()));
        assert_eq!(
            s3.list_objects_v2()
                .bucket(BUCKET)
                .send()
                .await
                .unwrap()
                .contents()
                .len(),
            1
        );
        s3.copy_object()
            .bucket(BUCKET)
            .key("copy")
            .copy_source(format!("{BUCKET}/k"))
            .send()
            .await
            .unwrap();
        assert_eq!(get(&s3, "copy").await.as_deref(), Some(text.as_bytes()));
        s3.delete_object()
            .bucket(BUCKET)
            .key("k")
            .send()
            .await
            .unwrap();
        assert_eq!(get(&s3, "k").await, None);
        s3.delete_object()
            .bucket(BUCKET)
            .key("copy")
            .send()
            .await
            .unwrap();
        assert_eq!(
            s3.list_objects_v2()
                .bucket(BUCKET)
                .send()
                .await
                .unwrap()
                .contents()
                .len(),
            0
        );
    }
}
