//! Commands: the table of verbs, and what each wants behind it.
//!
//! A line either becomes a [`Command`] or the refusal that it deserves: 500 for what is no command, 501 for an argument that
//! is missing, superfluous, or malformed, 502 for what is known and not offered, 504 for a parameter that is not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::ftp::reply::Reply;
use crate::ftp::wire::LineFault;
use crate::storage::Secret;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    // === access ===
    User(String),
    Pass(Secret),
    Auth,
    Pbsz,
    /// Whether data connections are to be encrypted.
    Prot(bool),
    Quit,
    // === the session ===
    Syst,
    Feat,
    Help,
    Noop,
    /// Accepted and without effect here; the text says what was meant.
    Accepted(&'static str),
    /// Accepted although it does nothing (202).
    Superfluous,
    Opts(String),
    /// Of the session, or of a path.
    Stat(Option<String>),
    Abor,
    // === data connections ===
    Pasv,
    Epsv(Passive),
    /// Where the server is to connect to (PORT, EPRT).
    Port(SocketAddr),
    Rest(u64),
    // === transfers ===
    Retr(String),
    Stor(String),
    Appe(String),
    List(Option<String>),
    Nlst(Option<String>),
    Mlsd(Option<String>),
    // === files and directories ===
    Pwd,
    Cwd(String),
    Cdup,
    Mkd(String),
    Rmd(String),
    Dele(String),
    Rnfr(String),
    Rnto(String),
    Size(String),
    Mdtm(String),
    Mlst(Option<String>),
    /// Sets the modification time, in UTC.
    Mfmt(PrimitiveDateTime, String),
}

/// What EPSV says behind itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passive {
    /// Any family of addresses.
    Any,
    /// IPv4 (1) or IPv6 (2).
    Family(u8),
    /// No other way to open a data connection will be used (ALL).
    Only,
}

/// A line that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// The verb, for logs, spans, and metrics: one of [`verbs`].
    pub(super) verb: &'static str,
    /// The command, or why it is none.
    pub(super) command: Result<Command, Reply>,
}

/// Whether a verb wants something behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Needed,
    Optional,
    /// Nothing helps: the verb is known, and not offered.
    Vain,
}

type Reader = fn(&str) -> Result<Command, Reply>;

/// The label of what is no known verb.
const UNKNOWN: &str = "OTHER";

