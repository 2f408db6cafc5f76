//! Transfers: one future each. Dropped at any moment, it leaves nothing behind that could pass for a complete transfer.
//!
//! The bytes of files run between the client's data connection and the [`Conduit`](crate::ftp::conduit::Conduit); listings
//! come from the engine's own data connection. A clean end of the client's becomes a clean end of the engine's, and everything
//! else becomes a reset. An upload's clean end is made known to the [`Gate`](crate::ftp::gate::Gate) first, since nothing
//! passes there otherwise. The reply that announces a download waits for its first byte, so that what is missing is refused at once, as
//! clients expect that look before they load.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::ftp::conduit::Delivery;
use crate::ftp::data::{DataSource, DataStream, Peers, end_with_fin};
use crate::ftp::engine::Engine;
use crate::ftp::frames::Frames;
use crate::ftp::links::Links;
use crate::ftp::refusal::RefusalSlot;
use crate::ftp::reply::Reply;
use crate::ftp::tls::FtpTls;
use crate::storage::StorageError;
use crate::telemetry::Metrics;

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// Room below which a read gets a new buffer. Until then short reads share one, so that what waits for the CAS pins no more
/// than twice the memory that it fills.
const SHORTEST_READ_BYTES: usize = BUFFER_BYTES / 2;

/// How much of a listing is passed on at once, in bytes.
const LISTING_BUFFER_BYTES: usize = 64 << 10;

/// How long after the end of an upload in the clear the client may still take it back, or turn out to be dead: a process that
/// is killed closes its data connection and its control connection within the same moment, in any order. An encrypted end
/// cannot come from a dying client.
const GRACE: Duration = Duration::from_millis(25);

/// How long the engine may take for its last word after it closed the data connection: it is written right behind.
const REASON_TIMEOUT: Duration = Duration::from_secs(10);

/// How a transfer ended: the reply, and what it means for the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The engine knows as well, and can go on.
    Settled(Reply),
    /// The engine has to be replaced.
    Cut(Reply),
}

/// How the client's data connection is opened.
#[derive(Debug)]
pub(super) struct Channel {
    /// Where it comes from.
    pub(super) source: DataSource,
    /// Whom it may come from.
    pub(super) peers: Peers,
    /// What encrypts it, if it is to be encrypted.
    pub(super) tls: Option<FtpTls>,
    /// How long opening and handshake may take, each.
    pub(super) patience: Duration,
}

impl Channel {
    async fn open(self) -> io::Result<DataStream> {
        let stream = self.source.open(self.peers, self.patience).await?;
        Ok(match self.tls {
            None => DataStream::Plain(stream),
            Some(tls) => {
                let stream = tls.accept_data(stream, self.patience).await?;
                DataStream::Tls(Box::new(stream))
            }
        })
    }
}

/// How far a transfer is, in bytes. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Returns the bytes that have passed.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, len_bytes: usize) {
        self.0.fetch_add(len_bytes as u64, Ordering::Relaxed);
    }
}

/// A transfer that is about to begin.
pub(super) struct Transfer<'s> {
    /// Carries it out.
    pub(super) engine: &'s mut Engine,
    /// What is shared with the engine's backend.
    pub(super) links: &'s Links,
    /// The engine's command, path included.
    pub(super) command: String,
    /// Where it begins in the file, in bytes.
    pub(super) offset: u64,
    /// The client's side.
    pub(super) channel: Channel,
    /// Takes the preliminary reply. It may still lie there when the transfer has ended.
    pub(super) marks: mpsc::Sender<Reply>,
    /// Counts the bytes.
    pub(super) progress: Progress,
    /// How long nothing may pass; none for no limit.
    pub(super) stall: Option<Duration>,
    /// How long storage may take for its verdict after the last byte.
    pub(super) verdict: Duration,
    /// Where data connections are counted.
    pub(super) metrics: &'s Metrics,
}

