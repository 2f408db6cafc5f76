//! The S3 adapter: HTTP in, storage operations out, and back.
//!
//! It translates and decides nothing. It knows no secret (a signature is canonicalised here and judged in the stack), no
//! layer, and no provider. What it cannot express in an operation it refuses by name, before anything is touched.
//!
//! The life of a request: [`server`](serve) accepts the connection → `edge` gives it an id → `adapter` finds the operation
//! (`target`, `params`, `route`) and reads the claim (`exchange`) → a handler builds the operation, calls the stack, and
//! writes the answer → `edge` renders refusals (`fault`) and writes the access line.
//!
//! | file | holds |
//! |---|---|
//! | `target`, `params`, `route` | host, path, method, and query → one operation on a checked resource |
//! | `exchange`, `body` | a request that was read but not judged; its body, lent to the stack |
//! | `metadata`, `condition`, `integrity`, `checksum`, `unsupported`, `header` | headers, by subject |
//! | `read`, `write`, `attributes`, `copy`, `delete`, `multipart`, `form`, `part_copy`, `uploads`, `tagging`, `bucket`, `list`, `versions`, `stub` | the handlers |
//! | `sts` | temporary credentials, by another service's protocol |
//! | `completion` | what a completion says |
//! | `encoding`, `encoded_word` | how listings write keys, and headers texts beyond ASCII |
//! | `commit` | answers that keep the connection alive |
//! | `xml`, `xml_reader` | documents out, documents in |
//! | `fault`, `error` | refusals, and the table that turns the stack's errors into them |
//! | `adapter`, `edge`, `access_log`, `cors`, `server`, `handshake` | the router and what surrounds it |

mod access_log;
mod adapter;
mod attributes;
mod body;
mod bucket;
mod census;
mod checksum;
mod commit;
mod completion;
mod condition;
mod config;
mod copy;
mod cors;
mod delete;
mod edge;
mod encoded_word;
mod encoding;
mod error;
mod exchange;
mod fault;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handshake;
mod header;
mod integrity;
mod list;
mod metadata;
#[cfg(feature = "micro")]
pub(crate) mod micro;
mod multipart;
mod params;
mod part_copy;
mod read;
mod read_share;
mod route;
mod server;
mod sts;
mod stub;
mod tagging;
mod target;
#[cfg(test)]
mod testing;
mod unsupported;
mod uploads;
mod versions;
mod write;
mod xml;
mod xml_reader;

pub use adapter::router;
pub use config::{S3Config, ServerLimits, TrustedProxies};
pub use cors::{CorsRule, CorsRules};
pub use handshake::ALPN_PROTOCOLS;
pub use server::serve;
