//! The gateway as clients meet it: the real binary over TCP, in front of the development Hub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod append;
mod beside;
mod bounded;
mod checksums;
mod conditions;
mod confined;
mod consistency;
mod cors;
mod crash;
mod crowd;
mod differential;
mod disk_cache;
mod faults;
mod feed;
mod frugal;
mod ftp_bad_inputs;
mod ftp_client;
mod ftp_cut;
mod ftp_files;
mod ftp_limits;
mod ftp_session;
mod ftp_suppaftp;
mod ftp_tls;
mod governor;
mod integrity;
mod limits;
mod listings;
mod metadata;
mod multipart;
mod multipart_checksums;
mod namespaces;
mod objects;
mod operate;
mod partcopy;
mod races;
mod sessions;
mod stand;
mod strangers;
#[path = "../refusals/table.rs"]
mod table;
mod tags;
mod tenants;
mod tls;
mod undo;
mod uploads;
mod warm;
#[path = "../bench/xet.rs"]
mod xet;
