//! The Hub's budget under load: clients get slower, and never see its wall.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::operate::text;
use crate::stand::{BUCKET, Stand, put};

/// A free account has 1,000 calls in 300 s; this has as many in proportion, so that an hour takes less than half a minute.
const WINDOW: Duration = Duration::from_secs(3);
const QUOTA: u64 = 100;
const WINDOWS: u32 = 8;

/// 16 clients that write and look up for as long as an hour of windows lasts, with a cache that keeps nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_hour_meets_no_429() {
    let stand = Stand::start_with(&[("HUGBUCKET_FILE_INFO_CACHE_TTL", "0")]).await;
    put(&stand.s3(), "k", "v").await;
    stand.hub.faults().turn(|knobs| {
        knobs.budget_window = WINDOW;
        knobs.api_quota = QUOTA;
    });
    stand.hub.calls().reset();
    let ends_at = Instant::now() + WINDOW * WINDOWS;
    let done = AtomicU64::new(0);
    let s3 = stand.s3();
    let client = |n: u64| {
        let (s3, done) = (&s3, &done);
        async move {
            while Instant::now() < ends_at {
                put(s3, &format!("own-{n}"), "v").await;
                s3.head_object().bucket(BUCKET).key("k").send().await?;
                done.fetch_add(2, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    };
    for outcome in join_all((0..16).map(client)).await {
        outcome.unwrap();
    }
    let (_, metrics) = text(format!("{}/metrics", stand.gateway.admin)).await;
    assert!(!metrics.contains("outcome=\"429\""), "it ran into the wall");
    assert!(
        !metrics.contains("hugbucket_upstream_ratelimited_seconds_total 0\n"),
        "it was never slowed down, so this shows nothing"
    );
    // Writes and look-ups of several clients share calls, so the budget does not bound their number.
    let (done, spent) = (done.into_inner(), stand.hub.calls().total());
    assert!(done > QUOTA, "{done} operations with {spent} calls");
}