impl Transfer<'_> {
    /// Passes on what the client sends.
    pub(super) async fn upload(self) -> Ended {
        let pace = Pace {
            stall: self.stall,
            progress: self.progress,
        };
        let Self { engine, links, .. } = self;
        let (gate, refusals) = (&links.gate, &links.refusals);
        gate.begin();
        let inflow = links.conduit.open_up();
        let mut inlet = match begin(engine, &self.command, self.offset, refusals).await {
            Ok(inlet) => inlet,
            Err(ended) => return ended,
        };
        // There is room for one, and this is the only one.
        let _ = self.marks.try_send(ready());
        let Ok(mut data) = self.channel.open().await else {
            return Ended::Cut(no_connection());
        };
        let _open = self.metrics.ftp_data_connection();
        let mut verdict = pin!(engine.reply());
        let passed = tokio::select! {
            biased;
            // The way is closed with this, before the engine hears of any end.
            passed = take_in(&mut data, inflow, &pace) => passed,
            // Before the end of the data, it can only be a refusal.
            early = &mut verdict => return settled(early, refusals, "Refused."),
        };
        let patience = match passed {
            Ok(()) => {
                gate.end(if data.is_encrypted() {
                    Duration::ZERO
                } else {
                    GRACE
                });
                if end_with_fin(&inlet).is_err() || inlet.shutdown().await.is_err() {
                    gate.abort();
                }
                self.verdict
            }
            Err(Broken::Sink) => REASON_TIMEOUT,
            Err(broken) => return Ended::Cut(broken.reply()),
        };
        let ended = judged(verdict, patience, refusals, "Stored.").await;
        if ended.is_success() {
            // The file is stored, whether or not the client hears this end.
            let _ = data.finish().await;
        }
        ended
    }

    /// Passes on what the engine sends: a file, or a listing.
    pub(super) async fn download(self) -> Ended {
        let pace = Pace {
            stall: self.stall,
            progress: self.progress,
        };
        let Self { engine, links, .. } = self;
        let refusals = &links.refusals;
        links.gate.begin();
        let mut handed_over = links.conduit.open_down();
        let mut outlet = match begin(engine, &self.command, self.offset, refusals).await {
            Ok(outlet) => outlet,
            Err(ended) => return ended,
        };
        let mut verdict = pin!(engine.reply());
        let mut buffer = vec![0; LISTING_BUFFER_BYTES];
        let read = tokio::select! {
            biased;
            Ok(delivery) = &mut handed_over => {
                let client = Client {
                    channel: self.channel,
                    marks: self.marks,
                    metrics: self.metrics,
                };
                return client.send(delivery, verdict, refusals, &pace).await;
            }
            read = outlet.read(&mut buffer) => read,
        };
        let Ok(first_bytes) = read else {
            return judged(verdict, REASON_TIMEOUT, refusals, "Sent.")
                .await
                .or_cut();
        };
        let mut ended = None;
        if first_bytes == 0 {
            // Nothing to send, or nothing there: the engine says which.
            let said = judged(verdict.as_mut(), REASON_TIMEOUT, refusals, "Sent.").await;
            if !said.is_success() {
                return said;
            }
            ended = Some(said);
        }
        let _ = self.marks.try_send(ready());
        let Ok(mut data) = self.channel.open().await else {
            return Ended::Cut(no_connection());
        };
        let _open = self.metrics.ftp_data_connection();
        let passed = relay(&mut outlet, &mut data, &mut buffer, first_bytes, &pace);
        if let Err(broken) = passed.await {
            return Ended::Cut(broken.reply());
        }
        let ended = match ended {
            Some(ended) => ended,
            None => judged(verdict, REASON_TIMEOUT, refusals, "Sent.").await,
        };
        if ended.is_success() && data.finish().await.is_err() {
            return Ended::Settled(connection_lost());
        }
        // Without a finish, the drop of the data connection is a reset: half a file must not look like one.
        ended
    }
}

/// The client's side of a download.
struct Client<'s> {
    channel: Channel,
    marks: mpsc::Sender<Reply>,
    metrics: &'s Metrics,
}

