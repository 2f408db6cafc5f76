//! What a known caller is entitled to: what it may do, where, in whose buckets, from where, and until when.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use time::OffsetDateTime;

use crate::storage::name::{BucketName, Namespace};
use crate::storage::pattern::Pattern;
use crate::storage::policy::Policy;
use crate::storage::secret::Secret;
use crate::storage::touch::{Extent, Touch};

/// What a known caller is entitled to. By default: everything, in everybody's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entitlement {
    /// What it may do.
    pub rights: Rights,
    /// Where it may do it.
    pub reach: Reach,
    /// Whose buckets it sees.
    pub home: Home,
    /// The moment from which on it is refused.
    pub expires_at: Option<OffsetDateTime>,
    /// The only networks that it is accepted from; nothing for all of them.
    pub source_networks: Option<Arc<[IpNet]>>,
    /// What narrows all this: the policy of a session.
    pub policy: Option<Policy>,
}

impl Entitlement {
    /// Reports whether it is over at the moment `now`.
    pub fn has_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Reports whether a caller from this address is accepted. One whose address is not known is, unless it matters.
    pub fn accepts(&self, peer: Option<IpAddr>) -> bool {
        self.source_networks.as_deref().is_none_or(|networks| {
            let peer = peer.map(|peer| peer.to_canonical());
            peer.is_some_and(|peer| networks.iter().any(|network| network.contains(&peer)))
        })
    }
}

/// The account on the Hub that a caller works with. By default: the one that all callers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// The Hub token of its upstream calls; nothing for the shared one.
    pub hub_token: Option<Secret>,
    /// The namespace whose buckets it sees under their bare names; nothing for that of the token's owner, and with the
    /// shared token for the shared namespace.
    pub namespace: Option<Namespace>,
}

impl Home {
    /// Reports whether it is the account that all callers share.
    pub fn is_shared(&self) -> bool {
        *self == Self::default()
    }
}

/// How far a principal's rights reach. By default: everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The only buckets it may name; nothing for all of them.
    pub buckets: Option<Arc<[BucketName]>>,
    /// Whether it may create and delete buckets, if its rights go so far.
    pub manages_buckets: bool,
    /// What it sees as the root where a protocol has paths: `bucket` or `bucket/directory`, without a slash at either end;
    /// empty for the list of buckets.
    pub root: Arc<str>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            buckets: None,
            manages_buckets: true,
            root: "".into(),
        }
    }
}

impl Reach {
    /// Reports whether the bucket lies within it.
    pub fn includes(&self, bucket: &BucketName) -> bool {
        let buckets = self.buckets.as_deref();
        buckets.is_none_or(|buckets| buckets.contains(bucket))
    }
}

/// What a principal may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rights {
    /// Everything in its namespace.
    #[default]
    All,
    /// Reading and listing only.
    ReadOnly,
    /// What is listed, and nothing else.
    Granted {
        /// What it may do everywhere.
        everywhere: Actions,
        /// What it may do in places.
        grants: Arc<[Grant]>,
    },
    /// Reading what everybody may read: objects and listings of public buckets. The rights of a caller without credentials,
    /// where such callers are let in.
    PublicRead,
}

impl Rights {
    /// Reports whether a touch is within the rights. What is public is judged elsewhere, where that is known, so with
    /// [`Rights::PublicRead`] nothing is.
    pub fn allow(&self, touch: &Touch<'_>) -> bool {
        let (everywhere, grants) = self.parts();
        if everywhere.contain(touch.action) {
            return true;
        }
        match (touch.bucket, touch.extent) {
            // Whoever may do something in a bucket knows that it is there, and sees the list that names it.
            (None, _) => {
                touch.action == Action::List && !(everywhere.is_empty() && grants.is_empty())
            }
            (Some(bucket), Extent::Bucket) if touch.action == Action::List => self.see(bucket),
            // Objects that are not named yet: whether they are the right ones is judged once they are.
            (Some(bucket), Extent::Bucket) if touch.action == Action::Delete => {
                grants.iter().any(|grant| {
                    grant.actions.contain(Action::Delete) && grant.bucket.matches(bucket.as_str())
                })
            }
            (Some(bucket), _) => grants.iter().any(|grant| {
                grant.actions.contain(touch.action)
                    && grant.bucket.matches(bucket.as_str())
                    && touch.name.starts_with(&*grant.prefix)
            }),
        }
    }

