//! `GET /api/whoami-v2`: who the token belongs to.

use axum::Json;
use serde_json::{Value, json};

use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;

pub(super) async fn whoami(caller: Caller) -> Result<Json<Value>, Refusal> {
    let user = caller.user()?;
    let organizations: Vec<Value> = (user.organizations.iter())
        .map(|name| {
            json!({
                "type": "org",
                "id": id_of(name),
                "name": name,
                "fullname": name,
                "isEnterprise": false,
                "roleInOrg": "admin",
            })
        })
        .collect();
    Ok(Json(json!({
        "type": "user",
        "id": id_of(&user.name),
        "name": user.name,
        "fullname": user.name,
        "isPro": false,
        "canPay": false,
        "orgs": organizations,
        "auth": {
            "type": "access_token",
            "accessToken": { "displayName": "development", "role": user.role.name() },
        },
    })))
}

/// Returns a stable id of 24 hex digits.
fn id_of(name: &str) -> String {
    let mut id = hex::encode(name);
    id.truncate(24);
    format!("{id:0<24}")
}
