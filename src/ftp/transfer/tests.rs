//! Transfers against a pretended engine, which says of each upload how it ended, and whether it passed the gate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::ftp::conduit::Delivered;
use crate::ftp::data::PassivePorts;
use crate::ftp::refusal::Refusal;
use crate::storage::ByteStream;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONG: Duration = Duration::from_secs(30);

/// What the pretended engine does with a transfer.
#[derive(Clone, Copy)]
enum Play {
    /// Takes an upload, and asks the gate.
    Take,
    /// Refuses an upload in its middle.
    Refuse,
    /// Sends this much as a listing, then says this.
    Send(&'static [u8], &'static str),
    /// Hands a file over: these bytes, and an error behind them if it is to break. Says how that ended.
    Deliver(&'static [u8], bool),
}

/// What it saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    is_clean: bool,
    has_passed: bool,
}

struct Scene {
    engine: Engine,
    links: Links,
    play: JoinHandle<Seen>,
    /// What the session told the engine.
    told: Arc<Mutex<Vec<String>>>,
    metrics: Metrics,
}

impl Scene {
    async fn new(play: Play) -> Self {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let control = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        let links = Links::new();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let acting = act(theirs, play, links.clone(), told.clone());
        Self {
            engine: Engine::pretended(control).unwrap(),
            links,
            play: tokio::spawn(acting),
            told,
            metrics: Metrics::new(),
        }
    }

    /// Opens a passive port; returns the client's end of it, which is not connected yet, and the server's.
    fn channel(&self) -> (std::net::SocketAddr, Channel) {
        let ports = PassivePorts::new(0..=0, self.metrics.clone());
        let listener = ports.listen(HERE).unwrap();
        let address = (HERE, listener.port()).into();
        let channel = Channel {
            source: DataSource::Passive(listener),
            peers: Peers {
                transport: HERE,
                client: HERE,
            },
            tls: None,
            patience: LONG,
        };
        (address, channel)
    }

    fn transfer(&mut self, channel: Channel, marks: mpsc::Sender<Reply>) -> Transfer<'_> {
        Transfer {
            engine: &mut self.engine,
            links: &self.links,
            command: "STOR /b/k".into(),
            offset: 0,
            channel,
            marks,
            progress: Progress::default(),
            stall: Some(LONG),
            verdict: LONG,
            metrics: &self.metrics,
        }
    }
}

async fn act(control: TcpStream, play: Play, links: Links, told: Arc<Mutex<Vec<String>>>) -> Seen {
    let mut control = BufReader::new(control);
    let mut data = None;
    loop {
        let mut line = String::new();
        control.read_line(&mut line).await.unwrap();
        told.lock().unwrap().push(line.trim_end().to_owned());
        let reply = match line.split_whitespace().next() {
            Some("EPSV") => {
                let listener = TcpListener::bind((HERE, 0)).await.unwrap();
                let port = listener.local_addr().unwrap().port();
                data = Some(listener);
                format!("229 ok (|||{port}|)\r\n")
            }
            Some("REST") => "350 ok\r\n".to_owned(),
            _ => break,
        };
        control.get_mut().write_all(reply.as_bytes()).await.unwrap();
    }
    let (mut data, _) = data.take().unwrap().accept().await.unwrap();
    control.get_mut().write_all(b"150 go\r\n").await.unwrap();
    let mut seen = Seen {
        bytes: Vec::new(),
        is_clean: false,
        has_passed: false,
    };
    let last = match play {
        Play::Take => {
            let mut inflow = links.conduit.inflow().unwrap();
            while let Some(frame) = inflow.recv().await {
                seen.bytes.extend_from_slice(&frame);
            }
            // Nothing but the end comes this way.
            seen.is_clean = data.read(&mut [0]).await.is_ok_and(|read| read == 0);
            // Asked even after a reset: the gate alone has to hold.
            seen.has_passed = links.gate.permit().await.is_ok();
            if seen.has_passed {
                "226 stored"
            } else {
                "426 cut"
            }
        }
        Play::Refuse => {
            links.conduit.inflow().unwrap().recv().await.unwrap();
            let text = "the bucket is full".to_owned();
            links.refusals.leave(Refusal { code: 452, text });
            "450 no"
        }
        Play::Send(bytes, last) => {
            data.write_all(bytes).await.unwrap();
            data.shutdown().await.unwrap();
            last
        }
        Play::Deliver(bytes, breaks) => {
            let mut frames: Vec<_> = bytes.chunks(1000).map(|chunk| Ok(chunk.into())).collect();
            if breaks {
                frames.push(Err(StorageError::internal("broken")));
            }
            let body = ByteStream::new(futures::stream::iter(frames), None);
            match links.conduit.deliver(body).await {
                Delivered::Taken(Ok(sent)) => {
                    assert_eq!(sent, bytes.len() as u64);
                    "226 sent"
                }
                Delivered::Taken(Err(failure)) => {
                    let _ = failure.leave(&links.refusals);
                    "450 no"
                }
                Delivered::NotAsked(_) => panic!("the session waits"),
            }
        }
    };
    drop(data);
    // Whoever is gone needs no answer.
    let _ = control
        .get_mut()
        .write_all(format!("{last}\r\n").as_bytes())
        .await;
    seen
}