    /// Reports whether they go into a bucket at all.
    pub fn see(&self, bucket: &BucketName) -> bool {
        let (everywhere, grants) = self.parts();
        !everywhere.is_empty()
            || grants
                .iter()
                .any(|grant| grant.bucket.matches(bucket.as_str()))
    }

    /// Reports whether they allow a change of anything at all.
    pub fn may_change(&self) -> bool {
        let (everywhere, grants) = self.parts();
        let mut all = std::iter::once(everywhere).chain(grants.iter().map(|grant| grant.actions));
        all.any(Actions::change)
    }

    fn parts(&self) -> (Actions, &[Grant]) {
        match self {
            Self::All => (Actions::ALL, &[]),
            Self::ReadOnly => (Actions::READ_ONLY, &[]),
            Self::Granted { everywhere, grants } => (*everywhere, grants),
            Self::PublicRead => (Actions::default(), &[]),
        }
    }
}

/// What a principal may do in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The buckets.
    pub bucket: Pattern,
    /// What the names of objects begin with; empty for all of them. Buckets are created and deleted only where it is empty.
    pub prefix: Arc<str>,
    /// What it may do there.
    pub actions: Actions,
}

/// A kind of thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read objects, and what is known of them.
    Read,
    /// Create and replace objects, and what is attached to them.
    Write,
    /// Delete objects.
    Delete,
    /// List objects and uploads, and look buckets up.
    List,
    /// Create buckets.
    CreateBucket,
    /// Delete buckets.
    DeleteBucket,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::List,
        Self::CreateBucket,
        Self::DeleteBucket,
    ];

    /// Returns its name: `kebab-case`, a closed set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
            Self::CreateBucket => "create-bucket",
            Self::DeleteBucket => "delete-bucket",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of actions. By default: none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// Every action.
    pub const ALL: Self = Self(0b11_1111);
    /// [`Action::Read`] and [`Action::List`].
    pub const READ_ONLY: Self = Self(0b00_1001);

    /// Reports whether the action is among them.
    pub fn contain(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// Reports whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reports whether one of them changes something.
    fn change(self) -> bool {
        self.0 & !Self::READ_ONLY.0 != 0
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self(
            actions
                .into_iter()
                .fold(0, |set, action| set | action.bit()),
        )
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Action::ALL
            .into_iter()
            .filter(|action| self.contain(*action));
        f.debug_set().entries(held.map(Action::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    fn granted(everywhere: &[Action], grants: &[(&str, &str, &[Action])]) -> Rights {
        let grants = grants.iter().map(|(bucket, prefix, actions)| Grant {
            bucket: Pattern::new(bucket),
            prefix: (*prefix).into(),
            actions: actions.iter().copied().collect(),
        });
        Rights::Granted {
            everywhere: everywhere.iter().copied().collect(),
            grants: grants.collect(),
        }
    }

    fn may(
        rights: &Rights,
        action: Action,
        bucket: &BucketName,
        name: &str,
        extent: Extent,
    ) -> bool {
        rights.allow(&Touch {
            action,
            bucket: Some(bucket),
            name,
            extent,
        })
    }

    #[test]
    fn an_entitlement_ends_at_its_moment() {
        let end = OffsetDateTime::UNIX_EPOCH;
        let ending = Entitlement {
            expires_at: Some(end),
            ..Entitlement::default()
        };
        assert!(ending.has_expired(end));
        assert!(!ending.has_expired(end - time::Duration::nanoseconds(1)));
        assert!(!Entitlement::default().has_expired(end));
    }

    #[test]
    fn networks_keep_out_who_comes_from_elsewhere() {
        let bound = Entitlement {
            source_networks: Some(Arc::new(["10.0.0.0/8".parse().unwrap()])),
            ..Entitlement::default()
        };
        let peer = |text: &str| Some(text.parse().unwrap());
        assert!(bound.accepts(peer("10.1.2.3")));
        assert!(bound.accepts(peer("::ffff:10.1.2.3")));
        assert!(!bound.accepts(peer("11.0.0.1")) && !bound.accepts(peer("::1")));
        assert!(!bound.accepts(None));
        assert!(Entitlement::default().accepts(None));
    }

    #[test]
    fn the_constant_sets_hold_what_they_say() {
        assert_eq!(Actions::ALL, Action::ALL.into_iter().collect());
        assert_eq!(
            Actions::READ_ONLY,
            [Action::Read, Action::List].into_iter().collect()
        );
        for action in Action::ALL {
            let is_read = matches!(action, Action::Read | Action::List);
            assert_eq!(Actions::READ_ONLY.contain(action), is_read);
            assert_eq!(Actions::from_iter([action]).change(), !is_read);
            assert!(!Actions::default().contain(action));
        }
    }

    #[test]
    fn deletions_that_are_not_named_yet_need_the_right_somewhere_in_the_bucket() {
        let rights = granted(&[], &[("data-*", "in/", &[Action::Delete])]);
        let may = |rights, bucket| may(rights, Action::Delete, bucket, "", Extent::Bucket);
        let (data, other) = (bucket("data-1"), bucket("other"));
        assert!(may(&rights, &data));
        assert!(!may(&rights, &other));
        assert!(!may(&Rights::ReadOnly, &data));
    }

    #[test]
    fn a_grant_counts_in_its_buckets_and_below_its_prefix() {
        let rights = granted(&[], &[("data-*", "in/", &[Action::Write, Action::List])]);
        let (data, other) = (bucket("data-1"), bucket("other"));
        assert!(may(&rights, Action::Write, &data, "in/a", Extent::Key));
        assert!(may(&rights, Action::List, &data, "in/", Extent::Prefix));
        for (action, bucket, name) in [
            (Action::Write, &data, "in"),
            (Action::Write, &data, "out/a"),
            (Action::Write, &other, "in/a"),
            (Action::Read, &data, "in/a"),
            (Action::Delete, &data, "in/a"),
            (Action::List, &data, "i"),
            (Action::List, &data, ""),
        ] {
            assert!(
                !may(&rights, action, bucket, name, Extent::Key),
                "{action:?} {name}"
            );
            assert!(
                !may(&rights, action, bucket, name, Extent::Prefix),
                "{action:?} {name}"
            );
        }
        // The bucket is there for its holder, but it neither creates nor deletes it.
        assert!(may(&rights, Action::List, &data, "", Extent::Bucket));
        assert!(!may(&rights, Action::List, &other, "", Extent::Bucket));
        assert!(!may(
            &rights,
            Action::DeleteBucket,
            &data,
            "",
            Extent::Bucket
        ));
        assert!(rights.see(&data) && !rights.see(&other) && rights.may_change());
    }

    #[test]
    fn what_counts_everywhere_counts_beside_the_grants() {
        let rights = granted(&[Action::Read], &[("b", "", &[Action::DeleteBucket])]);
        let (own, other) = (bucket("b"), bucket("c"));
        assert!(may(&rights, Action::Read, &other, "k", Extent::Key));
        assert!(may(&rights, Action::DeleteBucket, &own, "", Extent::Bucket));
        assert!(!may(
            &rights,
            Action::DeleteBucket,
            &other,
            "",
            Extent::Bucket
        ));
        assert!(!may(&rights, Action::Write, &own, "k", Extent::Key));
    }

    #[test]
    fn whoever_may_do_nothing_sees_nothing() {
        for rights in [granted(&[], &[]), Rights::PublicRead] {
            assert!(!rights.see(&bucket("b")) && !rights.may_change());
            for action in Action::ALL {
                assert!(!may(&rights, action, &bucket("b"), "k", Extent::Key));
                let list = Touch {
                    action,
                    bucket: None,
                    name: "",
                    extent: Extent::Bucket,
                };
                assert!(!rights.allow(&list));
            }
        }
    }
}
