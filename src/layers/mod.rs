//! To come.
pub mod auth;
