//! Logs: one line an event on standard error, for people or as JSON.
//!
//! Lines that belong to a request carry its id, and the id of its trace where one is kept: both are fields of the
//! request's span.

use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, filter, fmt, reload};

use crate::telemetry::Metrics;
use crate::telemetry::tally::{TallyLayer, is_tallied};
use crate::telemetry::tracing::{TraceSettings, Traces, is_exported};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `HUGBUCKET_LOG`, `info`: level or directives of `tracing-subscriber`, as `info,hugbucket::provider=debug`.
    pub filter: String,
    /// `HUGBUCKET_LOG_FORMAT`, `text`.
    pub format: LogFormat,
    /// `HUGBUCKET_AUDIT_LOG`, false: a line for whatever changes something or is denied, whatever the filter says.
    pub audits: bool,
}

/// The target of the audit log's lines.
pub const AUDIT: &str = "hugbucket::audit";

/// Changes what is logged. Clones change the same.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Changes what is logged from now on.
    ///
    /// Errors: a sentence, if `filter` cannot be used; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        self.0
            .reload(filter)
            .map_err(|error| format!("the log filter cannot change: {error}"))
    }
}

/// The running logs and traces.
#[derive(Debug)]
pub struct Telemetry {
    /// What is logged.
    pub filter: LogFilter,
    /// The exporter of spans, if traces are on.
    pub traces: Option<Traces>,
}

impl Telemetry {
    /// Begins to log, to export spans if the environment says so, and to count panics. Once a process.
    ///
    /// Errors: a sentence, if the filter or the exporter's settings cannot be used, or if something logs already.
    pub fn start(
        settings: &LogSettings,
        traces: TraceSettings,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let (filter, handle) = reload::Layer::new(parse(&settings.filter)?);
        let audits = settings.audits.then(|| {
            let only = filter::filter_fn(is_audit);
            lines(settings.format, std::io::stderr).with_filter(only)
        });
        let traces =
            Traces::start(traces).map_err(|error| format!("traces cannot be exported: {error}"))?;
        let exported = traces
            .as_ref()
            .map(|traces| traces.layer().with_filter(filter::filter_fn(is_exported)));
        tracing_subscriber::registry()
            .with(
                lines(settings.format, std::io::stderr)
                    // The audit log has its own switch.
                    .with_filter(filter.and(filter::filter_fn(|line| !is_audit(line)))),
            )
            .with(audits)
            .with(TallyLayer.with_filter(filter::filter_fn(is_tallied)))
            .with(exported)
            .try_init()
            .map_err(|error| format!("logging cannot start: {error}"))?;
        count_panics(metrics.clone());
        Ok(Self {
            filter: LogFilter(handle),
            traces,
        })
    }
}

fn is_audit(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == AUDIT
}

/// What stays out unless somebody asks for it: the FTP engine tells of loopback addresses only, and writes whole structures into
/// its spans. The FTP adapter has lines and spans of its own.
const QUIET: &str = "libunftp=off";

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|error| format!("`{filter}` is no log filter: {error}"))
}

/// Returns the layer that writes lines.
fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer()
            .with_writer(writer)
            .with_target(false)
            .with_ansi(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .with_writer(writer)
            .json()
            .flatten_event(true)
            // The list begins with the request's span, which holds its id; the current span may be a child without it.
            .with_current_span(false)
            .with_span_list(true)
            .boxed(),
    }
}

/// Counts and logs every panic, then lets the usual hook print it.
fn count_panics(metrics: Metrics) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a task panicked");
        usual(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let written = Written::default();
        let writer = written.clone();
        let lines = lines(format, move || writer.clone()).with_filter(parse(filter).unwrap());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::error_span!("request", request_id = "abc");
            let _request = request.enter();
            let _call = tracing::info_span!("hub paths-info").entered();
            tracing::info!(answer = 42, "hello");
            tracing::debug!("too much");
        });
        written.text()
    }

    #[test]
    fn json_lines_carry_the_requests_id_under_any_child_span() {
        let text = logged(LogFormat::Json, "info");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "hello");
        assert_eq!(line["answer"], 42);
        assert_eq!(line["spans"][0]["request_id"], "abc");
    }

    #[test]
    fn text_lines_carry_it_too_and_the_filter_counts() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("request_id=\"abc\""), "{text}");
        assert!(!text.contains("too much"), "{text}");
        assert!(logged(LogFormat::Text, "error").is_empty());
    }

    #[test]
    fn the_ftp_engine_is_silent_unless_asked() {
        let logged = |filter: &str| {
            let written = Written::default();
            let writer = written.clone();
            let lines = lines(LogFormat::Text, move || writer.clone());
            let lines = lines.with_filter(parse(filter).unwrap());
            let subscriber = tracing_subscriber::registry().with(lines);
            tracing::subscriber::with_default(subscriber, || {
                let _span = tracing::info_span!(target: "libunftp::server", "handle").entered();
                tracing::warn!(target: "libunftp::server", "loopback");
            });
            written.text()
        };
        assert_eq!(logged("debug"), "");
        assert!(logged("info,libunftp=debug").contains("loopback"));
    }

    #[test]
    fn a_panic_anywhere_is_counted() {
        let metrics = Metrics::new();
        count_panics(metrics.clone());
        let panicked = std::thread::spawn(|| panic!("on purpose")).join();
        assert!(panicked.is_err());
        assert!(!metrics.render().contains("hugbucket_panics_total 0"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(parse("hugbucket=loud").is_err());
        assert!(parse("info,hugbucket=debug").is_ok());
    }
}
