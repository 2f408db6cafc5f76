//! What the feed tells, read from its messages.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::provider::hub::events::sse::Message;
use crate::storage::{ContentHash, ObjectVersion, StorageError};

/// Something that the feed told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// Everything behind the cursor will be told.
    Ready {
        /// Where to go on after an interruption.
        cursor: String,
    },
    /// Files were changed.
    Changes {
        /// Where to go on after an interruption.
        cursor: String,
        /// Which, in the order in which that happened.
        changes: Vec<FileChange>,
    },
    /// What happened since the cursor is not known any more.
    Reset,
    /// The answer ends now, and the next one goes on at the last cursor.
    Reconnect,
}

/// A file that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What it is now; `None` if it was deleted, or that was not told.
    pub now: Option<ObjectVersion>,
}

#[derive(Debug, Deserialize)]
struct WireReady {
    cursor: String,
}

#[derive(Debug, Deserialize)]
struct WireChanges {
    cursor: String,
    #[serde(default)]
    changes: Vec<WireChange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireChange {
    path: String,
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    xet_hash: Option<String>,
    #[serde(default)]
    uploaded_at: Option<String>,
}

impl FeedEvent {
    /// Reads a message; `None` for one of a kind that we do not know.
    ///
    /// Errors: it does not look as it should. Then it may have meant anything.
    pub(super) fn of_message(message: &Message) -> Result<Option<Self>, StorageError> {
        Ok(match message.event.as_str() {
            "ready" => {
                let WireReady { cursor } = json(message)?;
                Some(Self::Ready { cursor })
            }
            "changes" => {
                let WireChanges { cursor, changes } = json(message)?;
                let changes = changes.into_iter().map(FileChange::from_wire).collect();
                Some(Self::Changes { cursor, changes })
            }
            "reset" => Some(Self::Reset),
            "reconnect" => Some(Self::Reconnect),
            _ => None,
        })
    }
}

impl FileChange {
    fn from_wire(wire: WireChange) -> Self {
        let is_deleted = wire.op.as_deref() == Some("delete");
        let now = (!is_deleted).then(|| {
            let hash: ContentHash = wire.xet_hash?.parse().ok()?;
            let uploaded_at = OffsetDateTime::parse(&wire.uploaded_at?, &Rfc3339).ok()?;
            Some(ObjectVersion { hash, uploaded_at })
        });
        Self {
            path: wire.path,
            now: now.flatten(),
        }
    }
}

fn json<T: DeserializeOwned>(message: &Message) -> Result<T, StorageError> {
    serde_json::from_str(&message.data).map_err(|error| StorageError::Unavailable {
        service: "hub",
        reason: format!(
            "`{}` of its change feed is not understood: {error}",
            message.event
        ),
        is_safe_to_retry: false,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn read(event: &str, data: &str) -> Result<Option<FeedEvent>, StorageError> {
        FeedEvent::of_message(&Message {
            event: event.into(),
            data: data.into(),
        })
    }

    #[test]
    fn events_are_read_as_the_hub_writes_them() {
        let ready = read("ready", r#"{"cursor":"c1","novelty":1}"#).unwrap();
        assert_eq!(
            ready,
            Some(FeedEvent::Ready {
                cursor: "c1".into()
            })
        );
        let hash = "0".repeat(64);
        let data = format!(
            r#"{{"cursor":"c2","changes":[
                {{"path":"a","op":"update","size":3,"xetHash":"{hash}","mtime":null,"uploadedAt":"2026-01-02T03:04:05.006Z"}},
                {{"path":"b","op":"delete","xetHash":"{hash}","uploadedAt":"2026-01-02T03:04:05.006Z"}},
                {{"path":"c","op":"add"}}]}}"#
        );
        let Some(FeedEvent::Changes { cursor, changes }) = read("changes", &data).unwrap() else {
            panic!("another event");
        };
        assert_eq!(cursor, "c2");
        let version = ObjectVersion {
            hash: ContentHash::EMPTY,
            uploaded_at: datetime!(2026-01-02 03:04:05.006 UTC),
        };
        let paths: Vec<_> = changes
            .iter()
            .map(|change| (&*change.path, change.now))
            .collect();
        assert_eq!(paths, [("a", Some(version)), ("b", None), ("c", None)]);
        assert_eq!(read("reset", "").unwrap(), Some(FeedEvent::Reset));
        assert_eq!(read("reconnect", "{}").unwrap(), Some(FeedEvent::Reconnect));
        assert_eq!(read("novelty", "?").unwrap(), None);
    }

    #[test]
    fn nonsense_is_an_error_and_not_passed_over() {
        for (event, data) in [
            ("ready", "{}"),
            ("changes", "x"),
            ("changes", r#"{"cursor":1}"#),
        ] {
            assert!(read(event, data).is_err(), "{event} {data}");
        }
    }
}
