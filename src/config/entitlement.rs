//! What a credential or user of the file is entitled to: the keys that `[[s3_credentials]]` and `[[ftp_users]]` share.
//!
//! ```toml
//! [[s3_credentials]]
//! access_key_id = "trainer"
//! secret_access_key_file = "/run/secrets/trainer"
//! rights = ["list"]                              # everywhere; or "all", the default, or "read-only"
//! expires = 2027-01-01T00:00:00Z
//! source_networks = ["10.0.0.0/8"]
//! hub_token_file = "/run/secrets/trainer-hub"    # its own account on the Hub
//! namespace = "team"
//!
//! [[s3_credentials.grants]]                      # and beyond that, in these places
//! bucket = "models-*"
//! prefix = "checkpoints/"
//! rights = ["read", "write"]
//! ```

use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::credential::{entry_secret, refused_entry};
use crate::config::error::ConfigError;
use crate::config::parse;
use crate::config::source::Values;
use crate::storage::{
    Action, Actions, BucketName, Entitlement, Grant, Home, Namespace, ObjectKey, Pattern, Reach,
    Rights,
};

/// The keys of a table that say what somebody is entitled to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntitlementEntry {
    /// `all`, `read-only`, or a list of what it may do everywhere. By default `all`, and with grants nothing else.
    pub rights: Option<RightsEntry>,
    /// What it may do in places, besides.
    #[serde(default)]
    pub grants: Vec<GrantEntry>,
    /// The only place that it may touch, and what an FTP user sees as `/`: `bucket`, or `bucket/directory` for the keys that
    /// begin with `directory/`.
    pub root: Option<String>,
    /// The only buckets that it may name. By default, all of them.
    pub buckets: Option<Vec<String>>,
    /// Whether it may create and delete buckets: by default, if its rights go so far and it has no root.
    pub manages_buckets: Option<bool>,
    /// The Hub token of its own. By default, that of the gateway.
    pub hub_token: Option<String>,
    /// Path of a file with the Hub token.
    pub hub_token_file: Option<String>,
    /// The namespace whose buckets it sees: by default that of the gateway, and with a Hub token that of the token's owner.
    pub namespace: Option<String>,
    /// The moment from which on it is refused, with a time zone: as a TOML datetime, or as a text that looks like one.
    pub expires: Option<String>,
    /// The only networks that it is accepted from.
    pub source_networks: Option<Vec<String>>,
}

impl EntitlementEntry {
    /// The keys, by which a table is taken apart.
    pub(super) const KEYS: [&str; 10] = [
        "rights",
        "grants",
        "root",
        "buckets",
        "manages_buckets",
        "hub_token",
        "hub_token_file",
        "namespace",
        "expires",
        "source_networks",
    ];
}

/// A `[[….grants]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// The bucket; `*` stands for any text, `?` for one character.
    pub bucket: String,
    /// What the keys begin with. By default, nothing: all of them.
    #[serde(default)]
    pub prefix: String,
    /// As for the whole.
    pub rights: RightsEntry,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawRights")]