impl Client<'_> {
    /// Sends a file that the backend has handed over.
    async fn send(
        self,
        mut delivery: Delivery,
        verdict: Pin<&mut impl Future<Output = io::Result<Reply>>>,
        refusals: &RefusalSlot,
        pace: &Pace,
    ) -> Ended {
        let first = match Frames::next(&mut delivery.body).await {
            Ok(first) => first,
            Err(error) => {
                delivery.end(Err(error));
                return judged(verdict, REASON_TIMEOUT, refusals, "Sent.")
                    .await
                    .or_cut();
            }
        };
        // There is room for one, and this is the only one.
        let _ = self.marks.try_send(ready());
        let Ok(mut data) = self.channel.open().await else {
            return Ended::Cut(no_connection());
        };
        let _open = self.metrics.ftp_data_connection();
        match give_out(first, &mut delivery, &mut data, pace).await {
            Ok(Ok(len_bytes)) => delivery.end(Ok(len_bytes)),
            Ok(Err(error)) => delivery.end(Err(error)),
            Err(broken) => return Ended::Cut(broken.reply()),
        }
        let ended = judged(verdict, REASON_TIMEOUT, refusals, "Sent.").await;
        if ended.is_success() && data.finish().await.is_err() {
            return Ended::Settled(connection_lost());
        }
        // Without a finish, the drop of the data connection is a reset: half a file must not look like one.
        ended
    }
}

impl Ended {
    fn is_success(&self) -> bool {
        matches!(self, Self::Settled(reply) if !reply.is_negative())
    }

    fn or_cut(self) -> Self {
        match self {
            Self::Settled(reply) if !reply.is_negative() => Self::Cut(connection_lost()),
            ended => ended,
        }
    }
}

/// Opens the engine's data connection and starts its command.
async fn begin(
    engine: &mut Engine,
    command: &str,
    offset: u64,
    refusals: &RefusalSlot,
) -> Result<tokio::net::TcpStream, Ended> {
    // What an earlier command left is no reason for this one.
    refusals.take();
    let begun = async {
        let data = engine.open_data(offset).await?;
        let reply = engine.command(command).await?;
        io::Result::Ok((data, reply))
    };
    match begun.await {
        Ok((data, reply)) if reply.is_preliminary() => Ok(data),
        Ok((_, reply)) => Err(Ended::Cut(refused(reply, refusals))),
        Err(error) => Err(Ended::Cut(engine_lost(&error))),
    }
}

/// Waits for the engine's last word.
async fn judged(
    verdict: Pin<&mut impl Future<Output = io::Result<Reply>>>,
    patience: Duration,
    refusals: &RefusalSlot,
    success: &str,
) -> Ended {
    match tokio::time::timeout(patience, verdict).await {
        Ok(said) => settled(said, refusals, success),
        Err(_) => Ended::Cut(Reply::new(451, "Storage does not answer in time.")),
    }
}

fn settled(said: io::Result<Reply>, refusals: &RefusalSlot, success: &str) -> Ended {
    match said {
        Ok(reply) if reply.is_negative() => Ended::Settled(refused(reply, refusals)),
        Ok(_) => Ended::Settled(Reply::new(226, success)),
        Err(error) => Ended::Cut(engine_lost(&error)),
    }
}

/// Puts the true reason in the place of the engine's.
fn refused(reply: Reply, refusals: &RefusalSlot) -> Reply {
    refusals.take().map_or(reply, Reply::from)
}

fn ready() -> Reply {
    Reply::new(150, "Opening the data connection.")
}

fn no_connection() -> Reply {
    Reply::new(425, "There is no data connection.")
}

fn connection_lost() -> Reply {
    Reply::new(426, "The data connection broke; the transfer is cut.")
}

/// The reply when the engine is gone.
pub(super) fn engine_lost(error: &io::Error) -> Reply {
    tracing::error!(%error, "an engine failed");
    Reply::new(451, "A local error; try again.")
}

