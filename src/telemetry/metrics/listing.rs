//! What listings cannot show.

use prometheus::{Error, IntCounter};

use super::Metrics;
use super::register::Register;

#[derive(Debug)]
pub(super) struct ListingSeries {
    names_left_out: IntCounter,
}

impl ListingSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        Ok(Self {
            names_left_out: r.counter(
                "ftp_names_left_out_total",
                "Names that FTP listings left out, because no line of a listing can hold them.",
            )?,
        })
    }
}

impl Metrics {
    /// Counts names that a listing left out.
    pub fn ftp_names_left_out(&self, names: u64) {
        self.0.listing.names_left_out.inc_by(names);
    }
}
