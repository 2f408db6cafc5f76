//! To come.
pub mod bucket;
pub mod cas;
pub mod http;
pub mod hub;
pub mod list;
