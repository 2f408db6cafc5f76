//! Rate limits over fixed windows, as the Hub counts and announces them.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};

use super::clock::now_secs;
use super::knobs::Knobs;
use super::route::RouteClass;

#[derive(Debug, Default)]
struct Window {
    /// Unix seconds.
    start: u64,
    used: u64,
}

/// One window for each limited class of calls.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    api: Mutex<Window>,
    resolver: Mutex<Window>,
}

/// What a class has left after a call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    name: &'static str,
    quota: u64,
    pub(crate) remaining: u64,
    /// Seconds from one window to the next.
    window_secs: u64,
    /// Seconds until the next window.
    reset_secs: u64,
    pub(crate) is_exceeded: bool,
}

impl Budgets {
    /// Counts a call. None for classes without a limit.
    pub(crate) fn spend(&self, class: RouteClass, knobs: &Knobs) -> Option<Allowance> {
        let (window, name, quota) = match class {
            RouteClass::Api => (&self.api, "api", knobs.api_quota),
            RouteClass::Resolver => (&self.resolver, "resolvers", knobs.resolver_quota),
            RouteClass::Cas | RouteClass::Storage => return None,
        };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let length_secs = knobs.budget_window.as_secs().max(1);
        Some(window.spend(name, quota, length_secs, now_secs()))
    }
}

impl Window {
    fn spend(&mut self, name: &'static str, quota: u64, window_secs: u64, now: u64) -> Allowance {
        if now >= self.start + window_secs {
            self.start = now;
            self.used = 0;
        }
        let is_exceeded = self.used >= quota;
        if !is_exceeded {
            self.used += 1;
        }
        Allowance {
            name,
            quota,
            remaining: quota.saturating_sub(self.used),
            window_secs,
            reset_secs: self.start + window_secs - now,
            is_exceeded,
        }
    }
}

impl Allowance {
    /// Returns the same allowance as if nothing remained for `reset_secs`.
    pub(crate) fn exhausted(self, reset_secs: u64) -> Self {
        Self {
            remaining: 0,
            reset_secs,
            ..self
        }
    }

    /// Announces the allowance.
    pub(crate) fn write_to(self, headers: &mut HeaderMap) {
        let Self {
            name,
            quota,
            remaining,
            window_secs,
            reset_secs,
            ..
        } = self;
        let limit = format!("\"{name}\";r={remaining};t={reset_secs}");
        let policy = format!("\"fixed window\";\"{name}\";q={quota};w={window_secs}");
        for (header, value) in [("ratelimit", limit), ("ratelimit-policy", policy)] {
            let value = HeaderValue::from_str(&value).expect("names and numbers are printable");
            headers.insert(header, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_window_refuses_until_the_next_one() {
        let mut window = Window::default();
        assert!(!window.spend("api", 1, 300, 1000).is_exceeded);
        let refused = window.spend("api", 1, 300, 1100);
        assert!(refused.is_exceeded);
        assert_eq!((refused.remaining, refused.reset_secs), (0, 200));
        assert!(!window.spend("api", 1, 300, 1300).is_exceeded);
    }

    #[test]
    fn headers_have_the_form_of_the_hub() {
        let mut headers = HeaderMap::new();
        Window::default()
            .spend("api", 500, 300, 7000)
            .write_to(&mut headers);
        assert_eq!(headers["ratelimit"], "\"api\";r=499;t=300");
        assert_eq!(
            headers["ratelimit-policy"],
            "\"fixed window\";\"api\";q=500;w=300"
        );
    }
}
