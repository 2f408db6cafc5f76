//! Lines of listings as `ls -l` writes them: what clients without MLSD read.

use std::fmt::Write as _;

use time::{Duration, Month, OffsetDateTime};
use unftp_core::storage::Metadata as _;

use crate::ftp::backend::facts::Facts;

/// For so long a line tells the time of day, and after that the year, as `ls` does it. A year cannot be told wrong then:
/// the day and month of a time within half a year occur once.
const RECENT: Duration = Duration::days(180);

/// How far a clock may be ahead of ours until what it wrote counts as in the future.
const SKEW: Duration = Duration::hours(1);

/// Writes one line with its end. `name` breaks no line.
pub(super) fn push_line(text: &mut String, name: &str, facts: &Facts, now: OffsetDateTime) {
    let kind = if facts.is_dir() { 'd' } else { '-' };
    let date = date(facts.modified.unwrap_or(OffsetDateTime::UNIX_EPOCH), now);
    let (permissions, size) = (facts.permissions(), facts.len());
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "{kind}{permissions} 1 ftp ftp {size:>13} {date} {name}\r\n"
    );
}

/// Returns the date in twelve characters, UTC.
fn date(modified: OffsetDateTime, now: OffsetDateTime) -> String {
    let (month, day) = (short(modified.month()), modified.day());
    if (now - RECENT..=now + SKEW).contains(&modified) {
        let (hour, minute) = (modified.hour(), modified.minute());
        format!("{month} {day:>2} {hour:02}:{minute:02}")
    } else {
        format!("{month} {day:>2}  {:04}", modified.year())
    }
}

fn short(month: Month) -> &'static str {
    match month {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::ftp::backend::facts::Kind;

    const NOW: OffsetDateTime = datetime!(2026-01-15 12:00 UTC);

    fn line(kind: Kind, modified: Option<OffsetDateTime>, is_writable: bool) -> String {
        let facts = Facts {
            kind,
            modified,
            is_writable,
        };
        let mut text = String::new();
        push_line(&mut text, " a  ü", &facts, NOW);
        text
    }

    #[test]
    fn lines_are_those_of_ls() {
        let early = datetime!(2026-01-02 03:04:05 UTC);
        assert_eq!(
            line(Kind::File(1_234_567), Some(early), true),
            "-rw-r--r-- 1 ftp ftp       1234567 Jan  2 03:04  a  ü\r\n"
        );
        assert_eq!(
            line(Kind::File(u64::MAX), Some(NOW), false),
            "-r--r--r-- 1 ftp ftp 18446744073709551615 Jan 15 12:00  a  ü\r\n"
        );
        assert_eq!(
            line(Kind::Directory, None, true),
            "drwxr-xr-x 1 ftp ftp             0 Jan  1  1970  a  ü\r\n"
        );
    }

    #[test]
    fn a_year_is_told_unless_the_time_is_within_half_a_year() {
        let at = |modified| date(modified, NOW);
        assert_eq!(at(datetime!(2025-12-31 23:59 UTC)), "Dec 31 23:59");
        assert_eq!(at(datetime!(2025-08-01 0:00 UTC)), "Aug  1 00:00");
        assert_eq!(at(datetime!(2025-07-01 0:00 UTC)), "Jul  1  2025");
        assert_eq!(at(datetime!(2025-01-15 12:00 UTC)), "Jan 15  2025");
        assert_eq!(at(datetime!(2026-01-15 12:30 UTC)), "Jan 15 12:30");
        assert_eq!(at(datetime!(2026-11-01 0:00 UTC)), "Nov  1  2026");
    }
}
