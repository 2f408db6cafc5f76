//! The development Hub: a server that speaks the Hub's REST API and the CAS protocol over a directory.
//!
//! It stands in for Hugging Face in every test and in local use. The real `huggingface_hub`, `hf_xet`, and `hf` work
//! against it unchanged, and it is stricter than they need: it verifies every hash that it is given, so that what it
//! accepts can be expected to be accepted in production.
//!
//! | part | holds |
//! |---|---|
//! | `hub` | routes of the Hub's origin: buckets, trees, batches, tokens |
//! | `cas` | routes of the storage origin: reconstructions, uploads, signed downloads |
//! | `registry` | buckets and files: an index in memory over a journal |
//! | `store` | xorbs on disk, and what shards registered |
//! | `observe` | what happens around every call: counting, latency, rate limits, faults |
//! | `faults`, `weather` | what goes wrong: on demand, and by chance |
//! | `control` | `/devhub/faults` and `/devhub/calls` |
//!
//! Only the application and tests start it. It binds to loopback and knows nothing of the gateway.

mod budget;
mod calls;
mod cas;
mod clock;
mod config;
mod control;
mod drain;
mod faults;
mod grants;
mod hub;
mod identity;
mod knobs;
mod observe;
mod refusal;
mod registry;
mod route;
mod server;
mod signer;
mod state;
mod store;
mod weather;

use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;

pub use calls::{Calls, RouteCalls};
pub use config::{DevHubConfig, DevHubError, DevUser, TokenRole};
pub use faults::{Effect, Fault, Faults};
pub use knobs::Knobs;
pub use route::{Route, RouteClass};
pub use server::DevHub;
pub use weather::{Aim, Chance, Weather};

use state::Shared;

/// Puts counting, latency, and faults around the handler of a route.
fn observed(state: &Shared, route: Route, handler: MethodRouter<Shared>) -> MethodRouter<Shared> {
    handler.route_layer(from_fn_with_state((state.clone(), route), observe::observe))
}