/// Every verb: its name, whether it wants an argument, and what reads it.
const TABLE: &[(&str, Argument, Reader)] = &[
    ("ABOR", Argument::None, |_| Ok(Command::Abor)),
    ("ACCT", Argument::Needed, |_| Ok(Command::Superfluous)),
    ("ADAT", Argument::Vain, not_offered),
    ("ALLO", Argument::Needed, |_| Ok(Command::Superfluous)),
    ("APPE", Argument::Needed, |path| {
        file(path).map(Command::Appe)
    }),
    ("AUTH", Argument::Needed, auth),
    ("CCC", Argument::Vain, not_offered),
    ("CDUP", Argument::None, |_| Ok(Command::Cdup)),
    ("CLNT", Argument::Optional, |_| {
        Ok(Command::Accepted("Noted."))
    }),
    ("CWD", Argument::Needed, |path| {
        Ok(Command::Cwd(path.into()))
    }),
    ("DELE", Argument::Needed, |path| {
        file(path).map(Command::Dele)
    }),
    ("EPRT", Argument::Needed, eprt),
    ("EPSV", Argument::Optional, epsv),
    ("FEAT", Argument::None, |_| Ok(Command::Feat)),
    ("HELP", Argument::Optional, |_| Ok(Command::Help)),
    ("LIST", Argument::Optional, |text| {
        Ok(Command::List(listed(text)))
    }),
    ("MDTM", Argument::Needed, |path| {
        Ok(Command::Mdtm(path.into()))
    }),
    ("MFMT", Argument::Needed, mfmt),
    ("MKD", Argument::Needed, |path| {
        Ok(Command::Mkd(path.into()))
    }),
    ("MLSD", Argument::Optional, |path| {
        Ok(Command::Mlsd(optional(path)))
    }),
    ("MLST", Argument::Optional, |path| {
        Ok(Command::Mlst(optional(path)))
    }),
    ("MODE", Argument::Needed, mode),
    ("NLST", Argument::Optional, |text| {
        Ok(Command::Nlst(listed(text)))
    }),
    ("NOOP", Argument::None, |_| Ok(Command::Noop)),
    ("OPTS", Argument::Needed, |text| {
        Ok(Command::Opts(text.into()))
    }),
    ("PASS", Argument::Optional, |text| {
        Ok(Command::Pass(Secret::new(text)))
    }),
    ("PASV", Argument::None, |_| Ok(Command::Pasv)),
    ("PBSZ", Argument::Needed, pbsz),
    ("PORT", Argument::Needed, port),
    ("PROT", Argument::Needed, prot),
    ("PWD", Argument::None, |_| Ok(Command::Pwd)),
    ("QUIT", Argument::None, |_| Ok(Command::Quit)),
    ("REIN", Argument::Vain, not_offered),
    ("REST", Argument::Needed, rest),
    ("RETR", Argument::Needed, |path| {
        file(path).map(Command::Retr)
    }),
    ("RMD", Argument::Needed, |path| {
        Ok(Command::Rmd(path.into()))
    }),
    ("RNFR", Argument::Needed, |path| {
        Ok(Command::Rnfr(path.into()))
    }),
    ("RNTO", Argument::Needed, |path| {
        Ok(Command::Rnto(path.into()))
    }),
    ("SITE", Argument::Needed, site),
    ("SIZE", Argument::Needed, |path| {
        Ok(Command::Size(path.into()))
    }),
    ("SMNT", Argument::Vain, not_offered),
    ("STAT", Argument::Optional, |path| {
        Ok(Command::Stat(optional(path)))
    }),
    ("STOR", Argument::Needed, |path| {
        file(path).map(Command::Stor)
    }),
    ("STOU", Argument::Vain, not_offered),
    ("STRU", Argument::Needed, structure),
    ("SYST", Argument::None, |_| Ok(Command::Syst)),
    ("TYPE", Argument::Needed, kind),
    ("USER", Argument::Needed, |name| {
        Ok(Command::User(name.into()))
    }),
];

/// Old names of verbs (RFC 775), and what they are called here.
const ALIASES: &[(&str, &str)] = &[
    ("XCUP", "CDUP"),
    ("XCWD", "CWD"),
    ("XMKD", "MKD"),
    ("XPWD", "PWD"),
    ("XRMD", "RMD"),
];

/// Returns every label that [`Request::verb`] can have.
pub(super) fn verbs() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(verb, ..)| *verb).chain([UNKNOWN])
}

/// Returns the verbs that do something.
pub(super) fn offered() -> impl Iterator<Item = &'static str> {
    let offered = TABLE
        .iter()
        .filter(|(_, argument, _)| *argument != Argument::Vain);
    offered.map(|(verb, ..)| *verb)
}

impl Request {
    /// Reads a line.
    pub(super) fn read(line: Result<&str, LineFault>) -> Self {
        let line = match line {
            Ok(line) => line,
            Err(fault) => return Self::unknown(fault_reply(fault)),
        };
        let (verb, argument) = match line.split_once(' ') {
            Some((verb, argument)) => (verb, Some(argument)),
            None => (line, None),
        };
        let verb = verb.to_ascii_uppercase();
        let alias = ALIASES.iter().find(|(old, _)| *old == verb);
        let verb = alias.map_or(verb.as_str(), |(_, name)| *name);
        let Some((verb, wanted, reader)) = TABLE.iter().find(|(name, ..)| *name == verb) else {
            return Self::unknown(Reply::new(500, "Unknown command."));
        };
        let command = match (wanted, argument.filter(|argument| !argument.is_empty())) {
            (Argument::Needed, None) => Err(syntax(format!("{verb} needs an argument."))),
            (Argument::None, Some(text)) if !text.trim().is_empty() => {
                Err(syntax(format!("{verb} takes no argument.")))
            }
            (_, argument) => reader(argument.unwrap_or_default()),
        };
        Self { verb, command }
    }

