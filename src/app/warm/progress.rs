//! How far the reading has come: a bar on a terminal, a line now and then elsewhere, and a summary.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::app::Failure;
use crate::telemetry::DiskCacheTotals;

/// Time between two lines, where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg} {eta}";

/// Counts, and shows. Everything is shown on stderr, but the summary.
#[derive(Debug)]
pub(super) struct Progress {
    began_at: Instant,
    bar: ProgressBar,
    found: AtomicU64,
    found_bytes: AtomicU64,
    done: AtomicU64,
    read_bytes: AtomicU64,
    failed: AtomicU64,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self {
            began_at: now,
            bar,
            found: AtomicU64::new(0),
            found_bytes: AtomicU64::new(0),
            done: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_line: Mutex::new(now),
        }
    }

    /// An object is to be read.
    pub(super) fn found(&self, len_bytes: u64) {
        self.found.fetch_add(1, Ordering::Relaxed);
        self.found_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.bar.inc_length(len_bytes);
    }

    /// An object is not to be read after all.
    pub(super) fn passed(&self, len_bytes: u64) {
        self.found.fetch_sub(1, Ordering::Relaxed);
        self.found_bytes.fetch_sub(len_bytes, Ordering::Relaxed);
        self.bar.inc(len_bytes);
    }

    /// Bytes were read.
    pub(super) fn read(&self, len_bytes: u64) {
        self.read_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.bar.inc(len_bytes);
        if self.bar.is_hidden() {
            self.show_line();
        }
    }

    /// An object was read to its end.
    pub(super) fn done(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let found = self.found.load(Ordering::Relaxed);
        self.bar.set_message(format!("{done}/{found} objects"));
    }

    /// An object could not be read.
    pub(super) fn failed(&self, sentence: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| eprintln!("{sentence}"));
    }

    /// Prints the summary.
    ///
    /// Errors: objects that were found were not read, or bytes could not be kept.
    pub(super) fn finish(&self, disk: DiskCacheTotals) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (found, done, failed) = (load(&self.found), load(&self.done), load(&self.failed));
        let (read_bytes, took) = (load(&self.read_bytes), self.began_at.elapsed());
        println!(
            "{done} of {found} objects, {} in {} ({}/s); {} were on disk already, {} were written, {failed} objects failed",
            HumanBytes(read_bytes),
            HumanDuration(took),
            HumanBytes(rate(read_bytes, took)),
            HumanBytes(disk.read_bytes),
            HumanBytes(disk.written_bytes),
        );
        if disk.evictions > 0 {
            println!(
                "{} files made room for others: HUGBUCKET_DISK_CACHE_MAX_BYTES is less than what was read",
                disk.evictions
            );
        }
        if disk.skipped_bytes > 0 {
            return Err(Failure::Runtime(format!(
                "{} could not be kept: see the log for what is wrong with HUGBUCKET_DISK_CACHE_DIR",
                HumanBytes(disk.skipped_bytes)
            )));
        }
        match found - done {
            0 => Ok(()),
            left => Err(Failure::Runtime(format!(
                "{left} of {found} objects were not read"
            ))),
        }
    }

    fn show_line(&self) {
        let mut last = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < LINE_EVERY {
            return;
        }
        *last = Instant::now();
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (read_bytes, took) = (load(&self.read_bytes), self.began_at.elapsed());
        eprintln!(
            "{} of {} objects, {} of {}, {}/s",
            load(&self.done),
            load(&self.found),
            HumanBytes(read_bytes),
            HumanBytes(load(&self.found_bytes)),
            HumanBytes(rate(read_bytes, took)),
        );
    }
}

/// Returns bytes a second.
fn rate(len_bytes: u64, took: Duration) -> u64 {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    len_bytes.saturating_mul(1000) / millis.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_and_kept_is_a_success() {
        let kept = DiskCacheTotals::default();
        let progress = Progress::start();
        progress.found(10);
        progress.found(10);
        progress.read(20);
        progress.done();
        let failure = progress.finish(kept).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(failure.to_string(), "1 of 2 objects were not read");
        progress.done();
        progress.finish(kept).unwrap();
        let full = DiskCacheTotals {
            skipped_bytes: 1,
            ..kept
        };
        assert!(progress.finish(full).is_err());
    }

    #[test]
    fn a_rate_needs_no_whole_second() {
        assert_eq!(rate(1 << 20, Duration::from_millis(500)), 2 << 20);
        assert_eq!(rate(7, Duration::ZERO), 7000);
    }
}
