//! STOR and APPE: a file, or its new end, stored as a whole or not at all.

use bytes::{Bytes, BytesMut};
use futures::stream;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use crate::ftp::backend::Backend;
use crate::ftp::backend::sight::Seen;
use crate::ftp::error::Failure;
use crate::ftp::gate::Gate;
use crate::ftp::path::{Entry, Place};
use crate::ftp::user::User;
use crate::storage::{
    AppendObject, ByteStream, EtagMatch, KeptPart, ObjectKey, ObjectMetadata, Payload, PutObject,
    StorageError, WriteConditions,
};

/// How much is read from the engine at once, in bytes: sessions send nothing there.
const REST_BYTES: usize = 8 << 10;

impl Backend {
    /// Stores a file: all of it, or what follows its first `offset` bytes. Returns how many bytes were new.
    ///
    /// Nothing changes before the body has ended well, and then everything does.
    ///
    /// Errors: 553 outside of a bucket; 550 for a directory, and for an offset behind the end; 450 if what stays was
    /// changed meanwhile.
    pub(super) async fn store(
        &self,
        user: &User,
        place: &Place,
        offset: u64,
        body: ByteStream,
    ) -> Result<u64, Failure> {
        let entry = match place {
            Place::Entry(entry) if !self.is_root(user, place) => entry,
            Place::Entry(_) | Place::Bucket(_) | Place::Buckets => {
                return Err(Failure::name_not_allowed("a file lies in a bucket"));
            }
        };
        let upload = Upload {
            entry,
            key: entry.key()?,
            body,
        };
        match self.sight.of_append(entry) {
            // Whatever the look has found: it may be seconds old, and others append too.
            Some(Seen::File(..)) => self.go_on(user, upload, KeptPart::All).await,
            None if offset > 0 => {
                let kept = self.first(user, entry, offset).await?;
                self.go_on(user, upload, kept).await
            }
            None => self.replace(user, upload, WriteConditions::default()).await,
            Some(Seen::Nothing) => self.replace(user, upload, no_file()).await,
            Some(Seen::Unknown) => {
                self.sight.forget();
                let text = "it is not known whether there is a file to append to";
                Err(Failure::transient(text))
            }
        }
    }

    async fn replace(
        &self,
        user: &User,
        upload: Upload<'_>,
        conditions: WriteConditions,
    ) -> Result<u64, Failure> {
        let Upload { entry, key, body } = upload;
        if self.is_directory(user, &entry.directory()).await? {
            return Err(Failure::not_available("this is a directory"));
        }
        let put = PutObject {
            bucket: entry.bucket.clone(),
            key,
            conditions,
            payload: Payload::unchecked(body),
            metadata: ObjectMetadata::default(),
        };
        let written = user.call(&self.gateway, put).await?;
        let now = Seen::File(written.hash, written.size);
        self.sight.note(entry, now);
        Ok(written.size)
    }

    async fn go_on(&self, user: &User, upload: Upload<'_>, kept: KeptPart) -> Result<u64, Failure> {
        let Upload { entry, key, body } = upload;
        let append = AppendObject {
            bucket: entry.bucket.clone(),
            key,
            kept,
            payload: Payload::unchecked(body),
        };
        let appended = user.call(&self.gateway, append).await?;
        let now = Seen::File(appended.hash, appended.size);
        self.sight.note(entry, now);
        Ok(appended.size.saturating_sub(appended.kept_bytes))
    }

    /// Returns the first bytes of the content to go on with: of what this session saw last, else of what is there now.
    async fn first(&self, user: &User, entry: &Entry, offset: u64) -> Result<KeptPart, Failure> {
        let (base, size) = match self.sight.of(entry) {
            Some(Seen::File(hash, size)) => (hash, size),
            Some(Seen::Nothing | Seen::Unknown) | None => {
                let info = self.file(user, entry).await?;
                let info = info.ok_or_else(|| entry.missing())?;
                (info.hash, info.size)
            }
        };
        if offset > size {
            return Err(Failure::not_available(format!(
                "the file has {size} bytes, and nothing can begin at {offset}"
            )));
        }
        let len_bytes = offset;
        Ok(KeptPart::First { len_bytes, base })
    }
}

/// A file on its way in.
struct Upload<'a> {
    entry: &'a Entry,
    key: ObjectKey,
    body: ByteStream,
}

fn no_file() -> WriteConditions {
    WriteConditions {
        if_none_match: Some(EtagMatch::Any),
        ..WriteConditions::default()
    }
}

/// Returns what a session sends, and behind that what the engine's data connection brings, as the body of a write. It ends
/// well only if that connection does, and the gate lets it.
pub(super) fn body_of(
    inflow: Option<mpsc::Receiver<Bytes>>,
    input: impl AsyncRead + Send + Unpin + 'static,
    gate: Gate,
) -> ByteStream {
    let frames = stream::try_unfold((inflow, input), move |(mut inflow, mut input)| {
        let gate = gate.clone();
        async move {
            if let Some(open) = &mut inflow
                && let Some(frame) = open.recv().await
            {
                return Ok(Some((frame, (inflow, input))));
            }
            let mut rest = BytesMut::with_capacity(REST_BYTES);
            // Whatever breaks a data connection, the client has not said that this was all.
            let read = input.read_buf(&mut rest).await;
            if read.map_err(|_| StorageError::IncompleteBody)? == 0 {
                gate.permit().await?;
                return Ok(None);
            }
            Ok(Some((rest.freeze(), (None, input))))
        }
    });
    ByteStream::new(frames, None)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use futures::StreamExt as _;
    use tokio::io::ReadBuf;

    use super::*;

    /// Every read finds a connection that was reset.
    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_well_only_behind_the_gate() {
        let gate = Gate::new();
        let refused = body_of(None, &b"abc"[..], gate.clone()).collect(10).await;
        assert_eq!(refused.unwrap_err().outcome(), "incomplete_body");
        gate.end(Duration::from_millis(25));
        let whole = body_of(None, &b"abc"[..], gate.clone()).collect(10).await;
        assert_eq!(whole.unwrap(), "abc");
        let again = body_of(None, &b"abc"[..], gate).collect(10).await;
        assert!(again.is_err(), "one end lets one body pass");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_is_no_end() {
        let gate = Gate::new();
        gate.end(Duration::ZERO);
        let mut body = body_of(None, (&b"abc"[..]).chain(Reset), gate.clone());
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), "incomplete_body");
        // Nobody has asked the gate.
        gate.permit().await.unwrap();
    }
    #[tokio::test]
    async fn what_the_session_sends_counts_only_once_the_engine_has_seen_a_clean_end() {
        let gate = Gate::new();
        let (session, inflow) = mpsc::channel(2);
        session.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(session);
        gate.end(Duration::ZERO);
        let cut = body_of(Some(inflow), Reset, gate.clone()).collect(10).await;
        assert_eq!(cut.unwrap_err().outcome(), "incomplete_body");
        let (session, inflow) = mpsc::channel(2);
        session.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(session);
        let whole = body_of(Some(inflow), tokio::io::empty(), gate)
            .collect(10)
            .await;
        assert_eq!(whole.unwrap(), "abc");
    }
}
