//! Counts calls and bytes by route, so that tests can assert what an operation costs upstream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::route::Route;

/// What one route has served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RouteCalls {
    /// Calls begun, refused ones included.
    pub calls: u64,
    /// Body bytes received.
    pub received_bytes: u64,
    /// Body bytes served.
    pub served_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    received_bytes: AtomicU64,
    served_bytes: AtomicU64,
}

/// Counters of all routes since the start or the last [`Calls::reset`].
#[derive(Debug, Default)]
pub struct Calls {
    routes: [Counters; Route::ALL.len()],
}

impl Calls {
    /// Returns the number of calls of a route.
    pub fn count(&self, route: Route) -> u64 {
        self.of(route).calls
    }

    /// Returns what a route has served.
    pub fn of(&self, route: Route) -> RouteCalls {
        let counters = &self.routes[route as usize];
        RouteCalls {
            calls: counters.calls.load(Ordering::Relaxed),
            received_bytes: counters.received_bytes.load(Ordering::Relaxed),
            served_bytes: counters.served_bytes.load(Ordering::Relaxed),
        }
    }

    /// Returns the number of calls of all routes together.
    pub fn total(&self) -> u64 {
        Route::ALL.into_iter().map(|route| self.count(route)).sum()
    }

    /// Returns all routes that were called, by name.
    pub fn snapshot(&self) -> BTreeMap<&'static str, RouteCalls> {
        Route::ALL
            .into_iter()
            .map(|route| (route.name(), self.of(route)))
            .filter(|(_, calls)| calls.calls > 0)
            .collect()
    }

    /// Sets all counters to zero.
    pub fn reset(&self) {
        for counters in &self.routes {
            counters.calls.store(0, Ordering::Relaxed);
            counters.received_bytes.store(0, Ordering::Relaxed);
            counters.served_bytes.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn begin(&self, route: Route) {
        self.routes[route as usize]
            .calls
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self, route: Route, bytes: u64) {
        let counter = &self.routes[route as usize].received_bytes;
        counter.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn served(&self, route: Route, bytes: u64) {
        let counter = &self.routes[route as usize].served_bytes;
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}
