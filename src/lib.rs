//! hugbucket.
pub mod app;
pub mod cache;
pub mod config;
#[cfg(feature = "devhub")]
pub mod devhub;
pub mod layers;
pub mod provider;
pub mod s3;
pub mod shutdown;
pub mod sigv4;
pub mod stack;
pub mod storage;
pub mod telemetry;
