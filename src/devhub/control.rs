//! The development Hub's own routes: faults, weather, knobs, and counters. Only the main user may use them.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::faults::{Fault, Faults};
use super::identity::Caller;
use super::knobs::Knobs;
use super::refusal::Refusal;
use super::state::Shared;
use super::weather::Weather;

/// What `POST /devhub/faults` asks for; everything may be left out. It happens in the order of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Command {
    /// Forgets the faults that are still to come, and the weather.
    clear: bool,
    /// Adds faults.
    inject: Vec<Fault>,
    /// Changes the weather: faults by chance.
    weather: Option<Weather>,
    /// Changes the named knobs.
    knobs: Map<String, Value>,
    /// Makes what was handed out so far invalid.
    expire: Vec<Expiry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expiry {
    Tokens,
    Urls,
}

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/devhub/faults", get(show_faults).post(change_faults))
        .route("/devhub/calls", get(show_calls).delete(reset_calls))
}

async fn show_faults(State(state): State<Shared>, caller: Caller) -> Result<Json<Value>, Refusal> {
    caller.operator()?;
    Ok(Json(summary(&state.faults)))
}

async fn change_faults(
    State(state): State<Shared>,
    caller: Caller,
    Json(command): Json<Command>,
) -> Result<Json<Value>, Refusal> {
    caller.operator()?;
    let knobs = merge(&state.faults.knobs(), command.knobs)?;
    if command.clear {
        state.faults.clear();
    }
    for fault in command.inject {
        state.faults.inject(fault);
    }
    if let Some(weather) = command.weather {
        state.faults.set_weather(weather);
    }
    state.faults.turn(|present| *present = knobs);
    for expiry in command.expire {
        match expiry {
            Expiry::Tokens => state.faults.expire_tokens(),
            Expiry::Urls => state.faults.expire_urls(),
        }
    }
    Ok(Json(summary(&state.faults)))
}

async fn show_calls(State(state): State<Shared>, caller: Caller) -> Result<Json<Value>, Refusal> {
    caller.operator()?;
    Ok(Json(json!(state.calls.snapshot())))
}

async fn reset_calls(State(state): State<Shared>, caller: Caller) -> Result<(), Refusal> {
    caller.operator()?;
    state.calls.reset();
    Ok(())
}

fn summary(faults: &Faults) -> Value {
    json!({ "faults": faults.remaining(), "weather": faults.weather(), "knobs": *faults.knobs() })
}

fn merge(present: &Knobs, changes: Map<String, Value>) -> Result<Knobs, Refusal> {
    let bad = |error: serde_json::Error| Refusal::bad_request(error.to_string());
    let mut knobs = serde_json::to_value(present).map_err(bad)?;
    if let Some(knobs) = knobs.as_object_mut() {
        knobs.extend(changes);
    }
    serde_json::from_value(knobs).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_knobs_change_and_unknown_ones_are_refused() {
        let command: Command =
            serde_json::from_value(json!({ "knobs": { "hub_latency": 60 } })).unwrap();
        let knobs = merge(&Knobs::default(), command.knobs).unwrap();
        assert_eq!(knobs.hub_latency.as_millis(), 60);
        assert_eq!(
            Knobs {
                hub_latency: Default::default(),
                ..knobs
            },
            Knobs::default()
        );
        let unknown: Command = serde_json::from_value(json!({ "knobs": { "x": 1 } })).unwrap();
        assert!(merge(&Knobs::default(), unknown.knobs).is_err());
    }

    #[test]
    fn faults_are_written_as_documented() {
        let text = json!({ "inject": [
            { "route": "batch", "times": 2, "effect": { "kind": "status", "status": 503, "retry_after": 1 } },
            { "route": "xorb-get", "after": 1, "effect": { "kind": "truncate", "after_bytes": 100 } },
            { "route": "shard", "effect": { "kind": "reset_after" } },
        ], "weather": { "seed": 7, "chances": [
            { "aim": "all", "per_mille": 100, "effect": { "kind": "delay", "millis": 300 } },
            { "aim": { "class": "storage" }, "per_mille": 5, "effect": { "kind": "length", "difference": -9 } },
            { "aim": { "route": "tree" }, "per_mille": 50, "effect": { "kind": "repeated" } },
        ] }, "expire": ["tokens"] });
        let command: Command = serde_json::from_value(text).unwrap();
        assert_eq!(command.inject.len(), 3);
        let weather = command.weather.unwrap();
        assert_eq!((weather.seed, weather.chances.len()), (7, 3));
    }
}
