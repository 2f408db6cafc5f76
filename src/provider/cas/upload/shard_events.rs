//! The answer of `/v2/shards`: a stream of JSON lines that ends with a verdict.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Deserialize;

/// Longest line that is read.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How the CAS judged a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The files are registered.
    Accepted,
    /// It said no; `is_transient` means that it may say yes to the same shard.
    Refused { message: String, is_transient: bool },
    /// The answer broke off, so nobody knows.
    Lost,
}

/// One line. Others tell of progress, or are newer than this program.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Result,
    Error {
        #[serde(default)]
        message: String,
        #[serde(default)]
        retryable: bool,
    },
    #[serde(other)]
    Progress,
}

/// Reads lines until the verdict.
pub(super) async fn verdict<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin) -> Verdict {
    let mut unread = Vec::new();
    while let Some(Ok(frame)) = body.next().await {
        unread.extend_from_slice(&frame);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            if let Some(verdict) = judged(&line) {
                return verdict;
            }
        }
        if unread.len() > MAX_LINE_BYTES {
            return Verdict::Lost;
        }
    }
    // The last line may lack its end.
    judged(&unread).unwrap_or(Verdict::Lost)
}

fn judged(line: &[u8]) -> Option<Verdict> {
    match serde_json::from_slice(line).ok()? {
        Event::Result => Some(Verdict::Accepted),
        Event::Error { message, retryable } => Some(Verdict::Refused {
            message,
            is_transient: retryable,
        }),
        Event::Progress => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::stream;

    use super::*;

    async fn read(frames: &[&'static str]) -> Verdict {
        let frames = frames
            .iter()
            .map(|text| Ok::<_, io::Error>(Bytes::from_static(text.as_bytes())));
        verdict(stream::iter(frames.collect::<Vec<_>>())).await
    }

    #[tokio::test]
    async fn only_a_result_is_success() {
        let progress =
            "{\"type\":\"validating\",\"verified\":1,\"total\":2}\n\n{\"type\":\"later\"}\n";
        assert_eq!(
            read(&[progress, "{\"type\":\"res", "ult\"}\n"]).await,
            Verdict::Accepted
        );
        assert_eq!(read(&["{\"type\":\"result\"}"]).await, Verdict::Accepted);
        assert_eq!(read(&[progress]).await, Verdict::Lost);
        assert_eq!(read(&[]).await, Verdict::Lost);
    }

    #[tokio::test]
    async fn an_error_says_whether_to_try_again() {
        let refused = |is_transient| Verdict::Refused {
            message: "no".into(),
            is_transient,
        };
        let line =
            "{\"type\":\"error\",\"message\":\"no\",\"retryable\":true}\n{\"type\":\"result\"}\n";
        assert_eq!(read(&[line]).await, refused(true));
        assert_eq!(
            read(&["{\"type\":\"error\",\"message\":\"no\"}\n"]).await,
            refused(false)
        );
    }

    #[tokio::test]
    async fn neither_a_broken_stream_nor_an_endless_line_is_believed() {
        let broken = stream::iter([Ok(Bytes::from("{\"type\":")), Err(io::Error::other("cut"))]);
        assert_eq!(verdict(broken).await, Verdict::Lost);
        let endless = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b' '; 64 << 10])));
        assert_eq!(verdict(Box::pin(endless)).await, Verdict::Lost);
    }
}
