//! hugbucket: the S3 and FTP endpoint for Hugging Face Storage Buckets that lives next to your compute.
//!
//! Clients speak S3 or FTP; the data lies in Storage Buckets of the Hugging Face Hub, whose REST API keeps the names, and whose
//! content-addressed store, Xet, keeps the bytes. In between is one Tower stack:
//!
//! ```text
//!   S3 clients ─► s3 adapter  ─┐    HTTP ↔ operations; knows no secret and no policy
//!  FTP clients ─► ftp adapter ─┤    FTP ↔ operations; knows whether an upload was finished
//!                    ┌─────────┘
//!                 Gateway::call(operation)
//!                    │  StorageRequest<Credentials>    who the client claims to be
//!                 trace              a span per operation, ended at the last body byte
//!                 request metrics    everything is counted, refusals too
//!                 admission          overload is refused, never queued
//!                 deadline           time to the head, and idle time; never a whole transfer
//!                 auth               claims are verified, and the body with them
//!                    │  StorageRequest<Principal>      who the client is
//!                 share              no credential takes all there is
//!                 rate               bodies pass at their credential's rate
//!                 reach              buckets and directories that are not the caller's do not exist
//!                 namespace          bucket names are scoped, the Hub token is chosen
//!                    │  StorageRequest<Tenant>         whose buckets these are
//!                 public             strangers see public buckets, if they are let in at all
//!                 proof              what one Hub token has learnt is not shown to another that could not
//!                 cache              file infos; own writes evict
//!                 retry              what is idempotent and has no body
//!                 provider metrics   each attempt
//!                    │
//!                 HfProvider
//!                  ├─► hub           REST: buckets, names, listings, commits
//!                  └─► cas           Xet: reconstruction plans, xorbs, shards
//! ```
//!
//! Adapters translate, layers decide, the provider acts. The caller's identity is a type parameter of the request, so a
//! stack without authentication does not compile.
//!
//! # The life of a GET
//!
//! The [`s3`] adapter routes `GET /bucket/key` from the raw URI, canonicalises what was signed, and calls
//! [`storage::Gateway`] with a [`storage::GetObject`]. The stack admits it, verifies the signature, scopes the bucket, and
//! finds the file info in its cache or at the Hub. The provider asks the CAS for a reconstruction plan, fetches the
//! chunks that the range needs, and yields each as soon as it is decoded; the client's first byte does not wait for the
//! last. Look-ahead is bounded for all streams together. A connection to the CAS that breaks is resumed where it stopped.
//! Permits, timers, and spans ride on the body and end with it.
//!
//! # The life of a PUT
//!
//! The body streams through the auth layer, which removes the client's framing and checks signatures, digests, and
//! length; a violation is an error at the end of the stream, and then nothing is committed. The provider cuts the stream
//! into chunks by content, packs those that the CAS does not know into xorbs, and uploads these while the body still
//! arrives. At its end a shard registers the file, and the new name joins the bucket's next batch call to the Hub; all
//! writes that wait at that moment share the call. The client is answered after its own operation's verdict. Once all
//! bytes are in, the write runs to completion even if the client is gone, and a shutdown waits for it.
//!
//! # The life of a STOR
//!
//! A session of the [`ftp`] adapter reads the command, and opens the data connection. libunftp, its engine behind a loopback
//! connection, carries the command out; the backend that libunftp calls takes the bytes straight from the session as the body
//! of a [`storage::PutObject`], and the rest is the life of a PUT. The end of a data connection says little: a client that dies
//! ends it too. So the body ends well only after the session has said that the end was a clean one, and that the client is
//! still there and did not take the upload back.
//!
//! # Where to find things
//!
//! | module | purpose |
//! |---|---|
//! | [`storage`] | the vocabulary: operations, names, bodies, errors |
//! | [`s3`] | the S3 adapter |
//! | [`ftp`] | the FTP adapter |
//! | [`sigv4`] | AWS Signature Version 4 as pure functions |
//! | [`layers`], [`stack`] | the layers, and the one function that puts them together |
//! | [`provider`] | operations on the Hub and the CAS |
//! | [`cache`] | bounded maps and single flight |
//! | [`telemetry`] | metrics, logs, traces, the admin listener |
//! | [`tls`] | the server's certificate, renewed while it runs |
//! | [`config`] | settings and their sources |
//! | `devhub` | the development Hub, a stand-in that speaks the real protocols |
//! | [`app`], [`shutdown`] | the process: its start, its commands, its end |

pub mod app;
pub mod cache;
pub mod config;
#[cfg(feature = "devhub")]
pub mod devhub;
pub mod ftp;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod layers;
#[cfg(feature = "micro")]
pub mod micro;
pub mod provider;
pub mod s3;
pub mod shutdown;
pub mod sigv4;
pub mod stack;
pub mod storage;
pub mod telemetry;
pub mod tls;
