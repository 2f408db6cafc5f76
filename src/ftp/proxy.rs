//! The PROXY protocol, versions 1 and 2: a proxy's first bytes say whose connection it passes on.
//!
//! Source: <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest header of version 1, its line end included.
const MAX_V1_BYTES: usize = 107;

/// How a header of version 2 begins.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest body of version 2 that is read: addresses, and room for what may follow them.
const MAX_V2_BODY_BYTES: usize = 2048;

/// Reads the header, and not a byte more. Returns the client's address and the one that it connected to, or nothing if the
/// proxy speaks for itself, as with health checks.
///
/// Errors: there is no header, or it is malformed; the connection broke.
pub(super) async fn read_header(
    connection: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut head = [0; V2_SIGNATURE.len()];
    connection.read_exact(&mut head).await?;
    if head == V2_SIGNATURE {
        return read_v2(connection).await;
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1_BYTES {
            return Err(malformed());
        }
        line.push(connection.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| malformed())?;
    parse_v1(line.trim_end()).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the PROXY header is malformed")
}

fn parse_v1(line: &str) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            target,
            source_port,
            target_port,
        ] => {
            let address = |ip: &str, port: &str| {
                let ip: IpAddr = ip.parse().ok()?;
                let is_of_family = ip.is_ipv4() == (family == "TCP4");
                let port = port.parse().ok()?;
                is_of_family.then(|| SocketAddr::new(ip.to_canonical(), port))
            };
            Some(Some((
                address(source, source_port)?,
                address(target, target_port)?,
            )))
        }
        _ => None,
    }
}

async fn read_v2(
    connection: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut head = [0; 4];
    connection.read_exact(&mut head).await?;
    let [version_and_command, family, high, low] = head;
    let len_bytes = usize::from(u16::from_be_bytes([high, low]));
    if len_bytes > MAX_V2_BODY_BYTES {
        return Err(malformed());
    }
    let mut body = vec![0; len_bytes];
    connection.read_exact(&mut body).await?;
    match (version_and_command, family) {
        // LOCAL, or no family that has addresses.
        (0x20, _) | (0x21, 0x00) => Ok(None),
        (0x21, 0x11) => parse_v2(&body, |ip: [u8; 4]| Ipv4Addr::from(ip).into()),
        (0x21, 0x21) => parse_v2(&body, |ip: [u8; 16]| Ipv6Addr::from(ip).into()),
        _ => Err(malformed()),
    }
}

/// Reads two addresses, then two ports.
fn parse_v2<const N: usize>(
    body: &[u8],
    ip: impl Fn([u8; N]) -> IpAddr,
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let address = |nth: usize| {
        let octets = body.get(nth * N..(nth + 1) * N)?.try_into().ok()?;
        let port_at = 2 * N + 2 * nth;
        let port = body.get(port_at..port_at + 2)?.try_into().ok()?;
        let ip = ip(octets).to_canonical();
        Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
    };
    match (address(0), address(1)) {
        (Some(source), Some(target)) => Ok(Some((source, target))),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> (io::Result<Option<(SocketAddr, SocketAddr)>>, Vec<u8>) {
        let header = read_header(&mut bytes).await;
        (header, bytes.to_vec())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len_bytes = u16::try_from(body.len()).unwrap().to_be_bytes();
        [
            &V2_SIGNATURE[..],
            &[command, family],
            &len_bytes,
            body,
            b"rest",
        ]
        .concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest_unread() {
        let v4 = v2(
            0x21,
            0x11,
            &[192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0, 21, 9, 9],
        );
        let v6_body = [&[0xfd; 16][..], &[0xfe; 16], &[0x30, 0x39, 0, 21]].concat();
        let v6 = v2(0x21, 0x21, &v6_body);
        for (bytes, source) in [
            (
                &b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 21\r\nrest"[..],
                "192.0.2.1:12345",
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 12345 21\r\nrest",
                "[2001:db8::1]:12345",
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::1 12345 21\r\nrest",
                "192.0.2.1:12345",
            ),
            (&v4, "192.0.2.1:12345"),
            (&v6, "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:12345"),
        ] {
            let (header, rest) = read(bytes).await;
            let (found, target) = header.unwrap().unwrap();
            assert_eq!(found, source.parse().unwrap());
            assert_eq!(target.port(), 21);
            assert_eq!(rest, b"rest");
        }
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        for bytes in [
            b"PROXY UNKNOWN\r\nrest".to_vec(),
            v2(0x20, 0x00, b""),
            v2(0x21, 0x00, b"abc"),
        ] {
            let (header, rest) = read(&bytes).await;
            assert_eq!((header.unwrap(), &rest[..]), (None, &b"rest"[..]));
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        for bytes in [
            &b"USER anonymous\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
            b"PROXY TCP4",
            &endless,
            &v2(0x21, 0x11, &[1, 2, 3]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x21, 0x11, &[0; 4096]),
        ] {
            assert!(read(bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
