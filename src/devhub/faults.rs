//! Failures on demand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::knobs::Knobs;
use super::route::Route;
use super::signer::Signer;
use super::weather::{Sky, Weather};

/// A failure that meets the next calls of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The calls it meets.
    pub route: Route,
    /// How many calls pass unharmed first.
    #[serde(default)]
    pub after: u32,
    /// How many calls it meets; how many lines, where the effect is about lines of a batch.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens.
    pub effect: Effect,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Returns a fault that meets the next call of `route`.
    pub fn once(route: Route, effect: Effect) -> Self {
        Self::times(route, 1, effect)
    }

    /// Returns a fault that meets the next `times` calls of `route`.
    pub fn times(route: Route, times: u32, effect: Effect) -> Self {
        Self {
            route,
            after: 0,
            times,
            effect,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The call is answered with a status and does nothing.
    Status {
        /// HTTP status, 400 to 599.
        status: u16,
        /// Seconds for a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Seconds for a `RateLimit` header that says that nothing remains until then.
        #[serde(default)]
        rate_limit_reset: Option<u64>,
    },
    /// The connection is closed before anything is done.
    ResetBefore,
    /// The work is done, but the connection is closed instead of an answer.
    ResetAfter,
    /// The connection is closed after so many bytes of the answer's body.
    Truncate {
        /// Bytes that still arrive.
        after_bytes: u64,
    },
    /// One byte of the answer's body is inverted.
    Corrupt {
        /// Index of that byte.
        at_byte: u64,
    },
    /// The answer announces another length than it has. With a longer one, the connection is closed before all has come;
    /// with a shorter one, the end of the body is withheld, and what is left looks complete. Bodies of unknown length, and
    /// empty ones, stay as they are.
    Length {
        /// Bytes that are announced beyond the true ones; negative for fewer.
        difference: i64,
    },
    /// The call takes longer.
    Delay {
        /// Milliseconds.
        millis: u64,
    },
    /// All CAS tokens expire just before this call.
    ExpireTokens,
    /// All signed addresses expire just before this call.
    ExpireUrls,
    /// Lines of a batch fail; only on [`Route::Batch`].
    FailEntries {
        /// Part of the path that a line must contain; empty for any.
        path: String,
        /// The error of those lines.
        error: String,
    },
    /// Lines of a batch are answered as done, and are not done; only on [`Route::Batch`]. No real Hub does so: it shows
    /// whether a test would notice a lost write.
    LoseEntries {
        /// Part of the path that a line must contain; empty for any.
        path: String,
    },
    /// Lines of a batch that add a file give it the content of another one in the bucket; only on [`Route::Batch`]. No real
    /// Hub does so either: it shows whether a test would notice wrong bytes.
    SwapEntries {
        /// Part of the path that a line must contain; empty for any.
        path: String,
    },
    /// The entries of a page come in reverse; only on [`Route::Tree`].
    Unsorted,
    /// The first entry of a page comes twice; only on [`Route::Tree`].
    Repeated,
    /// The event stream of a shard upload ends with an error; only on [`Route::Shard`].
    ShardError {
        /// Whether the event invites the client to try again.
        retryable: bool,
    },
}

impl Effect {
    /// Returns the effect of a bare status.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            retry_after: None,
            rate_limit_reset: None,
        }
    }

    /// Returns a 429 that names its window.
    pub fn rate_limited(reset_secs: u64) -> Self {
        Self::Status {
            status: 429,
            retry_after: None,
            rate_limit_reset: Some(reset_secs),
        }
    }

    /// Returns the path that a line of a batch must contain to be met; none for effects that are not about lines.
    pub(super) fn line_path(&self) -> Option<&str> {
        match self {
            Self::FailEntries { path, .. }
            | Self::LoseEntries { path }
            | Self::SwapEntries { path } => Some(path),
            _ => None,
        }
    }

    /// Reports whether the handler of the route looks for the fault, rather than what stands before all handlers.
    fn is_for_handler(&self) -> bool {
        match self {
            Self::FailEntries { .. }
            | Self::LoseEntries { .. }
            | Self::SwapEntries { .. }
            | Self::Unsorted
            | Self::Repeated
            | Self::ShardError { .. } => true,
            Self::Status { .. }
            | Self::ResetBefore
            | Self::ResetAfter
            | Self::Truncate { .. }
            | Self::Corrupt { .. }
            | Self::Length { .. }
            | Self::Delay { .. }
            | Self::ExpireTokens
            | Self::ExpireUrls => false,
        }
    }

    /// Returns the effect with numbers drawn from nothing, or from one byte, up to its own.
    pub(super) fn drawn(&self, draw: u64) -> Self {
        let up_to = |most: u64| draw % most.saturating_add(1).max(1);
        match self {
            Self::Delay { millis } => Self::Delay {
                millis: up_to(*millis),
            },
            Self::Truncate { after_bytes } => Self::Truncate {
                after_bytes: up_to(*after_bytes),
            },
            Self::Corrupt { at_byte } => Self::Corrupt {
                at_byte: up_to(*at_byte),
            },
            Self::Length { difference } => {
                let most = difference.unsigned_abs().clamp(1, 1 << 40);
                let size = 1 + (draw % most).cast_signed();
                Self::Length {
                    difference: size * difference.signum(),
                }
            }
            other => other.clone(),
        }
    }
}

