//! Series of the FTP listener: sessions, commands, replies, data connections.

use prometheus::{Error, IntCounterVec, IntGauge};

use super::Metrics;
use super::register::Register;
use super::upstream::InFlight;

#[derive(Debug)]
pub(super) struct FtpSeries {
    sessions_active: IntGauge,
    sessions: IntCounterVec,
    commands: IntCounterVec,
    replies: IntCounterVec,
    data_connections_active: IntGauge,
    passive_ports_in_use: IntGauge,
    passive_ports: IntGauge,
}

/// How the first digits of replies are shown.
const REPLY_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What became of a connection that asked for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStart {
    /// It was served.
    Served,
    /// Too many sessions, in all, from its address, or before login.
    Refused,
}

impl SessionStart {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Served, Self::Refused];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Refused => "refused",
        }
    }
}

impl FtpSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            sessions_active: r.gauge("ftp_sessions_active", "FTP sessions under way.")?,
            sessions: r.counters(
                "ftp_sessions_total",
                "FTP connections, by whether they were served or refused for a limit.",
                &["result"],
            )?,
            commands: r.counters(
                "ftp_commands_total",
                "FTP commands, by verb; unknown ones as OTHER.",
                &["verb"],
            )?,
            replies: r.counters(
                "ftp_replies_total",
                "FTP replies, by the first digit of their code.",
                &["class"],
            )?,
            data_connections_active: r.gauge(
                "ftp_data_connections_active",
                "FTP data connections that are open.",
            )?,
            passive_ports_in_use: r.gauge(
                "ftp_passive_ports_in_use",
                "Passive FTP ports that wait for their connection.",
            )?,
            passive_ports: r.gauge(
                "ftp_passive_ports",
                "Passive FTP ports that are configured.",
            )?,
        };
        for start in SessionStart::ALL {
            series.sessions.with_label_values(&[start.name()]);
        }
        for class in REPLY_CLASSES {
            series.replies.with_label_values(&[class]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Makes the commands' series exist at zero; `verbs` is a closed set.
    pub fn ftp_verbs(&self, verbs: impl Iterator<Item = &'static str>) {
        for verb in verbs {
            self.0.ftp.commands.with_label_values(&[verb]);
        }
    }

    /// Tells how many passive ports are configured.
    pub fn ftp_passive_ports(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.ftp.passive_ports.set(count);
    }

    /// Counts a connection.
    pub fn ftp_session(&self, start: SessionStart) {
        self.0.ftp.sessions.with_label_values(&[start.name()]).inc();
    }

    /// Shows a session as under way until the guard is dropped.
    #[must_use]
    pub fn ftp_session_active(&self) -> InFlight {
        InFlight::enter(self.0.ftp.sessions_active.clone())
    }

    /// Counts a command; `verb` comes from a closed set.
    pub fn ftp_command(&self, verb: &str) {
        self.0.ftp.commands.with_label_values(&[verb]).inc();
    }

    /// Counts a reply by its code.
    pub fn ftp_reply(&self, code: u16) {
        let class = usize::from(code / 100).clamp(1, REPLY_CLASSES.len());
        let class = REPLY_CLASSES[class - 1];
        self.0.ftp.replies.with_label_values(&[class]).inc();
    }

    /// Shows a data connection as open until the guard is dropped.
    #[must_use]
    pub fn ftp_data_connection(&self) -> InFlight {
        InFlight::enter(self.0.ftp.data_connections_active.clone())
    }

    /// Shows a passive port as in use until the guard is dropped.
    #[must_use]
    pub fn ftp_passive_port(&self) -> InFlight {
        InFlight::enter(self.0.ftp.passive_ports_in_use.clone())
    }
}
