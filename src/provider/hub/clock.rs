//! The Hub's clock, as the `Date` of its answers tells it: what it registered has ages by this clock alone.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::DATE;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::provider::hub::client::HubClient;

/// What the last answer said, and when it came.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(OffsetDateTime, Instant)>>);

impl Clock {
    /// Learns from an answer.
    pub(super) fn observe(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(time) = time {
            let told = (time.into(), Instant::now());
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
    }

    /// Returns the time; `None` if no answer has told it yet.
    fn now(&self) -> Option<OffsetDateTime> {
        let told = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.map(|(time, at)| time + at.elapsed())
    }
}

impl HubClient {
    /// Returns the time by the Hub's clock, to a second; `None` before its first answer.
    pub fn now(&self) -> Option<OffsetDateTime> {
        self.shared.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_tells_the_time_and_it_goes_on_from_there() {
        let clock = Clock::default();
        let date = |text: &str| HeaderMap::from_iter([(DATE, text.parse().unwrap())]);
        assert_eq!(clock.now(), None);
        clock.observe(&date("Fri, 02 Jan 2026 03:04:05 GMT"));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), Some(datetime!(2026-01-02 03:04:08 UTC)));
        clock.observe(&HeaderMap::new());
        clock.observe(&date("yesterday"));
        assert_eq!(clock.now(), Some(datetime!(2026-01-02 03:04:08 UTC)));
        clock.observe(&date("Fri, 02 Jan 2026 03:04:06 GMT"));
        assert_eq!(clock.now(), Some(datetime!(2026-01-02 03:04:06 UTC)));
    }
}
