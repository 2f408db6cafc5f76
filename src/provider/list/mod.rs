//! Listings: the Hub's tree pages in, S3-shaped pages out.
//!
//! The Hub lists raw prefixes in pages with a cursor; it knows no start-after, only one delimiter, and promises no order.
//! What comes out is in UTF-8 byte order of the names, folded by any delimiter, without hugbucket's hidden state, and with
//! directory markers where they belong: `dir/` first in its directory, though its file `dir/.hugbucket_keep` sorts later.
//!
//! | file | does |
//! |---|---|
//! | `lister`, `listing` | what the provider calls, and one request: all the I/O |
//! | `item` | gives each tree entry the name that orders it |
//! | `marker` | finds the directories whose marker must be looked up, because it would come too late |
//! | `sequence` | holds entries back until nothing can come before them, and notices disorder |
//! | `selection` | prefix, start, delimiter, and the bound on entries |
//! | `walk` | all of it for one answer, page by page, without I/O |
//! | `unsorted` | the way out when the Hub's pages are not sorted |
//! | `pages` | pages of which an answer took only a part |
//! | `correction` | our own writes of the last minute, where a folded listing of the Hub's lags behind |
//! | `token`, `hints` | where an answer ended: for the client, and for clients that name the last entry instead |
//!
//! Usually every tree page is fetched once in a full listing. The first page is asked for in the size that still fits into
//! the answer; who lists on gets pages of the Hub's largest size, of which several answers are made. The token carries the
//! cursor of the page.

mod correction;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod hints;
mod item;
mod lister;
mod listing;
mod marker;
mod pages;
mod selection;
mod sequence;
#[cfg(test)]
mod simulation;
mod token;
mod unsorted;
mod walk;

pub(in crate::provider) use item::{is_hidden_file, marked_directory};
pub use lister::Lister;
