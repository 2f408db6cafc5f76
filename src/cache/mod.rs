//! Bounded memory: maps with a limit and a lifetime; and shared work: single flight, and gathering.
//!
//! Knows nothing of storage, the Hub, or Xet; layers and the provider's clients build their caches from these.

pub mod expiring;
pub mod gather;
pub mod single_flight;

pub use expiring::ExpiringMap;
pub use gather::{Gatherer, Turn};
pub use single_flight::{Flight, SingleFlight};