/// Returns an upload's outcome and what the engine saw, with a client that does `client`.
async fn upload<F>(client: impl FnOnce(TcpStream) -> F) -> (Ended, Seen)
where
    F: Future<Output = ()>,
{
    let mut scene = Scene::new(Play::Take).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let client = async { client(TcpStream::connect(address).await.unwrap()).await };
    let (ended, ()) = tokio::join!(scene.transfer(channel, marks).upload(), client);
    // Whatever the engine still holds of a cut upload, it must not pass.
    if matches!(ended, Ended::Cut(_)) {
        scene.links.gate.abort();
    }
    (ended, scene.play.await.unwrap())
}

fn code(ended: &Ended) -> u16 {
    match ended {
        Ended::Settled(reply) | Ended::Cut(reply) => reply.code,
    }
}

#[tokio::test]
async fn an_upload_that_ends_cleanly_passes_whole() {
    let bytes = vec![7; 3 * BUFFER_BYTES + 5];
    let sent = bytes.clone();
    let (ended, seen) = upload(|mut client| async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        // The server ends its side as well, and cleanly.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    assert_eq!(ended, Ended::Settled(Reply::new(226, "Stored.")));
    assert_eq!(
        seen,
        Seen {
            bytes,
            is_clean: true,
            has_passed: true
        }
    );
}

#[tokio::test]
async fn an_upload_that_is_reset_is_reset_behind_as_well() {
    let (ended, seen) = upload(|mut client| async move {
        client.write_all(b"half").await.unwrap();
        client.set_zero_linger().unwrap();
    })
    .await;
    assert!(
        matches!(&ended, Ended::Cut(reply) if reply.code == 426),
        "{ended:?}"
    );
    assert!(!seen.is_clean && !seen.has_passed);
}

#[tokio::test]
async fn an_upload_that_is_dropped_does_not_pass_whatever_of_it_arrived() {
    let mut scene = Scene::new(Play::Take).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let progress = Progress::default();
    let transfer = Transfer {
        progress: progress.clone(),
        ..scene.transfer(channel, marks)
    };
    let mut client = None;
    {
        let mut running = pin!(transfer.upload());
        let sending = async {
            let client = client.insert(TcpStream::connect(address).await.unwrap());
            client.write_all(b"all of it").await.unwrap();
            while progress.bytes() < 9 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = sending => {}
        }
    }
    scene.links.gate.abort();
    let seen = scene.play.await.unwrap();
    assert!(!seen.is_clean && !seen.has_passed, "{seen:?}");
    // The client sees a reset, not an end.
    assert!(client.unwrap().read(&mut [0]).await.is_err());
}

#[tokio::test]
async fn an_upload_taken_back_right_after_its_end_does_not_pass() {
    let mut scene = Scene::new(Play::Take).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let gate = scene.links.gate.clone();
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"x").await.unwrap();
        client.shutdown().await.unwrap();
        while !gate.has_ended() {
            tokio::task::yield_now().await;
        }
        assert!(gate.abort());
    };
    let (ended, ()) = tokio::join!(scene.transfer(channel, marks).upload(), client);
    assert_eq!(code(&ended), 426);
    let seen = scene.play.await.unwrap();
    assert!(seen.is_clean && !seen.has_passed);
}

#[tokio::test]
async fn an_upload_that_stands_still_is_cut() {
    let mut scene = Scene::new(Play::Take).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let transfer = Transfer {
        stall: Some(Duration::from_millis(20)),
        ..scene.transfer(channel, marks)
    };
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"half").await.unwrap();
        client
    };
    let (ended, _client) = tokio::join!(transfer.upload(), client);
    assert_eq!(code(&ended), 426);
    assert!(!scene.play.await.unwrap().has_passed);
}

