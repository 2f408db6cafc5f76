//! The weather of a run: what the upstream does wrong, and how often.

use hugbucket::devhub::{Aim, Chance, Effect, Route, RouteClass, Weather};

/// How many of a hundred calls meet something, about.
const PERCENT: u64 = 10;

/// Returns weather in which about a tenth of all calls meet something. `strength` multiplies that; in percent.
pub(crate) fn rough(seed: u64, strength: u64) -> Weather {
    let class = Aim::Class;
    let route = Aim::Route;
    let status = |status, retry_after, rate_limit_reset| Effect::Status {
        status,
        retry_after,
        rate_limit_reset,
    };
    // Per mille. What meets all calls adds up to a tenth of them.
    let chances = [
        (Aim::All, 30, Effect::Delay { millis: 300 }),
        (Aim::All, 8, Effect::status(500)),
        (Aim::All, 4, Effect::status(502)),
        (Aim::All, 4, status(503, Some(1), None)),
        (Aim::All, 4, Effect::status(504)),
        (class(RouteClass::Api), 3, status(429, None, Some(1))),
        (Aim::All, 3, status(429, Some(1), None)),
        (Aim::All, 12, Effect::ResetBefore),
        (Aim::All, 12, Effect::ResetAfter),
        (Aim::All, 8, truncated(1 << 10)),
        (class(RouteClass::Storage), 10, truncated(4 << 20)),
        (Aim::All, 8, corrupted(1 << 9)),
        (class(RouteClass::Storage), 10, corrupted(1 << 20)),
        (Aim::All, 4, Effect::Length { difference: 100 }),
        (Aim::All, 4, Effect::Length { difference: -100 }),
        (class(RouteClass::Cas), 3, Effect::ExpireTokens),
        (class(RouteClass::Storage), 10, Effect::ExpireUrls),
        // Of lines, pages, and shards.
        (route(Route::Batch), 30, refused_line()),
        (route(Route::Tree), 50, Effect::Unsorted),
        (route(Route::Tree), 50, Effect::Repeated),
        (
            route(Route::Shard),
            20,
            Effect::ShardError { retryable: true },
        ),
    ];
    let chances = chances.map(|(aim, per_mille, effect)| Chance {
        aim,
        per_mille: u16::try_from(per_mille * strength / PERCENT).unwrap_or(1000),
        effect,
    });
    Weather {
        seed,
        chances: chances.into(),
    }
}

fn truncated(after_bytes: u64) -> Effect {
    Effect::Truncate { after_bytes }
}

fn corrupted(at_byte: u64) -> Effect {
    Effect::Corrupt { at_byte }
}

fn refused_line() -> Effect {
    Effect::FailEntries {
        path: String::new(),
        error: "busy".into(),
    }
}
