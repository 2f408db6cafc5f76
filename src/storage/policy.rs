//! Policies that narrow a session: the subset of AWS's policy language that this gateway understands. Whatever it does not
//! understand is refused and never ignored, since an ignored condition would be a right that nobody meant to give.
//!
//! Understood are: `Version`, `Id`, and statements with `Sid`, `Effect`, `Action` (of `s3:`, with `*` and `?`), `Resource` (`*` and
//! `arn:aws:s3:::…`, with `*` and `?`), and as only condition `StringEquals` or `StringLike` on `s3:prefix`.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::storage::name::BucketName;
use crate::storage::pattern::Pattern;

/// What every resource of S3 begins with.
const RESOURCES: &str = "arn:aws:s3:::";

/// The versions of the language. Only the newer one has variables, which are refused in both.
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// A policy. Equal if written alike.
#[derive(Clone)]
pub struct Policy {
    text: Arc<str>,
    statements: Arc<[Statement]>,
}

/// What an operation demands of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The action as policies name it, without `s3:`.
    pub action: &'static str,
    /// The bucket; nothing for the list of buckets.
    pub bucket: Option<&'a BucketName>,
    /// The key of the object; nothing for the bucket itself.
    pub key: Option<&'a str>,
    /// What the keys begin with that are listed; nothing where none are.
    pub prefix: Option<&'a str>,
}

/// Why a policy is not understood: a fragment for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedPolicy(pub String);