    fn unknown(reply: Reply) -> Self {
        Self {
            verb: UNKNOWN,
            command: Err(reply),
        }
    }
}

fn fault_reply(fault: LineFault) -> Reply {
    match fault {
        LineFault::TooLong => Reply::new(500, "The line is too long."),
        LineFault::NotUtf8 => syntax("The line is not UTF-8."),
        LineFault::Control => syntax("The line holds a control character."),
    }
}

fn syntax(text: impl Into<String>) -> Reply {
    Reply::new(501, text)
}

fn not_for(text: &str) -> Reply {
    Reply::new(504, text)
}

fn not_offered(_: &str) -> Result<Command, Reply> {
    Err(Reply::new(502, "Not offered here."))
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A file's path does not end with a slash: stripped of it, it would name something else than was meant.
fn file(path: &str) -> Result<String, Reply> {
    if path.ends_with('/') {
        return Err(Reply::new(
            553,
            "The path of a file does not end with a slash.",
        ));
    }
    Ok(path.to_owned())
}

/// Skips what looks like options of `ls`, which many clients send.
fn listed(text: &str) -> Option<String> {
    let mut rest = text;
    while rest.starts_with('-') {
        rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    }
    optional(rest)
}

fn auth(mechanism: &str) -> Result<Command, Reply> {
    match mechanism.to_ascii_uppercase().as_str() {
        "TLS" | "TLS-C" | "SSL" => Ok(Command::Auth),
        _ => Err(not_for("Only AUTH TLS is offered.")),
    }
}

fn pbsz(size: &str) -> Result<Command, Reply> {
    match size.parse::<u32>() {
        Ok(_) => Ok(Command::Pbsz),
        Err(_) => Err(syntax("PBSZ needs a number.")),
    }
}

fn prot(level: &str) -> Result<Command, Reply> {
    match level.to_ascii_uppercase().as_str() {
        "C" => Ok(Command::Prot(false)),
        "P" => Ok(Command::Prot(true)),
        "S" | "E" => Err(Reply::new(536, "Only the levels C and P exist with TLS.")),
        _ => Err(not_for("The level is C or P.")),
    }
}

/// ASCII is accepted, and bytes are passed on as they are: translating line ends would change what is stored.
fn kind(kind: &str) -> Result<Command, Reply> {
    match kind.to_ascii_uppercase().as_str() {
        "I" | "L 8" | "L8" => Ok(Command::Accepted("Type is binary.")),
        "A" | "A N" => Ok(Command::Accepted(
            "Type is ASCII; bytes are passed on as they are.",
        )),
        _ => Err(not_for("The type is A or I.")),
    }
}

fn structure(structure: &str) -> Result<Command, Reply> {
    match structure.to_ascii_uppercase().as_str() {
        "F" => Ok(Command::Accepted("Structure is file.")),
        _ => Err(not_for("The structure is F.")),
    }
}

fn mode(mode: &str) -> Result<Command, Reply> {
    match mode.to_ascii_uppercase().as_str() {
        "S" => Ok(Command::Accepted("Mode is stream.")),
        _ => Err(not_for("The mode is S.")),
    }
}

fn rest(offset: &str) -> Result<Command, Reply> {
    let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
    match offset.parse() {
        Ok(offset) if is_number => Ok(Command::Rest(offset)),
        _ => Err(syntax("REST needs an offset in bytes.")),
    }
}

/// Clients set modes after uploads, and take a refusal for a failed upload.
fn site(text: &str) -> Result<Command, Reply> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word.to_ascii_uppercase().as_str() {
        "CHMOD" | "UMASK" | "IDLE" => Ok(Command::Superfluous),
        // `SITE UTIME YYYYMMDDhhmm[ss] path` is an older way to say MFMT.
        "UTIME" => mfmt(rest),
        "HELP" => Ok(Command::Help),
        _ => Err(not_for("Unknown SITE command.")),
    }
}

