//! A plan: which chunks of which xorbs make up a span of a file, and the signed addresses that serve them.
//!
//! Terms are facts about content and stay true; addresses are short-lived credentials. A [`Plan`] holds the first, a
//! [`Route`] adds the second, so that they can be cached for different times.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::PrimitiveDateTime;
use time::macros::format_description;
use url::Url;
use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::chunk::MAX_CHUNK_BYTES;
use crate::provider::cas::error::malformed;
use crate::provider::cas::wire;
use crate::provider::http::Destinations;
use crate::storage::StorageError;

/// Most chunks of a xorb (Xet protocol, xorb format).
const MAX_XORB_CHUNKS: u32 = 8192;
/// Most bytes of a serialized xorb, with room for a footer that some writers append.
const MAX_XORB_BYTES: u64 = 65 << 20;
/// An address is not used any more this long before it expires: a fetch may wait in a queue.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60);

/// The content of a span of a file, without addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes of the first term that lie before the span.
    pub(super) skip_bytes: u64,
    /// Runs of chunks in the order of the file; never empty.
    pub(super) terms: Vec<Term>,
    /// The runs that can be fetched, each with one request.
    pub(super) segments: Vec<Segment>,
}

/// A run of chunks of one xorb that is part of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Index of the segment that holds it.
    pub(super) segment: usize,
    /// Chunk indices in the xorb.
    pub(super) chunks: Range<u32>,
    /// Unpacked length in bytes.
    pub(super) len_bytes: u64,
}

/// A run of chunks that one ranged request serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The xorb.
    pub(super) xorb: MerkleHash,
    /// Chunk indices in the xorb.
    pub(super) chunks: Range<u32>,
    /// Bytes of the serialized xorb, end exclusive.
    pub(super) bytes: Range<u64>,
}

/// A plan with an address for each of its segments.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) plan: Arc<Plan>,
    /// One address a segment, in the same order.
    pub(super) urls: Vec<Url>,
}

impl Route {
    /// Checks an answer of the CAS for a span of `len_bytes` and turns it into a plan with addresses.
    ///
    /// `destinations` says where its addresses may lead.
    /// Errors: [`StorageError::Unavailable`] if the answer does not cover the span or contradicts itself or the protocol.
    pub(super) fn from_wire(
        answer: &wire::ReconstructionV2,
        len_bytes: u64,
        destinations: Destinations,
    ) -> Result<Self, StorageError> {
        let mut route = RouteBuilder {
            fetches: &answer.xorbs,
            destinations,
            segments: Vec::new(),
            urls: Vec::new(),
        };
        let (mut terms, mut covered) = (Vec::new(), 0);
        let wanted = answer.offset_into_first_range.checked_add(len_bytes);
        let wanted = wanted.ok_or_else(|| malformed("offset into the first term overflows"))?;
        for term in &answer.terms {
            if covered >= wanted {
                break;
            }
            // Checked first: a length that no term can have would overflow the sum.
            let term = route.term(term)?;
            covered += term.len_bytes;
            terms.push(term);
        }
        if covered < wanted || terms.is_empty() {
            return Err(malformed(format_args!(
                "reconstruction covers {covered} of {wanted} bytes"
            )));
        }
        let (segments, urls) = (route.segments, route.urls);
        let plan = Plan {
            skip_bytes: answer.offset_into_first_range,
            terms,
            segments,
        };
        Ok(Self {
            plan: Arc::new(plan),
            urls,
        })
    }

    /// Returns for how long all addresses may be used, or `None` if at least one of them does not say.
    pub(super) fn usable_for(&self, now: SystemTime) -> Option<Duration> {
        let ends = self.urls.iter().map(expiry);
        let first = ends
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .min()
            .unwrap_or(now);
        let left = first.duration_since(now).unwrap_or_default();
        Some(left.saturating_sub(EXPIRY_MARGIN))
    }
}

/// Collects the segments that terms name.
struct RouteBuilder<'a> {
    fetches: &'a HashMap<String, Vec<wire::FetchV2>>,
    destinations: Destinations,
    segments: Vec<Segment>,
    urls: Vec<Url>,
}

impl RouteBuilder<'_> {
    fn term(&mut self, term: &wire::Term) -> Result<Term, StorageError> {
        let chunks = term.range.start..term.range.end;
        let count = u64::from(chunks.end.saturating_sub(chunks.start));
        let is_possible = count > 0
            && chunks.end <= MAX_XORB_CHUNKS
            && (1..=count * MAX_CHUNK_BYTES as u64).contains(&term.unpacked_length);
        if !is_possible {
            return Err(malformed("impossible term in a reconstruction"));
        }
        Ok(Term {
            segment: self.segment(term.hash, &chunks)?,
            chunks,
            len_bytes: term.unpacked_length,
        })
    }

    /// Returns the index of the segment that holds the chunks, taking it over from the answer at its first use.
    fn segment(&mut self, xorb: MerkleHash, chunks: &Range<u32>) -> Result<usize, StorageError> {
        let holds = |outer: &Range<u32>| outer.start <= chunks.start && chunks.end <= outer.end;
        let known = self
            .segments
            .iter()
            .rposition(|known| known.xorb == xorb && holds(&known.chunks));
        if let Some(index) = known {
            return Ok(index);
        }
        let fetches = self.fetches.get(&xorb.hex());
        let ranges = fetches.into_iter().flatten().flat_map(|fetch| {
            let url = &fetch.url;
            fetch.ranges.iter().map(move |range| (url, range))
        });
        let named = ranges
            .into_iter()
            .find(|(_, range)| holds(&(range.chunks.start..range.chunks.end)));
        let (url, range) = named.ok_or_else(|| malformed("term without an address"))?;
        let is_possible = range.chunks.end <= MAX_XORB_CHUNKS
            && range.bytes.start <= range.bytes.end
            && range.bytes.end < MAX_XORB_BYTES;
        if !is_possible {
            return Err(malformed("impossible byte range in a reconstruction"));
        }
        self.urls
            .push(self.destinations.check(url).map_err(malformed)?);
        self.segments.push(Segment {
            xorb,
            chunks: range.chunks.start..range.chunks.end,
            bytes: range.bytes.start..range.bytes.end + 1,
        });
        Ok(self.segments.len() - 1)
    }
}

