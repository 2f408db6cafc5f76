//! Which web pages may do what: rules as S3 has them, for all buckets and for single ones.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::s3::header as s3_header;
use crate::s3::xml::Document;
use crate::storage::BucketName;

/// The methods of S3 that a page may use.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// How long browsers remember a preflight, unless a rule says otherwise.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// What scripts may read of an answer, unless a rule says otherwise. Uploads in parts need the ETag; `*` covers user
/// metadata, whose names are not known.
const EXPOSED: [&str; 7] = [
    "etag",
    "content-length",
    "content-range",
    "accept-ranges",
    "x-amz-request-id",
    "x-hf-xet-hash",
    "*",
];

/// What an answer depends on besides its URL.
const VARY: &str = "origin, access-control-request-headers, access-control-request-method";

/// The rules of all buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRules {
    /// For buckets without rules of their own; empty where pages may read nothing.
    pub general: Vec<CorsRule>,
    /// Buckets with rules of their own, which take the general ones' place. Of several, the first that fits counts.
    pub of_bucket: BTreeMap<BucketName, Vec<CorsRule>>,
}

/// One rule. Credentials in the browser's sense (cookies) are never allowed: a signature is a header or a query like any
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRule {
    /// Origins of pages, such as `https://app.example.org`; each may hold one `*`.
    pub origins: Vec<String>,
    /// Methods in capital letters.
    pub methods: Vec<String>,
    /// Headers that a request may have; each may hold one `*`.
    pub headers: Vec<String>,
    /// Headers of the answer that scripts may read.
    pub exposed: Vec<String>,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Option<Duration>,
}

impl CorsRules {
    /// Allows pages of these origins everything that S3 can do; `*` stands for all.
    pub fn open_to(origins: impl IntoIterator<Item = String>) -> Self {
        let texts = |texts: &[&str]| texts.iter().copied().map(str::to_owned).collect();
        let rule = CorsRule {
            origins: origins.into_iter().collect(),
            methods: texts(&METHODS),
            headers: texts(&["*"]),
            exposed: texts(&EXPOSED),
            max_age: Some(MAX_AGE),
        };
        Self {
            general: vec![rule],
            of_bucket: BTreeMap::new(),
        }
    }

    /// Allows nothing.
    pub fn off() -> Self {
        Self {
            general: Vec::new(),
            of_bucket: BTreeMap::new(),
        }
    }

    /// Returns the rules that count for a request about this bucket, or about none.
    pub(super) fn of(&self, bucket: Option<&str>) -> &[CorsRule] {
        let own = bucket
            .and_then(|name| BucketName::new(name).ok())
            .and_then(|name| self.of_bucket.get(&name));
        own.unwrap_or(&self.general)
    }

    /// Returns the bucket's own rules as S3's document; `None` if it has none.
    pub(in crate::s3) fn document(&self, bucket: &BucketName) -> Option<Document> {
        let rules = self.of_bucket.get(bucket)?;
        Some(Document::result("CORSConfiguration", |root| {
            for rule in rules {
                root.element("CORSRule", |element| rule.write(element));
            }
        }))
    }
}

impl CorsRule {
    /// Reports whether the rule lets a page of this origin use this method.
    pub(super) fn fits(&self, origin: &str, method: &str) -> bool {
        let allows = |pattern: &String| is_like(pattern, origin);
        self.origins.iter().any(allows) && self.methods.iter().any(|known| known == method)
    }

    /// Reports whether a request may have all of these headers, which are separated by commas.
    pub(super) fn allows_headers(&self, names: &str) -> bool {
        let names = names.split(',').map(str::trim);
        let mut names = names.filter(|name| !name.is_empty());
        names.all(|name| {
            let name = name.to_ascii_lowercase();
            let allows = |pattern: &String| is_like(&pattern.to_ascii_lowercase(), &name);
            self.headers.iter().any(allows)
        })
    }