fn mfmt(text: &str) -> Result<Command, Reply> {
    let (at, path) = text
        .split_once(' ')
        .filter(|(_, path)| !path.is_empty())
        .ok_or_else(|| syntax("A time and a path are needed."))?;
    // A fraction of a second is allowed (RFC 3659 §2.3) and too fine to matter.
    let whole = at.split('.').next().unwrap_or(at);
    let format = format_description!("[year][month][day][hour][minute][second]");
    let padded = if whole.len() == 12 {
        format!("{whole}00")
    } else {
        whole.to_owned()
    };
    let at = PrimitiveDateTime::parse(&padded, format)
        .map_err(|_| syntax("The time has the form YYYYMMDDhhmmss."))?;
    Ok(Command::Mfmt(at, path.to_owned()))
}

fn epsv(text: &str) -> Result<Command, Reply> {
    let passive = match text.to_ascii_uppercase().as_str() {
        "" => Passive::Any,
        "ALL" => Passive::Only,
        "1" => Passive::Family(1),
        "2" => Passive::Family(2),
        _ => return Err(Reply::new(522, "Unknown network protocol; use (1,2)")),
    };
    Ok(Command::Epsv(passive))
}

/// `h1,h2,h3,h4,p1,p2` (RFC 959 §4.1.2).
fn port(text: &str) -> Result<Command, Reply> {
    let malformed = || syntax("PORT needs six numbers below 256.");
    let numbers: Result<Vec<u8>, _> = text
        .split(',')
        .map(|number| number.trim().parse())
        .collect();
    let [a, b, c, d, high, low] = numbers.map_err(|_| malformed())?[..] else {
        return Err(malformed());
    };
    let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let port = u16::from_be_bytes([high, low]);
    Ok(Command::Port(SocketAddr::new(ip, port)))
}

