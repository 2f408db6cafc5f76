//! To come.
pub mod cas;
pub mod hub;
