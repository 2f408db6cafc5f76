//! Who a token belongs to.

use crate::provider::hub::call::Call;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::wire::WireWhoAmI;
use crate::storage::{Namespace, Secret, StorageError};

/// The account behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoAmI {
    /// The user or organisation itself.
    pub name: Namespace,
    /// Its organisations; may be empty.
    pub orgs: Vec<String>,
    /// `read`, `write`, or `fineGrained`, if the Hub says so.
    pub role: Option<String>,
}

impl HubClient {
    /// Returns the account behind the token. The Hub limits this call strictly: ask once, at start.
    ///
    /// Errors: `AccessDenied` if the Hub refuses the token, `RateLimited`, `Unavailable`.
    pub async fn whoami(&self, token: &Secret) -> Result<WhoAmI, StorageError> {
        let call = Call::get("whoami", self.url(["whoami-v2"]));
        let answer = self.send(token, call).await?;
        if !answer.status.is_success() {
            return Err(error::account_refusal(&answer));
        }
        let wire: WireWhoAmI = answer.json()?;
        Ok(WhoAmI {
            name: Namespace::new(&wire.name)?,
            orgs: wire.orgs.into_iter().map(|org| org.name).collect(),
            role: wire
                .auth
                .and_then(|auth| auth.access_token)
                .and_then(|token| token.role),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, token};

    #[tokio::test]
    async fn an_account_has_a_name_organisations_and_a_role() {
        let reply = serde_json::json!({
            "type": "user", "name": "me", "orgs": [{"name": "acme", "roleInOrg": "admin"}],
            "auth": {"type": "access_token", "accessToken": {"displayName": "x", "role": "write"}}
        });
        let (hub, fake) = FakeHub::start(vec![Reply::json(200, &reply)]).await;
        let me = hub.whoami(&token()).await.unwrap();
        assert_eq!(me.name.as_str(), "me");
        assert_eq!(me.orgs, ["acme"]);
        assert_eq!(me.role.as_deref(), Some("write"));
        let asked = &fake.asked()[0];
        assert_eq!(asked.line, "GET /api/whoami-v2");
        assert_eq!(asked.headers["authorization"], "Bearer hf_test");
    }

    #[tokio::test]
    async fn a_refused_token_is_denied_and_an_unreachable_hub_is_not() {
        let (hub, _) = FakeHub::start(vec![Reply::empty(401)]).await;
        let error = hub.whoami(&token()).await.unwrap_err();
        assert_eq!(error.outcome(), "access_denied");
        let (hub, fake) = FakeHub::start(vec![]).await;
        let error = hub.whoami(&Secret::new("")).await.unwrap_err();
        assert_eq!(error.outcome(), "unavailable");
        assert!(fake.asked()[0].headers.get("authorization").is_none());
    }
}
