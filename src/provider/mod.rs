//! To come.
pub mod cas;
pub mod http;
pub mod hub;