/// `|1|132.235.1.2|6275|` (RFC 2428 §2); the first character separates.
fn eprt(text: &str) -> Result<Command, Reply> {
    let malformed = || syntax("EPRT needs |family|address|port|.");
    let separator = text.chars().next().ok_or_else(malformed)?;
    let parts: Vec<&str> = text.split(separator).collect();
    let ["", family, ip, port, ""] = parts[..] else {
        return Err(malformed());
    };
    if !matches!(family, "1" | "2") {
        return Err(Reply::new(522, "Unknown network protocol; use (1,2)"));
    }
    let ip: IpAddr = ip.parse().map_err(|_| malformed())?;
    let port = port.parse().map_err(|_| malformed())?;
    if ip.is_ipv4() != (family == "1") {
        return Err(malformed());
    }
    Ok(Command::Port(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn read(line: &str) -> Result<Command, Reply> {
        Request::read(Ok(line)).command
    }

    fn code(line: &str) -> u16 {
        read(line).unwrap_err().code
    }

    #[test]
    fn the_table_is_sorted_and_its_verbs_are_labels() {
        let verbs: Vec<_> = TABLE.iter().map(|(verb, ..)| *verb).collect();
        assert!(verbs.is_sorted());
        assert!(ALIASES.iter().all(|(_, name)| verbs.contains(name)));
    }

    #[test]
    fn verbs_are_read_in_any_case_and_by_their_old_names() {
        assert_eq!(read("noop"), Ok(Command::Noop));
        assert_eq!(read("xPwd"), Ok(Command::Pwd));
        assert_eq!(Request::read(Ok("XMKD a")).verb, "MKD");
        assert_eq!(Request::read(Ok("EVIL a")).verb, "OTHER");
    }

    #[test]
    fn blanks_belong_to_the_argument_but_for_the_first() {
        assert_eq!(read("STOR  a b "), Ok(Command::Stor(" a b ".into())));
        assert_eq!(read("CWD -l"), Ok(Command::Cwd("-l".into())));
    }

    #[test]
    fn what_is_no_command_is_refused_by_kind() {
        for (line, expected) in [
            ("HELLO", 500),
            ("", 500),
            ("GET / HTTP/1.1", 500),
            ("RETR", 501),
            ("RETR ", 501),
            ("NOOP now", 501),
            ("REST many", 501),
            ("REST -1", 501),
            ("REST +1", 501),
            ("PORT 1,2,3,4,5", 501),
            ("PORT 1,2,3,4,5,256", 501),
            ("PORT 1,2,3,4,5,6,256", 501),
            ("PORT 1,2,3,4,5,6,x", 501),
            ("EPRT |1|::1|5|", 501),
            ("EPRT |1|127.0.0.1|70000|", 501),
            ("EPRT |3|x|5|", 522),
            ("EPSV 3", 522),
            ("MFMT 20260101000000", 501),
            ("MFMT 2026 a", 501),
            ("MFMT 20261301000000 a", 501),
            ("PBSZ x", 501),
            ("TYPE E", 504),
            ("STRU R", 504),
            ("MODE Z", 504),
            ("PROT X", 504),
            ("PROT S", 536),
            ("AUTH GSSAPI", 504),
            ("SITE EXEC x", 504),
            ("STOU", 502),
            ("CCC", 502),
            ("REIN", 502),
            ("STOR a/", 553),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn faults_of_the_line_are_told() {
        for (fault, code) in [
            (LineFault::TooLong, 500),
            (LineFault::NotUtf8, 501),
            (LineFault::Control, 501),
        ] {
            assert_eq!(Request::read(Err(fault)).command.unwrap_err().code, code);
        }
    }

    #[test]
    fn options_of_listings_are_skipped() {
        let list = |text: &str| read(text).unwrap();
        assert_eq!(list("LIST"), Command::List(None));
        assert_eq!(list("LIST -la"), Command::List(None));
        assert_eq!(list("LIST -a -l b c"), Command::List(Some("b c".into())));
        assert_eq!(list("NLST b"), Command::Nlst(Some("b".into())));
    }

    #[test]
    fn addresses_are_read() {
        let v4 = |text: &str| Ok(Command::Port(text.parse().unwrap()));
        assert_eq!(read("PORT 127,0,0,1,4,1"), v4("127.0.0.1:1025"));
        assert_eq!(read("EPRT |1|127.0.0.1|1025|"), v4("127.0.0.1:1025"));
        assert_eq!(read("EPRT !2!::1!1025!"), v4("[::1]:1025"));
        assert_eq!(read("EPSV ALL"), Ok(Command::Epsv(Passive::Only)));
    }

    #[test]
    fn times_are_read_with_and_without_a_fraction() {
        let at = datetime!(2026-03-04 05:06:07);
        let expected = Ok(Command::Mfmt(at, "a b".into()));
        assert_eq!(read("MFMT 20260304050607 a b"), expected);
        assert_eq!(read("MFMT 20260304050607.123 a b"), expected);
        let minute = Ok(Command::Mfmt(datetime!(2026-03-04 05:06:00), "a".into()));
        assert_eq!(read("SITE UTIME 202603040506 a"), minute);
    }

    #[test]
    fn a_password_may_hold_anything_and_is_not_shown() {
        let pass = read("PASS  a b ").unwrap();
        assert_eq!(pass, Command::Pass(Secret::new(" a b ")));
        assert!(!format!("{pass:?}").contains("a b"));
        assert_eq!(read("PASS"), Ok(Command::Pass(Secret::new(""))));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,80}") {
            let request = Request::read(Ok(&line));
            prop_assert!(verbs().any(|verb| verb == request.verb));
        }

        #[test]
        fn no_argument_panics(verb in prop::sample::select(verbs().collect::<Vec<_>>()), argument in "\\PC{0,40}") {
            if let Err(reply) = Request::read(Ok(&format!("{verb} {argument}"))).command {
                prop_assert!((500..600).contains(&reply.code));
            }
        }
    }
}
