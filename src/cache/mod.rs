//! Bounded memory: maps with a limit and a lifetime, and single flight.
//!
//! Knows nothing of storage, the Hub, or Xet; layers and the provider's clients build their caches from these.

pub mod expiring;
pub mod single_flight;

pub use expiring::ExpiringMap;
pub use single_flight::{Flight, SingleFlight};
