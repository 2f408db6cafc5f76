//! Medians and tables.

use crate::client::Outcome;

/// Returns the value below which the given share of the samples lies; `share` from 0 to 1.
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into the samples"
    )]
    let index = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[index]
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// MiB per second.
pub(crate) fn rate(outcome: &Outcome) -> f64 {
    outcome.bytes as f64 / f64::from(1 << 20) / outcome.secs
}

/// Requests per second.
pub(crate) fn ops(outcome: &Outcome) -> f64 {
    outcome.latency_ms.len() as f64 / outcome.secs
}

/// CPU seconds per GiB.
pub(crate) fn cpu_per_gib(cpu_secs: f64, bytes: u64) -> f64 {
    cpu_secs / (bytes as f64 / f64::from(1 << 30))
}

/// Makes sure that a row has as many cells as it says.
pub(crate) fn cells<const N: usize>(cells: [String; N]) -> [String; N] {
    cells
}

/// A table in Markdown.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        eprintln!("  {}", cells.join(" | "));
        self.rows.push(cells.to_vec());
    }

    pub(crate) fn print(&self) {
        println!("\n### {}\n", self.title);
        for (n, row) in self.rows.iter().enumerate() {
            println!("| {} |", row.join(" | "));
            if n == 0 {
                println!("|{}", "---|".repeat(row.len()));
            }
        }
    }
}
