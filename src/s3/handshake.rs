//! TLS on a connection that was just accepted.
//!
//! A client that speaks plain HTTP on a TLS port learns so in a sentence: rustls would only close the connection, and
//! people then look for the fault in their network.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The protocols that the S3 listener speaks over TLS, in the order of preference (ALPN).
pub const ALPN_PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The whole answer to plain HTTP. Nothing of the request is read before it, not even its method.
const PLAIN_REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: application/xml\r\n\
    connection: close\r\n\
    content-length: 173\r\n\
    \r\n\
    <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>InvalidRequest</Code><Message>This port speaks HTTPS, and the request came as plain HTTP. Use https://.\
    </Message></Error>";

/// Of a refused request, this much is read so that the client sees the answer, in bytes.
const MAX_DRAINED_BYTES: u64 = 256 << 10;

/// How long a refused client may take to read the answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Completes the handshake within `patience`.
///
/// Errors: the client is too slow, speaks something else, or accepts no common version, cipher, or protocol.
pub(super) async fn shake_hands(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    patience: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let opening = async {
        if speaks_http(&stream).await? {
            refuse(&mut stream).await?;
            let text = "the client speaks plain HTTP";
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        acceptor.accept(stream).await
    };
    match tokio::time::timeout(patience, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(io::Error::new(
            ErrorKind::TimedOut,
            "the TLS handshake takes too long",
        )),
    }
}

/// Reports whether the first byte is that of a method or of HTTP/2's preface. A handshake begins with 22 (RFC 8446 §5.1).
async fn speaks_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let len_bytes = stream.peek(&mut first).await?;
    Ok(len_bytes == 1 && first[0].is_ascii_uppercase())
}

async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_REFUSAL.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with unread bytes makes the kernel throw the answer away.
    let mut rest = stream.take(MAX_DRAINED_BYTES);
    let mut nowhere = tokio::io::sink();
    let drained = tokio::io::copy(&mut rest, &mut nowhere);
    let _ = tokio::time::timeout(FAREWELL, drained).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_the_length_that_it_announces() {
        let (head, body) = PLAIN_REFUSAL.split_once("\r\n\r\n").unwrap();
        let announced = head.rsplit(' ').next().unwrap();
        assert_eq!(announced, body.len().to_string());
        assert!(body.ends_with("Use https://.</Message></Error>"), "{body}");
    }
}
