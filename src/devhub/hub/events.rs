//! `GET …/events`: what happens in a bucket, as server-sent events, for as long as somebody listens.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::{BucketKey, Told};
use crate::devhub::state::Shared;

#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    cursor: Option<String>,
    /// ISO 8601.
    since: Option<String>,
}

/// One listener.
struct Listener {
    state: Shared,
    bucket: BucketKey,
    place: u64,
    /// Said, but not yet sent.
    pending: Vec<u8>,
    news: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
    ping_every: Duration,
    ends_at: Instant,
    has_ended: bool,
}

pub(super) async fn events(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Refusal> {
    let knobs = state.faults.knobs();
    if !knobs.offers_events {
        return Err(Refusal::not_found("no such route"));
    }
    let bucket = caller.key(&namespace, &name)?;
    caller.read(&state, &bucket, |_| ())?;
    let feeds = state.registry.feeds();
    // Before the place is read: nothing that happens from now on is missed.
    let (news, cuts) = (feeds.news(), feeds.cuts());
    let asked = match (&query.cursor, &query.since) {
        (Some(cursor), _) => feeds.place(cursor),
        (None, Some(since)) => feeds.since(&bucket, moment(since)?),
        (None, None) => Some(feeds.end(&bucket)),
    };
    let place = asked.filter(|place| feeds.after(&bucket, *place).is_some());
    let mut pending = Vec::new();
    if place.is_none() {
        say(&mut pending, "reset", &json!({}));
    }
    let place = place.unwrap_or_else(|| feeds.end(&bucket));
    let ready = json!({ "cursor": feeds.cursor(place) });
    say(&mut pending, "ready", &ready);
    let listener = Listener {
        place,
        pending,
        news,
        cuts,
        ping_every: knobs.events_ping,
        ends_at: Instant::now() + knobs.events_life,
        has_ended: false,
        bucket,
        state,
    };
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::from_stream(listener.into_stream())).into_response())
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut listener| async move {
            let said = listener.next().await?;
            Some((said, listener))
        })
    }

    /// Returns what is to be sent next; none after the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if !self.pending.is_empty() {
                return Some(Ok(std::mem::take(&mut self.pending).into()));
            }
            if self.has_ended {
                return None;
            }
            self.news.borrow_and_update();
            self.collect();
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                _ = self.news.changed() => {}
                _ = self.cuts.changed() => {
                    self.has_ended = true;
                    return Some(Err(io::Error::other("cut off")));
                }
                () = tokio::time::sleep(self.ping_every) => self.pending.extend_from_slice(b": ping\n\n"),
                () = tokio::time::sleep_until(self.ends_at) => {
                    self.has_ended = true;
                    say(&mut self.pending, "reconnect", &json!({}));
                }
            }
        }
    }

    /// Takes over what has happened since.
    fn collect(&mut self) {
        let feeds = self.state.registry.feeds();
        let Some((told, end)) = feeds.after(&self.bucket, self.place) else {
            self.void();
            return;
        };
        for told in told {
            self.place += 1;
            match told {
                Told::Changes(changes) => {
                    let cursor = feeds.cursor(self.place);
                    let changes = json!({ "cursor": cursor, "changes": changes });
                    say(&mut self.pending, "changes", &changes);
                }
                Told::Void => {
                    self.void();
                    return;
                }
            }
        }
        self.place = end;
    }

    fn void(&mut self) {
        self.has_ended = true;
        say(&mut self.pending, "reset", &json!({}));
    }
}

fn moment(text: &str) -> Result<i64, Refusal> {
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| Refusal::bad_request("since is no ISO 8601 time"))?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .map_err(|_| Refusal::bad_request("since is out of range"))
}

fn say(to: &mut Vec<u8>, event: &str, data: &Value) {
    to.extend_from_slice(format!("event: {event}\ndata: {data}\n\n").as_bytes());
}
