//! What the server can, and how it stands.

use crate::ftp::command;
use crate::ftp::pathname;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;

impl Session {
    /// FEAT (RFC 2389 §3).
    pub(super) fn features(&self) -> Reply {
        let mut features = vec!["EPSV", "MDTM", "MFMT", "MLST type*;size*;modify*;"];
        features.extend(["REST STREAM", "SIZE", "TVFS", "UTF8"]);
        if self.ftp.tls.is_some() {
            features.extend(["AUTH TLS", "PBSZ", "PROT"]);
        }
        if self.ftp.config.allows_active {
            features.push("EPRT");
        }
        features.sort_unstable();
        let features = features.into_iter().map(str::to_owned);
        Reply::listing(211, "Features:", features, "End")
    }

    /// STAT without a path; `bytes` have passed of a transfer that runs.
    pub(super) fn status(&self, bytes: Option<u64>) -> Reply {
        let yes_or_no = |is: bool| if is { "yes" } else { "no" };
        let mut lines = vec![
            format!("User: {}", self.user_name().unwrap_or("none")),
            format!("Directory: {}", pathname::quote(&self.working_directory)),
            format!(
                "Control encrypted: {}",
                yes_or_no(self.control.is_encrypted())
            ),
            format!("Data encrypted: {}", yes_or_no(self.protects_data)),
        ];
        if let Some(bytes) = bytes {
            lines.push(format!("Transfer under way: {bytes} bytes"));
        }
        Reply::listing(211, "Status:", lines, "End")
    }

    /// STAT with a path: a listing over the control connection.
    pub(super) async fn list_as_reply(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        if let Err(reply) = self.look_up(&path).await {
            return reply;
        }
        let reply = self.command(&format!("STAT {path}")).await;
        if reply.is_negative() {
            return reply;
        }
        let lines = reply.lines().iter().map(|line| line.trim().to_owned());
        let lines = lines.filter(|line| !line.is_empty());
        Reply::listing(213, format!("Listing of {path}:"), lines, "End")
    }
}

/// HELP.
pub(super) fn help() -> Reply {
    let verbs: Vec<&str> = command::offered().collect();
    let lines = verbs.chunks(10).map(|verbs| verbs.join(" "));
    Reply::listing(214, "Known verbs:", lines, "End")
}

/// OPTS. Paths are UTF-8, always, and facts are the same for everybody.
pub(super) fn options(text: &str) -> Reply {
    let text = text.to_ascii_uppercase();
    let (option, value) = text.split_once(' ').unwrap_or((&text, ""));
    match (option, value) {
        ("UTF8" | "UTF-8", "ON" | "") => Reply::new(200, "Paths are UTF-8."),
        ("UTF8" | "UTF-8", "OFF") => Reply::new(504, "Paths are UTF-8, always."),
        ("MLST", _) => Reply::new(200, "MLST OPTS type;size;modify;"),
        _ => Reply::new(501, "Unknown option."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_many_clients_set_are_accepted() {
        for (text, code) in [
            ("UTF8 ON", 200),
            ("utf8 on", 200),
            ("UTF8", 200),
            ("UTF8 OFF", 504),
            ("MLST type;size;", 200),
            ("HASH SHA-1", 501),
        ] {
            assert_eq!(options(text).code, code, "{text}");
        }
    }
}