/// The faults to come, the weather, and the knobs.
#[derive(Debug)]
pub struct Faults {
    pending: Mutex<Vec<Fault>>,
    sky: Mutex<Sky>,
    knobs: RwLock<Arc<Knobs>>,
    signer: Arc<Signer>,
}

impl Faults {
    pub(super) fn new(knobs: Knobs, signer: Arc<Signer>) -> Self {
        Self {
            pending: Mutex::default(),
            sky: Mutex::default(),
            knobs: RwLock::new(Arc::new(knobs)),
            signer,
        }
    }

    /// Adds a fault. Faults of one route take effect in the order in which they were added, one a call.
    pub fn inject(&self, fault: Fault) {
        self.pending().push(fault);
    }

    /// Forgets all faults, and brings fair weather; the knobs stay.
    pub fn clear(&self) {
        self.pending().clear();
        self.set_weather(Weather::default());
    }

    /// Changes the weather. Its draws begin anew.
    pub fn set_weather(&self, weather: Weather) {
        *self.sky() = Sky::new(weather);
    }

    /// Returns how many calls, lines, and pages the present weather has met so far.
    pub fn struck(&self) -> u64 {
        self.sky().struck()
    }

    /// Returns the present weather.
    pub fn weather(&self) -> Weather {
        self.sky().weather().clone()
    }

    /// Returns the faults that are still to come.
    pub fn remaining(&self) -> Vec<Fault> {
        self.pending().clone()
    }

    /// Returns the present knobs.
    pub fn knobs(&self) -> Arc<Knobs> {
        (self.knobs.read().unwrap_or_else(PoisonError::into_inner)).clone()
    }

    /// Changes the knobs.
    pub fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        let mut knobs = self.knobs.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut knobs));
    }

    /// Makes all CAS tokens handed out so far invalid.
    pub fn expire_tokens(&self) {
        self.signer.expire_tokens();
    }

    /// Makes all signed addresses handed out so far invalid.
    pub fn expire_urls(&self) {
        self.signer.expire_urls();
    }

    /// Takes the fault that meets this call of `route`.
    pub(super) fn take(&self, route: Route) -> Option<Effect> {
        self.take_if(route, |effect| !effect.is_for_handler())
    }

    /// Takes the fault that meets this call, if `matches`: one that was injected, else one of the weather.
    pub(super) fn take_if(
        &self,
        route: Route,
        matches: impl Fn(&Effect) -> bool,
    ) -> Option<Effect> {
        let injected = self.take_injected(route, &matches);
        injected.or_else(|| self.sky().strike(route, &matches))
    }

    fn take_injected(&self, route: Route, matches: impl Fn(&Effect) -> bool) -> Option<Effect> {
        let mut pending = self.pending();
        let index = pending
            .iter()
            .position(|fault| fault.route == route && matches(&fault.effect))?;
        let fault = &mut pending[index];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(1);
        let effect = fault.effect.clone();
        if fault.times == 0 {
            pending.remove(index);
        }
        Some(effect)
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults::new(Knobs::default(), Arc::new(Signer::new([0; 32])))
    }

    #[test]
    fn a_fault_meets_the_named_route_only_and_as_often_as_asked() {
        let faults = faults();
        faults.inject(Fault::times(Route::Batch, 2, Effect::status(503)));
        assert_eq!(faults.take(Route::Tree), None);
        assert_eq!(faults.take(Route::Batch), Some(Effect::status(503)));
        assert_eq!(faults.take(Route::Batch), Some(Effect::status(503)));
        assert_eq!(faults.take(Route::Batch), None);
    }

    #[test]
    fn calls_before_a_fault_pass_unharmed() {
        let faults = faults();
        faults.inject(Fault {
            after: 1,
            ..Fault::once(Route::XorbGet, Effect::ResetBefore)
        });
        assert_eq!(faults.take(Route::XorbGet), None);
        assert_eq!(faults.take(Route::XorbGet), Some(Effect::ResetBefore));
    }

    #[test]
    fn faults_for_handlers_do_not_meet_whole_calls() {
        let faults = faults();
        let effect = Effect::FailEntries {
            path: String::new(),
            error: "no".into(),
        };
        faults.inject(Fault::once(Route::Batch, effect));
        assert_eq!(faults.take(Route::Batch), None);
        assert_eq!(faults.remaining().len(), 1);
    }
}