#[tokio::test]
async fn an_upload_that_is_refused_in_its_middle_tells_the_true_reason() {
    let mut scene = Scene::new(Play::Refuse).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        // It never ends by itself.
        while client.write_all(&[0; 1024]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let (ended, ()) = tokio::join!(scene.transfer(channel, marks).upload(), client);
    assert_eq!(code(&ended), 452);
}

/// Returns a download's outcome, its preliminary reply, and what the client got, if it got an end.
async fn download(play: Play) -> (Ended, Option<u16>, Option<Vec<u8>>) {
    let mut scene = Scene::new(play).await;
    let (address, channel) = scene.channel();
    let (marks, mut marked) = mpsc::channel(1);
    let client = async {
        let mut bytes = Vec::new();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.read_to_end(&mut bytes).await.ok().map(|_| bytes)
    };
    let (ended, got) = tokio::join!(scene.transfer(channel, marks).download(), client);
    (ended, marked.try_recv().ok().map(|mark| mark.code), got)
}

#[tokio::test]
async fn a_listing_arrives_and_ends_cleanly() {
    let (ended, mark, got) = download(Play::Send(b"hello", "226 sent")).await;
    assert_eq!(ended, Ended::Settled(Reply::new(226, "Sent.")));
    assert_eq!((mark, got.unwrap().as_slice()), (Some(150), &b"hello"[..]));
}

#[tokio::test]
async fn a_file_arrives_and_ends_cleanly() {
    static FILE: [u8; 300_001] = [7; 300_001];
    let (ended, mark, got) = download(Play::Deliver(&FILE, false)).await;
    assert_eq!(ended, Ended::Settled(Reply::new(226, "Sent.")));
    assert_eq!((mark, got.unwrap().as_slice()), (Some(150), &FILE[..]));
}

#[tokio::test]
async fn an_empty_download_is_one() {
    for play in [Play::Send(b"", "226 sent"), Play::Deliver(b"", false)] {
        let (ended, mark, got) = download(play).await;
        assert_eq!((code(&ended), mark), (226, Some(150)));
        assert_eq!(got.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_file_that_breaks_at_once_is_refused_without_a_preliminary_reply() {
    let (ended, mark, _) = download(Play::Deliver(b"", true)).await;
    assert_eq!((code(&ended), mark), (451, None));
}

#[tokio::test]
async fn half_a_file_does_not_look_like_a_whole_one() {
    static FILE: [u8; 300_001] = [7; 300_001];
    let (ended, mark, got) = download(Play::Deliver(&FILE, true)).await;
    assert_eq!((code(&ended), mark), (451, Some(150)));
    assert_eq!(got, None);
}

#[tokio::test]
async fn what_is_missing_is_refused_without_a_preliminary_reply() {
    let (ended, mark, _) = download(Play::Send(b"", "550 missing")).await;
    assert_eq!((code(&ended), mark), (550, None));
}

#[tokio::test]
async fn half_a_download_does_not_look_like_a_whole_one() {
    let (ended, mark, got) = download(Play::Send(b"half", "451 broken")).await;
    assert_eq!((code(&ended), mark), (451, Some(150)));
    assert_eq!(got, None);
}

#[tokio::test]
async fn a_client_that_leaves_cuts_its_download() {
    static MUCH: [u8; 8 << 20] = [0; 8 << 20];
    for play in [Play::Send(&MUCH, "226 sent"), Play::Deliver(&MUCH, false)] {
        let mut scene = Scene::new(play).await;
        let (address, channel) = scene.channel();
        let (marks, _marked) = mpsc::channel(1);
        let client = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.read_exact(&mut [0; 10]).await.unwrap();
        };
        let (ended, ()) = tokio::join!(scene.transfer(channel, marks).download(), client);
        assert_eq!(ended, Ended::Cut(connection_lost()));
    }
}

#[tokio::test]
async fn the_engine_hears_of_an_offset_only_where_there_is_one_and_after_failures() {
    let mut scene = Scene::new(Play::Send(b"x", "451 broken")).await;
    let (address, channel) = scene.channel();
    let (marks, _marked) = mpsc::channel(1);
    let transfer = Transfer {
        offset: 5,
        ..scene.transfer(channel, marks)
    };
    let client = async { TcpStream::connect(address).await.unwrap() };
    let (_, _client) = tokio::join!(transfer.download(), client);
    assert_eq!(scene.told.lock().unwrap()[0], "REST 5");
    // What the engine thinks after a failure is not known.
    assert_eq!(scene.engine.offset(), None);
    let whole = Scene::new(Play::Send(b"", "226 sent")).await;
    assert_eq!(whole.engine.offset(), Some(0));
}

#[tokio::test]
async fn relayed_bytes_are_counted_and_their_end_is_not_passed_on() {
    let (mut source, mut theirs) = tokio::io::duplex(64);
    let (mut sink, mut ours) = tokio::io::duplex(64);
    let progress = Progress::default();
    let relaying = async {
        let pace = Pace {
            stall: Some(LONG),
            progress: progress.clone(),
        };
        relay(&mut theirs, &mut sink, &mut [0; 8], 0, &pace)
            .await
            .unwrap();
        sink
    };
    let feeding = async {
        source.write_all(b"hello").await.unwrap();
        drop(source);
    };
    let (sink, ()) = tokio::join!(relaying, feeding);
    assert_eq!(progress.bytes(), 5);
    let mut bytes = [0; 5];
    ours.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    let silent = tokio::time::timeout(Duration::from_millis(10), ours.read(&mut bytes)).await;
    assert!(silent.is_err());
    drop(sink);
}
