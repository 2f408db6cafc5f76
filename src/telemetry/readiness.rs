//! Readiness: whether clients may be sent here, and if not, why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::telemetry::Metrics;

/// What has to hold before the process takes requests. Clones share it.
///
/// It says nothing about whether the Hub answers right now: a gateway that leaves the load balancer whenever its upstream
/// stumbles turns a slow minute into an outage.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has_listeners: bool,
    namespace: Namespace,
    is_draining: bool,
}

#[derive(Debug, Default)]
enum Namespace {
    #[default]
    Unknown,
    /// With what happened on the last attempt.
    Failing(String),
    Known,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether clients may be sent here.
    pub ready: bool,
    /// What is missing; empty when ready.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Returns the state at start: nothing holds yet.
    pub fn new(metrics: Metrics) -> Self {
        metrics.ready(false);
        Self(Arc::new(Shared {
            metrics,
            state: Mutex::default(),
        }))
    }

    /// All listeners are bound.
    pub fn listeners_bound(&self) {
        self.change(|state| state.has_listeners = true);
    }

    /// The namespace is known.
    pub fn namespace_resolved(&self) {
        self.change(|state| state.namespace = Namespace::Known);
    }

    /// The namespace could not be found out yet; `reason` is shown, and must hold no secret.
    pub fn namespace_failing(&self, reason: impl Into<String>) {
        self.change(|state| state.namespace = Namespace::Failing(reason.into()));
    }

    /// The process is going to end. There is no way back.
    pub fn draining(&self) {
        self.0.metrics.shutting_down();
        self.change(|state| state.is_draining = true);
    }

    /// Returns what holds and what does not.
    pub fn report(&self) -> Report {
        Report::from(&*self.lock())
    }

    /// Reports whether clients may be sent here.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        self.0.metrics.ready(Report::from(&*state).ready);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&State> for Report {
    fn from(state: &State) -> Self {
        let mut reasons = Vec::new();
        if state.is_draining {
            reasons.push("shutting down".to_owned());
        }
        if !state.has_listeners {
            reasons.push("listeners are not bound yet".to_owned());
        }
        match &state.namespace {
            Namespace::Known => {}
            Namespace::Unknown => reasons.push("the namespace is not known yet".to_owned()),
            Namespace::Failing(why) => {
                reasons.push(format!("the namespace is not known yet: {why}"));
            }
        }
        Self {
            ready: reasons.is_empty(),
            reasons,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_everything_holds_and_until_the_drain_begins() {
        let metrics = Metrics::new();
        let readiness = Readiness::new(metrics.clone());
        assert_eq!(readiness.report().reasons.len(), 2);
        readiness.namespace_failing("connection refused");
        readiness.listeners_bound();
        assert_eq!(
            readiness.report().reasons,
            ["the namespace is not known yet: connection refused"]
        );
        readiness.namespace_resolved();
        assert!(readiness.is_ready());
        assert!(metrics.render().contains("hugbucket_ready 1"));
        readiness.draining();
        assert_eq!(readiness.report().reasons, ["shutting down"]);
        assert!(metrics.render().contains("hugbucket_ready 0"));
        assert!(metrics.render().contains("hugbucket_shutting_down 1"));
    }
}