pub enum RightsEntry {
    /// Everything.
    All,
    /// Reading and listing.
    ReadOnly,
    /// These kinds of things.
    These(Actions),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawRights {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<RawRights> for RightsEntry {
    type Error = String;

    fn try_from(raw: RawRights) -> Result<Self, String> {
        let names = Action::ALL.map(Action::name).join("`, `");
        match raw {
            RawRights::Word(word) => match word.as_str() {
                "all" => Ok(Self::All),
                "read-only" => Ok(Self::ReadOnly),
                other => Err(format!(
                    "unknown rights `{other}`: there is `all`, `read-only`, and a list of `{names}`"
                )),
            },
            RawRights::List(list) => {
                let action = |name: &String| {
                    let known = Action::ALL.into_iter().find(|action| action.name() == name);
                    known.ok_or_else(|| format!("unknown right `{name}`: there is `{names}`"))
                };
                list.iter()
                    .map(action)
                    .collect::<Result<_, _>>()
                    .map(Self::These)
            }
        }
    }
}

/// Returns the entitlement of `whose`, as in "the S3 credential `ci`".
///
/// Errors: a name that cannot exist, a secret that cannot be read, a time without a time zone, a malformed network.
pub(super) fn entitlement(
    values: &Values,
    whose: &str,
    entry: &EntitlementEntry,
) -> Result<Entitlement, ConfigError> {
    Ok(Entitlement {
        rights: rights(values, whose, entry)?,
        reach: reach(values, whose, entry)?,
        home: home(values, whose, entry)?,
        expires_at: expiry(values, whose, entry)?,
        source_networks: networks(values, whose, entry)?,
        policy: None,
    })
}

fn rights(values: &Values, whose: &str, entry: &EntitlementEntry) -> Result<Rights, ConfigError> {
    let everywhere = match (&entry.rights, entry.grants.is_empty()) {
        (None | Some(RightsEntry::All), true) => return Ok(Rights::All),
        (Some(RightsEntry::ReadOnly), true) => return Ok(Rights::ReadOnly),
        (None, false) => Actions::default(),
        (Some(rights), _) => actions(rights),
    };
    let grant = |grant: &GrantEntry| {
        if grant.bucket.is_empty() {
            let problem = format!("the {whose} has a grant without a bucket");
            return Err(refused_entry(values, &problem));
        }
        Ok(Grant {
            bucket: Pattern::new(&grant.bucket),
            prefix: grant.prefix.as_str().into(),
            actions: actions(&grant.rights),
        })
    };
    Ok(Rights::Granted {
        everywhere,
        grants: entry.grants.iter().map(grant).collect::<Result<_, _>>()?,
    })
}

fn actions(entry: &RightsEntry) -> Actions {
    match entry {
        RightsEntry::All => Actions::ALL,
        RightsEntry::ReadOnly => Actions::READ_ONLY,
        RightsEntry::These(actions) => *actions,
    }
}

fn reach(values: &Values, whose: &str, entry: &EntitlementEntry) -> Result<Reach, ConfigError> {
    let refuse = |problem: String| refused_entry(values, &format!("the {whose} {problem}"));
    let bucket = |name: &str| {
        BucketName::new(name)
            .map_err(|_| refuse(format!("names the bucket `{name}`, which cannot exist")))
    };
    let buckets = entry.buckets.as_ref().map(|names| {
        names
            .iter()
            .map(|name| bucket(name))
            .collect::<Result<_, _>>()
    });
    let root = entry.root.as_deref().unwrap_or_default().trim_matches('/');
    let (first, rest) = root.split_once('/').unwrap_or((root, ""));
    if !root.is_empty() {
        bucket(first)?;
    }
    if !rest.is_empty() && ObjectKey::new(rest).is_err()
        || rest.split('/').any(|name| matches!(name, "." | ".."))
    {
        return Err(refuse(format!("has the root `{root}`, which cannot exist")));
    }
    Ok(Reach {
        buckets: buckets.transpose()?,
        // Whoever sees one bucket only has no list to create others in.
        manages_buckets: entry.manages_buckets.unwrap_or(root.is_empty()) && root.is_empty(),
        root: root.into(),
    })
}

fn home(values: &Values, whose: &str, entry: &EntitlementEntry) -> Result<Home, ConfigError> {
    let (direct, path) = (entry.hub_token.as_deref(), entry.hub_token_file.as_deref());
    let is_given = direct.is_some() || path.is_some();
    let secret = || entry_secret(values, &format!("hub_token of the {whose}"), direct, path);
    let namespace = entry.namespace.as_deref().map(|name| {
        Namespace::new(name).map_err(|_| {
            let problem = format!("the {whose} has the namespace `{name}`, which cannot exist");
            refused_entry(values, &problem)
        })
    });
    Ok(Home {
        hub_token: is_given.then(secret).transpose()?,
        namespace: namespace.transpose()?,
    })
}

fn expiry(
    values: &Values,
    whose: &str,
    entry: &EntitlementEntry,
) -> Result<Option<OffsetDateTime>, ConfigError> {
    let moment = |text: &String| {
        OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            let problem = format!(
                "the {whose} expires at `{text}`, which is no moment such as 2027-01-01T00:00:00Z"
            );
            refused_entry(values, &problem)
        })
    };
    entry.expires.as_ref().map(moment).transpose()
}

