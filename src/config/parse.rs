//! Texts into types. Each parser's error completes "`<origin>`: …" and repeats the text, so none of them is for secrets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::storage::{Namespace, Visibility};

/// Origins that browsers may call the S3 listener from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Every origin.
    Any,
    /// No origin: preflight requests are refused.
    Off,
    /// These origins, such as `https://app.example.org`. Never empty.
    Origins(Vec<String>),
}

/// A range of ports; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

/// Returns a number of bytes: a whole number with `B`, `KiB`, `MiB`, `GiB`, or `TiB` behind it; without a unit, bytes.
///
/// ```
/// use hugbucket::config::parse::size;
///
/// assert_eq!(size("512 MiB"), Ok(512 << 20));
/// assert_eq!(size("0"), Ok(0));
/// assert!(size("512 MB").is_err());
/// ```
pub fn size(text: &str) -> Result<u64, String> {
    let refused =
        || format!("`{text}` is not a size such as 512 MiB (units: B, KiB, MiB, GiB, TiB)");
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return Err(refused()),
    };
    number.checked_mul(factor).ok_or_else(refused)
}

/// Returns a time: a whole number with `ms`, `s`, `m`, `h`, or `d` behind it; without a unit, seconds.
///
/// ```
/// use std::time::Duration;
/// use hugbucket::config::parse::duration;
///
/// assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
/// assert_eq!(duration("5 m"), Ok(Duration::from_secs(300)));
/// assert_eq!(duration("7 d"), Ok(Duration::from_secs(604_800)));
/// ```
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a time such as 30 s (units: ms, s, m, h, d)");
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    let millis = number.checked_mul(millis).ok_or_else(refused)?;
    Ok(Duration::from_millis(millis))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Returns a whole number that is not negative.
pub fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number"))
}

/// Returns a whole number that is at least 1.
pub fn positive(text: &str) -> Result<usize, String> {
    match count(text)? {
        0 => Err("must be at least 1".to_owned()),
        count => Ok(count),
    }
}

/// Returns a time, or nothing for 0.
pub fn unless_zero(text: &str) -> Result<Option<Duration>, String> {
    let time = duration(text)?;
    Ok((!time.is_zero()).then_some(time))
}

/// Returns a switch: `true` or `1`, `false` or `0`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Returns the address of a listener, or nothing for `off`. Port 0 lets the system choose.
pub fn listener(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let refused = || format!("`{text}` is neither `off` nor an address such as 0.0.0.0:9000");
    text.parse().map(Some).map_err(|_| refused())
}

/// Returns the items of a comma list without the blanks around them; empty items are skipped.
pub fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the Hub's address without a trailing slash: http or https, a host, and no more than a path.
pub fn endpoint(text: &str) -> Result<Url, String> {
    let refused = || format!("`{text}` is not an address such as https://huggingface.co");
    let url = Url::parse(text.trim_end_matches('/')).map_err(|_| refused())?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain {
        Ok(url)
    } else {
        Err(refused())
    }
}

/// Returns a namespace.
pub fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::new(text)
        .map_err(|_| format!("`{text}` is not the name of a Hub user or organisation"))
}

/// Returns a visibility: `private` or `public`.
pub fn visibility(text: &str) -> Result<Visibility, String> {
    match text {
        "private" => Ok(Visibility::Private),
        "public" => Ok(Visibility::Public),
        _ => Err(format!("`{text}` is neither `private` nor `public`")),
    }
}

/// Returns the domains of virtual-hosted buckets, in lower case.
pub fn domains(text: &str) -> Result<Vec<String>, String> {
    let check = |domain: String| {
        let is_host = domain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if is_host && !domain.starts_with('.') && !domain.ends_with('.') {
            Ok(domain.to_ascii_lowercase())
        } else {
            Err(format!("`{domain}` is not a domain such as s3.example.org"))
        }
    };
    list(text).into_iter().map(check).collect()
}

/// Returns the name of a region.
pub fn region(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(is_name) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a region such as us-east-1"))
    }
}

/// Returns the origins of CORS: `*`, `off`, or a comma list.
pub fn cors(text: &str) -> Result<Cors, String> {
    match text {
        "*" => return Ok(Cors::Any),
        "off" => return Ok(Cors::Off),
        _ => {}
    }
    let origins = list(text);
    let is_origin = |text: &String| {
        Url::parse(text)
            .is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == *text)
    };
    match origins.iter().find(|text| !is_origin(text)) {
        Some(other) => Err(format!(
            "`{other}` is not an origin such as https://app.example.org"
        )),
        None => Ok(Cors::Origins(origins)),
    }
}