#[derive(Clone)]
struct Statement {
    is_allowing: bool,
    /// In lower case, without `s3:`.
    actions: Vec<Pattern>,
    resources: Vec<Pattern>,
    /// All of them must have a pattern that the prefix matches.
    prefixes: Vec<Vec<Pattern>>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// Errors: [`MalformedPolicy`] for whatever is not understood.
    pub fn parse(text: &str) -> Result<Self, MalformedPolicy> {
        let wire: wire::Policy = serde_json::from_str(text)
            .map_err(|error| MalformedPolicy(format!("it is not understood: {error}")))?;
        if let Some(version) = &wire.version
            && !VERSIONS.contains(&version.as_str())
        {
            return Err(MalformedPolicy(format!(
                "its version `{version}` is unknown"
            )));
        }
        let statements = wire.statement.into_vec().into_iter().map(Statement::read);
        Ok(Self {
            text: text.into(),
            statements: statements.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the policy that allows nothing.
    pub fn nothing() -> Self {
        Self {
            text: r#"{"Statement":[]}"#.into(),
            statements: Arc::new([]),
        }
    }

    /// Returns the policy as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reports whether it allows what is demanded: some statement does, and none denies it.
    pub fn allows(&self, demand: &Demand<'_>) -> bool {
        let mut is_allowed = false;
        for statement in self.statements.iter().filter(|one| one.applies_to(demand)) {
            if !statement.is_allowing {
                return false;
            }
            is_allowed = true;
        }
        is_allowed
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({})", self.text)
    }
}

impl Demand<'_> {
    fn resource(&self) -> String {
        let bucket = self.bucket.map_or("", BucketName::as_str);
        match self.key {
            Some(key) => format!("{RESOURCES}{bucket}/{key}"),
            None => format!("{RESOURCES}{bucket}"),
        }
    }
}

impl Statement {
    fn read(wire: wire::Statement) -> Result<Self, MalformedPolicy> {
        let actions = wire.action.into_vec();
        let resources = wire.resource.into_vec();
        if actions.is_empty() || resources.is_empty() {
            let problem = "a statement has no action, or no resource";
            return Err(MalformedPolicy(problem.into()));
        }
        let prefixes = wire.condition.unwrap_or_default().into_prefixes()?;
        Ok(Self {
            is_allowing: wire.effect == wire::Effect::Allow,
            actions: actions
                .iter()
                .map(|text| action(text))
                .collect::<Result<_, _>>()?,
            resources: resources
                .iter()
                .map(|text| resource(text))
                .collect::<Result<_, _>>()?,
            prefixes,
        })
    }

    fn applies_to(&self, demand: &Demand<'_>) -> bool {
        let action = demand.action.to_ascii_lowercase();
        let resource = demand.resource();
        // The list of buckets is no resource of its own: a statement means it if it means all of them.
        let means = |pattern: &Pattern| match demand.bucket {
            Some(_) => pattern.matches(&resource),
            None => pattern.covers(&resource),
        };
        let has_prefix = |patterns: &Vec<Pattern>| {
            let prefix = demand.prefix;
            prefix.is_some_and(|prefix| patterns.iter().any(|pattern| pattern.matches(prefix)))
        };
        self.actions.iter().any(|pattern| pattern.matches(&action))
            && self.resources.iter().any(means)
            && self.prefixes.iter().all(has_prefix)
    }
}

fn action(text: &str) -> Result<Pattern, MalformedPolicy> {
    let refuse = || MalformedPolicy(format!("the action `{text}` is none of `s3:`"));
    if text == "*" {
        return Ok(Pattern::new("*"));
    }
    let (service, name) = text.split_once(':').ok_or_else(refuse)?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '*' | '?');
    if !service.eq_ignore_ascii_case("s3") || name.is_empty() || !name.chars().all(is_name) {
        return Err(refuse());
    }
    Ok(Pattern::new(&name.to_ascii_lowercase()))
}

fn resource(text: &str) -> Result<Pattern, MalformedPolicy> {
    let is_known = text == "*" || text.starts_with(RESOURCES);
    if !is_known || text.contains("${") {
        let problem =
            format!("the resource `{text}` is neither `*` nor `{RESOURCES}…`, or has a variable");
        return Err(MalformedPolicy(problem));
    }
    Ok(Pattern::new(text))
}

/// The document as it is written.
mod wire {
    use super::{Deserialize, MalformedPolicy, Pattern};

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    pub(super) struct Policy {
        pub(super) version: Option<String>,
        #[serde(rename = "Id")]
        _id: Option<String>,
        pub(super) statement: Several<Statement>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    pub(super) struct Statement {
        #[serde(rename = "Sid")]
        _sid: Option<String>,
        pub(super) effect: Effect,
        pub(super) action: Several<String>,
        pub(super) resource: Several<String>,
        pub(super) condition: Option<Condition>,
    }

    #[derive(PartialEq, Eq, Deserialize)]
    pub(super) enum Effect {
        Allow,
        Deny,
    }

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Condition {
        #[serde(rename = "StringEquals")]
        equals: Option<Prefix>,
        #[serde(rename = "StringLike")]
        like: Option<Prefix>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Prefix {
        #[serde(rename = "s3:prefix")]
        prefix: Several<String>,
    }

    /// One of something, or a list.
    #[derive(Deserialize)]
    #[serde(untagged)]
    pub(super) enum Several<T> {
        One(T),
        Many(Vec<T>),
    }

    impl<T> Several<T> {
        pub(super) fn into_vec(self) -> Vec<T> {
            match self {
                Self::One(one) => vec![one],
                Self::Many(many) => many,
            }
        }
    }

    impl Condition {
        pub(super) fn into_prefixes(self) -> Result<Vec<Vec<Pattern>>, MalformedPolicy> {
            let mut all = Vec::new();
            if let Some(equals) = self.equals {
                let texts = equals.prefix.into_vec();
                // There is no way to write these two as themselves in a pattern.
                if texts.iter().any(|text| text.contains(['*', '?'])) {
                    let problem = "a prefix that is to be equal has `*` or `?` in it";
                    return Err(MalformedPolicy(problem.into()));
                }
                all.push(texts);
            }
            all.extend(self.like.map(|like| like.prefix.into_vec()));
            if all.iter().flatten().any(|text| text.contains("${")) {
                return Err(MalformedPolicy("a condition has a variable".into()));
            }
            let patterns =
                |texts: Vec<String>| texts.iter().map(|text| Pattern::new(text)).collect();
            Ok(all.into_iter().map(patterns).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Policy {
        Policy::parse(&format!(
            r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#
        ))
        .unwrap()
    }

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    fn object(policy: &Policy, action: &'static str, key: &str) -> bool {
        policy.allows(&Demand {
            action,
            bucket: Some(&bucket("data")),
            key: Some(key),
            prefix: None,
        })
    }

    fn listing(policy: &Policy, prefix: &str) -> bool {
        policy.allows(&Demand {
            action: "ListBucket",
            bucket: Some(&bucket("data")),
            key: None,
            prefix: Some(prefix),
        })
    }

    #[test]
    fn what_no_statement_allows_is_denied_and_a_denial_wins() {
        let read = policy(
            r#"{"Effect":"Allow","Action":["s3:Get*","S3:putobject"],"Resource":"arn:aws:s3:::data/in/*"},
               {"Sid":"x","Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::data/in/secret*"}"#,
        );
        assert!(object(&read, "GetObject", "in/a") && object(&read, "PutObject", "in/a"));
        assert!(!object(&read, "DeleteObject", "in/a"));
        assert!(!object(&read, "GetObject", "out/a"));
        assert!(!object(&read, "GetObject", "in/secret/a"));
        assert!(!listing(&read, "in/"));
        assert!(!object(&Policy::nothing(), "GetObject", "a"));
        assert!(!object(&policy(""), "GetObject", "a"));
    }

    #[test]
    fn a_bucket_and_its_objects_are_different_resources() {
        let objects = policy(r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::data/*"}"#);
        assert!(object(&objects, "GetObject", "a") && !listing(&objects, ""));
        let itself = policy(r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:s3:::data"]}"#);
        assert!(!object(&itself, "GetObject", "a") && listing(&itself, ""));
        let list = Demand {
            action: "ListAllMyBuckets",
            bucket: None,
            key: None,
            prefix: None,
        };
        for (resource, is_meant) in [
            ("*", true),
            ("arn:aws:s3:::*", true),
            ("arn:aws:s3:::", false),
            ("arn:aws:s3:::d*", false),
        ] {
            let all = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{resource}"}}"#);
            assert_eq!(policy(&all).allows(&list), is_meant, "{resource}");
        }
    }

    #[test]
    fn a_condition_on_the_prefix_confines_listings() {
        let like = policy(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLike":{"s3:prefix":["in/*","x"]}}}"#,
        );
        assert!(listing(&like, "in/") && listing(&like, "in/a") && listing(&like, "x"));
        assert!(!listing(&like, "") && !listing(&like, "out/"));
        // Whoever names no prefix does not fulfil a condition about it.
        assert!(!object(&like, "GetObject", "in/a"));
        let equal = policy(
            r#"{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringEquals":{"s3:prefix":""}}}"#,
        );
        assert!(listing(&equal, "") && !listing(&equal, "a"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let allow = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#;
        for statement in [
            r#""Effect":"Allow","Action":"s3:GetObject""#,
            r#""Effect":"Allow","Resource":"*""#,
            r#""Action":"s3:GetObject","Resource":"*""#,
            r#""Effect":"allow","Action":"s3:GetObject","Resource":"*""#,
            r#""Effect":"Allow","NotAction":"s3:GetObject","Resource":"*""#,
            r#""Effect":"Allow","Action":"s3:GetObject","NotResource":"*""#,
            r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*","Principal":"*""#,
            r#""Effect":"Allow","Action":"sts:AssumeRole","Resource":"*""#,
            r#""Effect":"Allow","Action":"GetObject","Resource":"*""#,
            r#""Effect":"Allow","Action":"s3:","Resource":"*""#,
            r#""Effect":"Allow","Action":"s3:Get Object","Resource":"*""#,
            r#""Effect":"Allow","Action":[],"Resource":"*""#,
            r#""Effect":"Allow","Action":"s3:GetObject","Resource":[]"#,
            r#""Effect":"Allow","Action":"s3:GetObject","Resource":"data/*""#,
            r#""Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws-cn:s3:::data/*""#,
            r#""Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/${aws:username}/*""#,
            &format!(r#"{allow},"Condition":{{"StringNotLike":{{"s3:prefix":"x"}}}}"#),
            &format!(r#"{allow},"Condition":{{"StringLike":{{"aws:SourceIp":"x"}}}}"#),
            &format!(r#"{allow},"Condition":{{"StringLike":{{"s3:prefix":"${{x}}"}}}}"#),
            &format!(r#"{allow},"Condition":{{"StringEquals":{{"s3:prefix":"x*"}}}}"#),
            &format!(r#"{allow},"Effect":"Deny""#),
            &format!(r#"{allow},"Unknown":1"#),
        ] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":{{{statement}}}}}"#);
            assert!(Policy::parse(&text).is_err(), "{text}");
        }
        for text in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"Version":"2020-01-01","Statement":[]}"#,
            r#"{"Version":"2012-10-17"}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            r#"{"Statement":[]} x"#,
            r#"{"statement":[]}"#,
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
        assert!(Policy::parse(&format!(r#"{{"Id":"x","Statement":{{{allow}}}}}"#)).is_ok());
    }
}
