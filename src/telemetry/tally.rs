//! What is found out about a request below its adapter, for the adapter's own line: who called, what the cache said, and how
//! many upstream calls it took.
//!
//! Nobody hands this up: it is read off the request's span, which all of them write into or open their own spans below.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Name of the spans of requests; see [`request_span`](super::tracing::request_span).
pub(super) const REQUEST: &str = "request";

/// Name of the spans of attempts to call an upstream.
const UPSTREAM: &str = "upstream";

/// Name of the span of the look-up in the cache of file infos, whose `result` says what came of it.
const CACHE: &str = "cache file_info";

/// What was found out so far.
#[derive(Debug, Default)]
pub struct Tally {
    caller: OnceLock<String>,
    cache_result: OnceLock<String>,
    upstream_calls: AtomicU32,
}

impl Tally {
    /// Returns what was found out about the request of `span`. Nothing for a span that is no request's.
    pub fn of(span: &Span) -> Option<Arc<Self>> {
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            let span = registry.span(id)?;
            let extensions = span.extensions();
            extensions.get::<Arc<Self>>().cloned()
        })?
    }

    /// Returns the key id or user name of the caller, once proven.
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(String::as_str)
    }

    /// Returns what the cache of file infos said, if it was asked.
    pub fn cache_result(&self) -> Option<&str> {
        self.cache_result.get().map(String::as_str)
    }

    /// Returns the attempts to call upstreams that were made for this request. Those that several requests share count for
    /// the one that began them.
    pub fn upstream_calls(&self) -> u32 {
        self.upstream_calls.load(Ordering::Relaxed)
    }
}

/// Keeps the tallies.
#[derive(Debug, Clone, Copy)]
pub(super) struct TallyLayer;

/// Reports whether a span or event concerns [`TallyLayer`]: the spans that it counts, and those between them.
pub(super) fn is_tallied(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && metadata.target().starts_with("hugbucket")
}

impl<S> Layer<S> for TallyLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        match attributes.metadata().name() {
            REQUEST => {
                span.extensions_mut().insert(Arc::<Tally>::default());
            }
            UPSTREAM => {
                let above = span.scope().skip(1);
                for span in above {
                    if let Some(tally) = span.extensions().get::<Arc<Tally>>() {
                        tally.upstream_calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let (field, place): (_, fn(&Tally) -> &OnceLock<String>) = match span.metadata().name() {
            REQUEST => ("caller", |tally| &tally.caller),
            CACHE => ("result", |tally| &tally.cache_result),
            _ => return,
        };
        let mut found = Find { field, text: None };
        values.record(&mut found);
        let Some(text) = found.text else {
            return;
        };
        for span in span.scope() {
            if let Some(tally) = span.extensions().get::<Arc<Tally>>() {
                // Only the first counts: an operation that asks again asks about something else.
                let _ = place(tally).set(text.clone());
            }
        }
    }
}

/// Takes the text of one field.
struct Find {
    field: &'static str,
    text: Option<String>,
}

impl Visit for Find {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.field {
            self.text = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.field {
            self.text = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_request_knows_its_caller_its_cache_and_its_calls_and_no_other_ones() {
        let tallies = TallyLayer.with_filter(tracing_subscriber::filter::filter_fn(is_tallied));
        let subscriber = tracing_subscriber::registry().with(tallies);
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::error_span!("request", caller = Empty);
            let other = tracing::error_span!("request", caller = Empty);
            other.in_scope(|| drop(tracing::info_span!("upstream")));
            request.record("caller", "ci-runner");
            request.in_scope(|| {
                let cache = tracing::info_span!("cache file_info", result = Empty);
                cache.in_scope(|| {
                    drop(tracing::info_span!("upstream"));
                    drop(tracing::info_span!("upstream"));
                });
                cache.record("result", "miss");
                drop(tracing::info_span!(target: "hyper", "upstream"));
            });
            let tally = Tally::of(&request).unwrap();
            assert_eq!(tally.caller(), Some("ci-runner"));
            assert_eq!(tally.cache_result(), Some("miss"));
            assert_eq!(tally.upstream_calls(), 2);
            let tally = Tally::of(&other).unwrap();
            assert_eq!((tally.caller(), tally.upstream_calls()), (None, 1));
            assert!(Tally::of(&tracing::info_span!("upstream")).is_none());
        });
    }

    #[test]
    fn without_a_subscriber_nothing_is_found_out() {
        assert!(Tally::of(&tracing::error_span!("request")).is_none());
    }
}