/// Reads the end of an address' life from its query: `Expires` (CloudFront) or `X-Amz-Date` and `X-Amz-Expires` (S3).
fn expiry(url: &Url) -> Option<SystemTime> {
    let query = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    if let Some(seconds) = query("Expires") {
        return UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?));
    }
    let stamp = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_at = PrimitiveDateTime::parse(&query("X-Amz-Date")?, stamp).ok()?;
    let life = Duration::from_secs(query("X-Amz-Expires")?.parse().ok()?);
    SystemTime::from(signed_at.assume_utc()).checked_add(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XORB: &str = "00000000000000010000000000000002000000000000000300000000000000ff";

    fn answer(url: &str, unpacked: u64) -> wire::ReconstructionV2 {
        let text = format!(
            r#"{{"offset_into_first_range": 10,
                "terms": [{{"hash": "{XORB}", "unpacked_length": {unpacked}, "range": {{"start": 2, "end": 4}}}},
                          {{"hash": "{XORB}", "unpacked_length": 50, "range": {{"start": 3, "end": 4}}}}],
                "xorbs": {{"{XORB}": [{{"url": "{url}",
                    "ranges": [{{"chunks": {{"start": 2, "end": 5}}, "bytes": {{"start": 300, "end": 599}}}}]}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_v2_answer_becomes_terms_and_segments() {
        let route = Route::from_wire(
            &answer("https://x.example/y?s=1", 100),
            120,
            Destinations::PUBLIC,
        )
        .unwrap();
        let expected = Plan {
            skip_bytes: 10,
            terms: vec![
                Term {
                    segment: 0,
                    chunks: 2..4,
                    len_bytes: 100,
                },
                Term {
                    segment: 0,
                    chunks: 3..4,
                    len_bytes: 50,
                },
            ],
            segments: vec![Segment {
                xorb: MerkleHash::from_hex(XORB).unwrap(),
                chunks: 2..5,
                bytes: 300..600,
            }],
        };
        assert_eq!(*route.plan, expected);
        assert_eq!(route.urls[0].as_str(), "https://x.example/y?s=1");
    }

    #[test]
    fn a_v1_answer_means_the_same() {
        let text = format!(
            r#"{{"offset_into_first_range": 10,
                "terms": [{{"hash": "{XORB}", "unpacked_length": 100, "range": {{"start": 2, "end": 4}}}}],
                "fetch_info": {{"{XORB}": [{{"range": {{"start": 2, "end": 5}}, "url": "https://x.example/y?s=1",
                    "url_range": {{"start": 300, "end": 599}}}}]}}}}"#
        );
        let v1: wire::ReconstructionV1 = serde_json::from_str(&text).unwrap();
        let from_v1 = Route::from_wire(&v1.into(), 90, Destinations::PUBLIC).unwrap();
        let from_v2 = Route::from_wire(
            &answer("https://x.example/y?s=1", 100),
            90,
            Destinations::PUBLIC,
        )
        .unwrap();
        assert_eq!(from_v1.plan, from_v2.plan, "the second term is not needed");
    }

    #[test]
    fn an_answer_that_covers_too_little_or_contradicts_itself_is_refused() {
        let url = "https://x.example/y";
        assert!(Route::from_wire(&answer(url, 100), 140, Destinations::PUBLIC).is_ok());
        assert!(Route::from_wire(&answer(url, 100), 141, Destinations::PUBLIC).is_err());
        assert!(Route::from_wire(&answer(url, 0), 40, Destinations::PUBLIC).is_err());
        assert!(
            Route::from_wire(&answer(url, 2 * (128 << 10) + 1), 40, Destinations::PUBLIC).is_err(),
            "more than two chunks can hold"
        );
        let endless = answer(url, u64::MAX);
        assert!(
            Route::from_wire(&endless, 40, Destinations::PUBLIC).is_err(),
            "lengths that overflow when they are added"
        );
        let mut without_address = answer(url, 100);
        without_address.xorbs.clear();
        assert!(Route::from_wire(&without_address, 40, Destinations::PUBLIC).is_err());
    }

    #[test]
    fn an_address_that_the_cas_must_not_name_is_refused() {
        let named = |url: &str, destinations| {
            let route = Route::from_wire(&answer(url, 100), 90, destinations);
            route.map_err(|error| error.to_string())
        };
        let inward = "http://169.254.169.254/latest?Signature=secret";
        assert!(named(inward, Destinations::ANY).is_ok());
        let refused = named(inward, Destinations::PUBLIC).unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn both_forms_of_expiry_are_read() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        let expiry = |url: &str| expiry(&Url::parse(url).unwrap());
        assert_eq!(
            expiry("https://x.example/?Expires=1700000000"),
            at(1_700_000_000)
        );
        assert_eq!(
            expiry("https://x.example/?X-Amz-Date=20231114T221320Z&X-Amz-Expires=60"),
            at(1_700_000_060)
        );
        assert_eq!(expiry("https://x.example/?term=abc"), None);
        let url = "https://x.example/?Expires=1700000100";
        let route = Route::from_wire(&answer(url, 100), 90, Destinations::PUBLIC).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(route.usable_for(now), Some(Duration::from_secs(40)));
    }
}