/// Returns a comma list of networks; an address is a network of one.
pub fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parse = |item: String| {
        let address = item.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| item.parse())
            .map_err(|_| format!("`{item}` is neither an address nor a network such as 10.0.0.0/8"))
    };
    list(text).into_iter().map(parse).collect()
}

/// Returns a range of ports such as `30000-30199`; a single port is a range of one.
pub fn port_range(text: &str) -> Result<PortRange, String> {
    let refused = || format!("`{text}` is not a range of ports such as 30000-30199");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| refused());
    let range = PortRange {
        first: port(first)?,
        last: port(last)?,
    };
    if range.first == 0 || range.first > range.last {
        return Err(refused());
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_and_do_not_wrap() {
        for (text, expected) in [
            ("0", 0),
            ("17", 17),
            ("17 B", 17),
            ("1KiB", 1024),
            ("512 MiB", 512 << 20),
            ("10 GiB", 10 << 30),
            ("1 TiB", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5 GiB",
            "5 MB",
            "5 mib",
            "20000000 TiB",
            "1 2",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_default_to_seconds() {
        for (text, millis) in [
            ("0", 0),
            ("30", 30_000),
            ("250 ms", 250),
            ("2h", 7_200_000),
            ("1 d", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1 w", "-1 s", "1.5 s", "18446744073709551615 h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listeners_are_addresses_or_off() {
        assert_eq!(listener("off"), Ok(None));
        assert_eq!(listener("[::1]:0"), Ok(Some("[::1]:0".parse().unwrap())));
        for text in [
            "",
            "9000",
            ":9000",
            "localhost:9000",
            "0.0.0.0:70000",
            "OFF",
        ] {
            assert!(listener(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        let networks = networks("10.0.0.0/8, 192.0.2.7, fd00::/8").unwrap();
        let contains = |n: usize, address: &str| {
            let address: IpAddr = address.parse().unwrap();
            networks[n].contains(&address)
        };
        assert!(contains(0, "10.255.0.1") && !contains(0, "11.0.0.1"));
        assert!(contains(1, "192.0.2.7") && !contains(1, "192.0.2.8"));
        assert!(contains(2, "fd12::1") && !contains(2, "fe80::1"));
        for text in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "proxy"] {
            assert!(super::networks(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cors_is_any_off_or_a_list_of_origins() {
        assert_eq!(cors("*"), Ok(Cors::Any));
        assert_eq!(cors("off"), Ok(Cors::Off));
        assert_eq!(
            cors("https://a.test, http://b.test:8080"),
            Ok(Cors::Origins(vec![
                "https://a.test".into(),
                "http://b.test:8080".into()
            ]))
        );
        for text in ["a.test", "https://a.test/path", "https://a.test,*"] {
            assert!(cors(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_has_a_host_and_no_credentials() {
        assert_eq!(
            endpoint("http://127.0.0.1:1/").unwrap().as_str(),
            "http://127.0.0.1:1/"
        );
        assert_eq!(
            endpoint("https://hub.test/mirror/").unwrap().path(),
            "/mirror"
        );
        for text in [
            "huggingface.co",
            "ftp://hub.test",
            "https://u:p@hub.test",
            "https://hub.test?x",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges_ascend() {
        assert_eq!(
            port_range("30000-30199"),
            Ok(PortRange {
                first: 30000,
                last: 30199
            })
        );
        assert_eq!(
            port_range("21"),
            Ok(PortRange {
                first: 21,
                last: 21
            })
        );
        for text in ["", "0-1", "2-1", "1-70000", "1-2-3"] {
            assert!(port_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(namespace("my-org").is_ok() && namespace("my org").is_err());
        assert_eq!(
            domains("S3.Example.org,s3"),
            Ok(vec!["s3.example.org".into(), "s3".into()])
        );
        assert!(domains("*.example.org").is_err() && domains(".org").is_err());
        assert!(region("eu-central-1").is_ok() && region("eu central").is_err());
        assert!(visibility("public").is_ok() && visibility("Public").is_err());
        assert_eq!((switch("1"), switch("false")), (Ok(true), Ok(false)));
        assert!(switch("yes").is_err() && count("-1").is_err());
    }
}
