//! The configuration: where values come from, what they mean, and what is refused.
//!
//! Values come, in rising order, from the defaults, the TOML file named by `HUGBUCKET_CONFIG`, the environment, and the
//! flags. One table, [`setting::SETTINGS`], declares every one of them; its variable gives the file's key
//! (`HUGBUCKET_S3_ADDR` → `s3_addr`) and the flag (`--s3-addr`). Sources hand over texts, and [`Config::resolve`] turns
//! the winning texts into types, so that a bad value is told in the same words wherever it came from.
//!
//! | file | holds |
//! |---|---|
//! | [`setting`] | the table of all settings |
//! | [`source`], [`mod@file`] | the sources and which one wins |
//! | [`parse`] | texts into sizes, times, addresses, lists |
//! | [`settings`], [`credential`], [`entitlement`], [`ftp`], [`cors`], [`quota`], [`undo`] | the typed configuration |
//! | `resolve` | from texts to types, and the rules about what belongs together |
//! | [`mod@print`] | the effective configuration as a TOML document without secrets |

pub mod cors;
pub mod credential;
#[cfg(test)]
mod effects;
pub mod entitlement;
pub mod error;
pub mod file;
pub mod ftp;
pub mod parse;
pub mod print;
pub mod quota;
mod resolve;
pub mod setting;
pub mod settings;
pub mod source;
pub mod undo;

pub use cors::BucketCors;
pub use credential::{FtpUser, S3Credential};
pub use error::ConfigError;
pub use ftp::{FtpSettings, PlaintextFtp};
pub use parse::{Cors, PortRange};
pub use settings::{
    Budgets, Caches, ChangeFeed, Config, DrainTimes, HubChoice, Limits, Listeners, S3Settings,
    TlsFiles,
};
pub use source::{Environment, Origin, Values};
