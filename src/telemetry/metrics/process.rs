//! Series of the process itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Error, Gauge, IntCounter, IntGauge, Registry};
use tokio::runtime::Handle;

use super::Metrics;
use super::register::Register;

/// A part of the configuration that is read again while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigPart {
    /// Credentials, the Hub token, the log level.
    Settings,
    /// The TLS certificate, of the S3 listener or of all.
    Certificate,
    /// The TLS certificate of the FTP listeners, where they have one of their own.
    FtpCertificate,
}

#[derive(Debug)]
pub(super) struct ProcessSeries {
    /// Whether the last load of each part failed.
    has_failed: [AtomicBool; 3],
    ready: Gauge,
    shutting_down: IntGauge,
    panics: IntCounter,
    config_reload_ok: IntGauge,
    config_reload_at: Gauge,
    tokio_workers: IntGauge,
    tokio_tasks: IntGauge,
    tokio_queue: IntGauge,
}

impl ProcessSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let build_info = r.float_gauges(
            "build_info",
            "Always 1; the labels say what was built.",
            &["version", "revision"],
        )?;
        build_info
            .with_label_values(&[super::VERSION, super::REVISION])
            .set(1.0);
        Ok(Self {
            has_failed: Default::default(),
            ready: r.float_gauge("ready", "Whether the process takes requests.")?,
            shutting_down: r.gauge("shutting_down", "Whether the process is draining.")?,
            panics: r.counter("panics_total", "Panics caught anywhere in the process.")?,
            config_reload_ok: r.gauge(
                "config_last_reload_successful",
                "Whether the last (re)load of the configuration succeeded.",
            )?,
            config_reload_at: r.float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a part of the configuration was last looked at with success.",
            )?,
            tokio_workers: r.gauge("tokio_workers", "Worker threads of the runtime.")?,
            tokio_tasks: r.gauge("tokio_alive_tasks", "Tasks that have not ended.")?,
            tokio_queue: r.gauge(
                "tokio_global_queue_depth",
                "Tasks that wait for a worker in the runtime's global queue.",
            )?,
        })
    }

    /// Reads the runtime that asks, if there is one: whoever scrapes does so from the same runtime that serves.
    pub(super) fn read_runtime(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let runtime = runtime.metrics();
        for (gauge, count) in [
            (&self.tokio_workers, runtime.num_workers()),
            (&self.tokio_tasks, runtime.num_alive_tasks()),
            (&self.tokio_queue, runtime.global_queue_depth()),
        ] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Registers `process_*` without prefix, under the names that every dashboard knows.
#[cfg(target_os = "linux")]
pub(super) fn registry() -> Result<Registry, Error> {
    let registry = Registry::new();
    let collector = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(collector))?;
    Ok(registry)
}

/// Other systems have no `/proc` to read.
#[cfg(not(target_os = "linux"))]
pub(super) fn registry() -> Result<Registry, Error> {
    Ok(Registry::new())
}

impl Metrics {
    /// Shows whether the process takes requests.
    pub fn ready(&self, is_ready: bool) {
        self.0.process.ready.set(if is_ready { 1.0 } else { 0.0 });
    }

    /// Shows that the process is draining.
    pub fn shutting_down(&self) {
        self.0.process.shutting_down.set(1);
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.0.process.panics.inc();
    }

    /// Shows how the last load of a part of the configuration went. It counts as successful if that of every part was.
    pub fn config_loaded(&self, part: ConfigPart, is_ok: bool) {
        let has_failed = &self.0.process.has_failed;
        has_failed[part as usize].store(!is_ok, Ordering::Relaxed);
        let is_whole = !has_failed.iter().any(|part| part.load(Ordering::Relaxed));
        self.0.process.config_reload_ok.set(i64::from(is_whole));
        if is_ok {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            self.0
                .process
                .config_reload_at
                .set(now.unwrap_or_default().as_secs_f64());
        }
    }
}