fn networks(
    values: &Values,
    whose: &str,
    entry: &EntitlementEntry,
) -> Result<Option<Arc<[IpNet]>>, ConfigError> {
    let Some(list) = &entry.source_networks else {
        return Ok(None);
    };
    let mut networks = Vec::with_capacity(list.len());
    for item in list {
        let parsed = parse::networks(item)
            .ok()
            .filter(|parsed| parsed.len() == 1);
        networks.extend(parsed.ok_or_else(|| {
            refused_entry(
                values,
                &format!(
                    "the {whose} has the source network `{item}`, which is none such as 10.0.0.0/8"
                ),
            )
        })?);
    }
    if networks.is_empty() {
        let problem = format!(
            "the {whose} has an empty list of source networks, so that nobody could use it"
        );
        return Err(refused_entry(values, &problem));
    }
    Ok(Some(networks.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::*;
    use crate::config::credential::s3_credentials;

    fn entitlement_of(entry: &str) -> Result<Entitlement, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(dir.path().join("token"), "hf_of_file\n").unwrap();
        let entry = entry.replace("{dir}", dir.path().to_str().unwrap());
        let file = format!(
            "[[s3_credentials]]\naccess_key_id = \"ci\"\nsecret_access_key = \"hush\"\n{entry}"
        );
        std::fs::write(&path, file).unwrap();
        let values = Values::gather(&BTreeMap::new(), &BTreeMap::new(), Some(&path));
        let found = values.and_then(|values| s3_credentials(&values));
        found
            .map(|credentials| credentials[0].entitlement.clone())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_any_key_there_is_no_limit() {
        assert_eq!(entitlement_of("").unwrap(), Entitlement::default());
    }

    #[test]
    fn grants_come_to_what_is_allowed_everywhere() {
        let grants = "[[s3_credentials.grants]]\nbucket = \"models-*\"\nprefix = \"in/\"\nrights = [\"read\", \"write\"]";
        let Rights::Granted {
            everywhere,
            grants: list,
        } = entitlement_of(grants).unwrap().rights
        else {
            panic!("no grants");
        };
        assert!(
            everywhere.is_empty(),
            "with grants alone, nothing is allowed elsewhere"
        );
        assert_eq!(
            *list,
            [Grant {
                bucket: Pattern::new("models-*"),
                prefix: "in/".into(),
                actions: [Action::Read, Action::Write].into_iter().collect(),
            }]
        );
        let both = entitlement_of(&format!("rights = \"read-only\"\n{grants}"))
            .unwrap()
            .rights;
        assert!(matches!(
            both,
            Rights::Granted {
                everywhere: Actions::READ_ONLY,
                ..
            }
        ));
        let list = entitlement_of("rights = [\"list\"]").unwrap().rights;
        assert!(!list.may_change() && list != Rights::ReadOnly);
        assert!(!entitlement_of("rights = []").unwrap().rights.may_change());
    }

    #[test]
    fn an_account_of_its_own_has_a_token_and_a_namespace() {
        let home = |entry| entitlement_of(entry).unwrap().home;
        let own = home("hub_token = \"hf_own\"\nnamespace = \"team\"");
        assert_eq!(own.hub_token.unwrap().expose(), "hf_own");
        assert_eq!(own.namespace.unwrap().as_str(), "team");
        let of_file = home("hub_token_file = \"{dir}/token\"");
        assert_eq!(of_file.hub_token.unwrap().expose(), "hf_of_file");
        assert_eq!(of_file.namespace, None);
    }

    #[test]
    fn it_may_expire_and_be_bound_to_networks() {
        let bound = entitlement_of(
            "expires = 2027-01-01T02:00:00+02:00\nsource_networks = [\"10.0.0.0/8\", \"::1\"]",
        )
        .unwrap();
        assert_eq!(bound.expires_at, Some(datetime!(2027-01-01 0:00 UTC)));
        let networks = bound.source_networks.unwrap();
        assert_eq!(
            *networks,
            ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is() {
        for (entry, problem) in [
            ("rights = \"some\"", "unknown rights `some`"),
            ("rights = [\"read\", \"admin\"]", "unknown right `admin`"),
            ("expires = 2027-01-01T00:00:00", "no moment"),
            ("expires = 2027-01-01", "no moment"),
            ("expires = \"soon\"", "expires"),
            ("source_networks = [\"10.0.0.0/33\"]", "`10.0.0.0/33`"),
            ("source_networks = [\"10.0.0.0/8,::1\"]", "`10.0.0.0/8,::1`"),
            ("source_networks = []", "empty list"),
            ("namespace = \"a/b\"", "`a/b`"),
            ("hub_token = \"\"", "is empty"),
            (
                "hub_token = \"hush\"\nhub_token_file = \"x\"",
                "is given twice",
            ),
            ("hub_token_file = \"{dir}/none\"", "none"),
            (
                "[[s3_credentials.grants]]\nbucket = \"\"\nrights = \"all\"",
                "without a bucket",
            ),
            ("[[s3_credentials.grants]]\nbucket = \"b\"", "rights"),
            (
                "[[s3_credentials.grants]]\nbucket = \"b\"\nrights = \"all\"\nkey = \"x\"",
                "`key`",
            ),
        ] {
            let refused = entitlement_of(entry).unwrap_err();
            assert!(refused.contains(problem), "{entry}: {refused}");
            assert!(!refused.contains("hush"), "{refused}");
        }
    }
}