    /// Lets a page of this origin read an answer.
    pub(super) fn mark(&self, origin: &str, headers: &mut HeaderMap) {
        let is_open = self.origins.iter().any(|pattern| pattern == "*");
        let origin = if is_open { "*" } else { origin };
        insert(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !self.exposed.is_empty() {
            let exposed = self.exposed.join(",");
            insert(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed);
        }
    }

    /// Answers a preflight that asked for these headers.
    pub(super) fn grant(&self, asked_headers: &str, headers: &mut HeaderMap) {
        let methods = self.methods.join(",");
        insert(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &methods);
        if !asked_headers.is_empty() {
            // Mirrored rather than `*`, which does not cover Authorization.
            insert(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, asked_headers);
        }
        if let Some(max_age) = self.max_age {
            let seconds = max_age.as_secs().to_string();
            insert(headers, header::ACCESS_CONTROL_MAX_AGE, &seconds);
        }
    }

    fn write(&self, element: &mut Document) {
        let lists = [
            ("AllowedHeader", &self.headers),
            ("AllowedMethod", &self.methods),
            ("AllowedOrigin", &self.origins),
            ("ExposeHeader", &self.exposed),
        ];
        for (name, texts) in lists {
            for text in texts {
                element.text(name, text);
            }
        }
        let seconds = self.max_age.map(|max_age| max_age.as_secs().to_string());
        element.optional("MaxAgeSeconds", seconds.as_deref());
    }
}

/// Says that caches must not give one page's answer to another.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static(VARY));
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(name, s3_header::value(value));
}

/// Compares a text with a pattern in which one `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "https://a.test", true),
            ("https://*.test", "https://a.b.test", true),
            ("https://*.test", "https://.test", true),
            ("https://*.test", "http://a.test", false),
            ("https://*.test", "https://a.test:8080", false),
            ("https://a.test", "https://a.test", true),
            ("https://a.test", "https://A.test", false),
            ("ab*ba", "aba", false),
            ("x-amz-*", "x-amz-date", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_buckets_own_rules_take_the_place_of_the_general_ones() {
        let mut rules = CorsRules::open_to(["*".to_owned()]);
        let own = CorsRule {
            origins: vec!["https://app.test".into()],
            methods: vec!["GET".into()],
            headers: Vec::new(),
            exposed: vec!["ETag".into()],
            max_age: None,
        };
        let bucket = BucketName::new("b").unwrap();
        rules.of_bucket.insert(bucket.clone(), vec![own]);
        assert!(rules.of(None)[0].fits("https://other.test", "PUT"));
        assert!(rules.of(Some("a"))[0].fits("https://other.test", "PUT"));
        assert!(!rules.of(Some("b"))[0].fits("https://other.test", "GET"));
        assert!(rules.of(Some("b"))[0].fits("https://app.test", "GET"));
        assert!(!rules.of(Some("b"))[0].fits("https://app.test", "PUT"));
        assert!(rules.of(Some("not/a/bucket"))[0].fits("https://a.test", "PUT"));
        assert_eq!(CorsRules::off().of(Some("b")), []);
        let document = rules.document(&bucket).unwrap().to_string();
        assert!(
            document.ends_with(
                "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://app.test</AllowedOrigin>\
                 <ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>"
            ),
            "{document}"
        );
        assert!(rules.document(&BucketName::new("a").unwrap()).is_none());
    }

    #[test]
    fn headers_are_compared_without_case() {
        let mut rules = CorsRules::open_to(["*".to_owned()]);
        let rule = &mut rules.general[0];
        assert!(rule.allows_headers("Authorization, x-anything"));
        rule.headers = vec!["X-Amz-*".into(), "content-type".into()];
        assert!(rule.allows_headers("x-amz-date,Content-Type"));
        assert!(rule.allows_headers(""));
        assert!(!rule.allows_headers("x-amz-date,authorization"));
    }
}