/// Why bytes stopped passing.
#[derive(Debug)]
enum Broken {
    /// The sender is gone without a clean end.
    Source,
    /// The receiver takes no more.
    Sink,
    /// Nothing passed for too long.
    Stalled(Duration),
}

impl Broken {
    fn reply(&self) -> Reply {
        match self {
            Self::Source | Self::Sink => connection_lost(),
            Self::Stalled(after) => {
                let text = format!("No byte for {} s; the transfer is cut.", after.as_secs());
                Reply::new(426, text)
            }
        }
    }
}

/// How fast a transfer has to be, and how far it is.
struct Pace {
    stall: Option<Duration>,
    progress: Progress,
}

/// Takes in what the client sends until it ends cleanly.
async fn take_in(
    data: &mut (impl AsyncRead + Unpin),
    inflow: mpsc::Sender<Bytes>,
    pace: &Pace,
) -> Result<(), Broken> {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < SHORTEST_READ_BYTES {
            buffer.reserve(BUFFER_BYTES);
        }
        let read = within(pace.stall, data.read_buf(&mut buffer)).await?;
        let len_bytes = read.map_err(|_| Broken::Source)?;
        if len_bytes == 0 {
            return Ok(());
        }
        let sent = within(pace.stall, inflow.send(buffer.split().freeze())).await?;
        sent.map_err(|_| Broken::Sink)?;
        pace.progress.add(len_bytes);
    }
}

/// Gives a file out, beginning with its first frames, and returns how many bytes it had, or why storage could not go on.
async fn give_out(
    first: Frames,
    delivery: &mut Delivery,
    data: &mut (impl AsyncWrite + Unpin),
    pace: &Pace,
) -> Result<Result<u64, StorageError>, Broken> {
    let (mut frames, mut sent_bytes) = (first, 0);
    while frames.has_remaining() {
        while frames.has_remaining() {
            let written = within(pace.stall, data.write_buf(&mut frames)).await?;
            let written_bytes = written.map_err(|_| Broken::Sink)?;
            if written_bytes == 0 {
                return Err(Broken::Sink);
            }
            pace.progress.add(written_bytes);
            sent_bytes += written_bytes as u64;
        }
        frames = match Frames::next(&mut delivery.body).await {
            Ok(frames) => frames,
            Err(error) => return Ok(Err(error)),
        };
    }
    // An encrypted stream may hold back its last bytes.
    let flushed = within(pace.stall, data.flush()).await?;
    flushed.map_err(|_| Broken::Sink)?;
    Ok(Ok(sent_bytes))
}

/// Passes bytes on until the source ends cleanly; the first `ready_bytes` of the buffer were read before. Ends neither side.
async fn relay(
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
    buffer: &mut [u8],
    ready_bytes: usize,
    pace: &Pace,
) -> Result<(), Broken> {
    let mut len_bytes = ready_bytes;
    loop {
        let mut rest = &buffer[..len_bytes];
        while !rest.is_empty() {
            let written = within(pace.stall, sink.write(rest)).await?;
            let written_bytes = written.map_err(|_| Broken::Sink)?;
            if written_bytes == 0 {
                return Err(Broken::Sink);
            }
            pace.progress.add(written_bytes);
            rest = &rest[written_bytes..];
        }
        let read = within(pace.stall, source.read(buffer)).await?;
        len_bytes = read.map_err(|_| Broken::Source)?;
        if len_bytes == 0 {
            // An encrypted stream may hold back its last bytes.
            let flushed = within(pace.stall, sink.flush()).await?;
            return flushed.map_err(|_| Broken::Sink);
        }
    }
}

async fn within<T>(limit: Option<Duration>, step: impl Future<Output = T>) -> Result<T, Broken> {
    match limit {
        None => Ok(step.await),
        Some(limit) => {
            let done = tokio::time::timeout(limit, step).await;
            done.map_err(|_| Broken::Stalled(limit))
        }
    }
}

#[cfg(test)]
mod tests;
