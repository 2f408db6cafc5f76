//! The gateway as clients meet it: the real binary over TCP, in front of the development Hub.

mod bounded;
mod consistency;
mod crash;
mod differential;
mod faults;
mod frugal;
mod multipart;
mod objects;
mod operate;
mod stand;
#[path = "../bench/xet.rs"]
mod xet;
