//! Finds out whose buckets these are: asks the Hub who the token belongs to.
//!
//! A Hub that cannot be reached is asked again until it answers, since a gateway often starts before its network does.
//! A token that the Hub refuses will not get better, so that is a configuration failure.

use std::time::Duration;

use crate::app::Failure;
use crate::provider::hub::{HubClient, WhoAmI};
use crate::storage::{Namespace, Secret, StorageError};
use crate::telemetry::Readiness;

/// Wait before the second question; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two questions. The client below has its own retry, so few of them are asked.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// Asks until the Hub answers, and returns the namespace to serve: the configured one, or the token's owner.
///
/// Errors: the Hub refuses the token.
pub(super) async fn namespace(
    hub: &HubClient,
    token: &Secret,
    configured: Option<&Namespace>,
    readiness: &Readiness,
) -> Result<Namespace, Failure> {
    let mut wait = FIRST_WAIT;
    loop {
        let error = match hub.whoami(token).await {
            Ok(owner) => return Ok(choose(configured, owner)),
            Err(StorageError::AccessDenied { reason }) => {
                return Err(Failure::configuration(format!(
                    "HF_TOKEN does not work: {reason}"
                )));
            }
            Err(error) => error,
        };
        tracing::warn!(%error, "it is not known yet whose token this is; requests are refused until then");
        readiness.namespace_failing(error.to_string());
        let pause = match error {
            StorageError::RateLimited { after } => after.max(wait),
            _ => wait,
        };
        tokio::time::sleep(pause).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

/// Prefers what is configured. A namespace that is not the token's may still be readable, so it is only worth a warning.
pub(super) fn choose(configured: Option<&Namespace>, owner: WhoAmI) -> Namespace {
    let Some(namespace) = configured else {
        return owner.name;
    };
    let is_own = *namespace == owner.name || owner.orgs.iter().any(|org| org == namespace.as_str());
    if !is_own {
        tracing::warn!(
            %namespace,
            owner = %owner.name,
            "the namespace is neither the token's owner nor one of its organisations"
        );
    }
    namespace.clone()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::routing::get;
    use http::StatusCode;
    use tokio::net::TcpListener;

    use super::*;
    use crate::provider::http::HttpConfig;
    use crate::provider::hub::HubConfig;
    use crate::telemetry::Metrics;

    /// A Hub that gives these answers in turn, and a client without retry of its own.
    async fn hub(answers: Vec<(StatusCode, &'static str)>) -> HubClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let answer = move || async move { answers.lock().unwrap().next().unwrap() };
        let router = Router::new().route("/api/whoami-v2", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = HubConfig {
            endpoint: endpoint.parse().unwrap(),
            http: HttpConfig {
                max_retries: 0,
                ..HttpConfig::default()
            },
        };
        HubClient::new(config, Metrics::new()).unwrap()
    }

    const OWNER: &str = r#"{"name":"me","orgs":[{"name":"acme"}]}"#;

    async fn found(hub: &HubClient, configured: Option<&str>) -> Result<String, Failure> {
        let configured = configured.map(|name| Namespace::new(name).unwrap());
        let readiness = Readiness::new(Metrics::new());
        let token = Secret::new("hf_x");
        let found = namespace(hub, &token, configured.as_ref(), &readiness).await?;
        Ok(found.to_string())
    }

    #[tokio::test]
    async fn the_tokens_owner_is_the_namespace_unless_one_is_configured() {
        let hub = hub(vec![(StatusCode::OK, OWNER); 3]).await;
        assert_eq!(found(&hub, None).await.unwrap(), "me");
        assert_eq!(found(&hub, Some("acme")).await.unwrap(), "acme");
        assert_eq!(found(&hub, Some("stranger")).await.unwrap(), "stranger");
    }

    #[tokio::test]
    async fn a_refused_token_is_a_configuration_failure_and_is_not_shown() {
        let hub = hub(vec![(StatusCode::UNAUTHORIZED, "{}")]).await;
        let failure = found(&hub, None).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(!failure.to_string().contains("hf_x"), "{failure}");
    }

    #[tokio::test]
    async fn a_hub_that_does_not_answer_is_asked_again() {
        let hub = hub(vec![(StatusCode::BAD_GATEWAY, ""), (StatusCode::OK, OWNER)]).await;
        assert_eq!(found(&hub, None).await.unwrap(), "me");
    }
}
