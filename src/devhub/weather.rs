//! Faults by chance: at random, and yet the same ones for the same seed.

use serde::{Deserialize, Serialize};

use super::faults::Effect;
use super::route::{Route, RouteClass};

/// Faults that meet calls by chance, until other weather is set.
///
/// The draws depend on the seed, on the chance, and on how many calls it has drawn for: so the n-th call that a chance is
/// about always meets the same, whatever time it comes at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// What the draws depend on.
    pub seed: u64,
    /// Each draws for itself; the first one that strikes counts.
    pub chances: Vec<Chance>,
}

/// A fault, and how likely it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// The calls that it may meet.
    pub aim: Aim,
    /// How many of a thousand calls it meets; of a thousand lines, where the effect is about lines.
    pub per_mille: u16,
    /// What happens. Times, positions, and differences are drawn anew for each call, and these are the largest ones.
    pub effect: Effect,
}

/// Some of the calls. In JSON `"all"`, `{"class": "cas"}`, or `{"route": "batch"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Every call.
    All,
    /// The calls that one kind of server answers.
    Class(RouteClass),
    /// The calls of one route.
    Route(Route),
}

impl Aim {
    fn includes(self, route: Route) -> bool {
        match self {
            Self::All => true,
            Self::Class(class) => route.class() == class,
            Self::Route(one) => route == one,
        }
    }
}

/// The present weather, and how far its draws have come.
#[derive(Debug, Default)]
pub(super) struct Sky {
    weather: Weather,
    /// Draws so far, by chance.
    drawn: Vec<u64>,
    struck: u64,
}

impl Sky {
    pub(super) fn new(weather: Weather) -> Self {
        let drawn = vec![0; weather.chances.len()];
        Self {
            weather,
            drawn,
            struck: 0,
        }
    }

    pub(super) fn weather(&self) -> &Weather {
        &self.weather
    }

    /// Returns how many calls, lines, and pages were met so far.
    pub(super) fn struck(&self) -> u64 {
        self.struck
    }

    /// Draws for a call of `route`; only effects that `matches` takes part.
    pub(super) fn strike(
        &mut self,
        route: Route,
        matches: impl Fn(&Effect) -> bool,
    ) -> Option<Effect> {
        let seed = self.weather.seed;
        for (index, chance) in self.weather.chances.iter().enumerate() {
            if !chance.aim.includes(route) || !matches(&chance.effect) {
                continue;
            }
            let number = self.drawn[index];
            self.drawn[index] += 1;
            let draw = mixed(mixed(mixed(seed) ^ index as u64) ^ number);
            if draw % 1000 < u64::from(chance.per_mille) {
                self.struck += 1;
                return Some(chance.effect.drawn(mixed(draw)));
            }
        }
        None
    }
}

/// Spreads a number over all 64 bits (SplitMix64; Steele, Lea, and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sky(seed: u64, aim: Aim, per_mille: u16, effect: Effect) -> Sky {
        let chances = vec![Chance {
            aim,
            per_mille,
            effect,
        }];
        Sky::new(Weather { seed, chances })
    }

    fn draws(sky: &mut Sky, route: Route, calls: usize) -> Vec<Option<Effect>> {
        (0..calls).map(|_| sky.strike(route, |_| true)).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_does_not() {
        let delays = |seed| {
            let mut sky = sky(seed, Aim::All, 300, Effect::Delay { millis: 1000 });
            draws(&mut sky, Route::Tree, 200)
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn a_chance_strikes_about_as_often_as_it_says() {
        let mut sky = sky(7, Aim::All, 100, Effect::ResetBefore);
        let drawn = draws(&mut sky, Route::Batch, 10_000);
        let struck = drawn.iter().flatten().count();
        assert!((900..1100).contains(&struck), "{struck}");
        assert_eq!(sky.struck(), struck as u64);
        for (per_mille, expected) in [(0, 0), (1000, 50)] {
            let mut sky = super::tests::sky(7, Aim::All, per_mille, Effect::ResetBefore);
            let drawn = draws(&mut sky, Route::Batch, 50);
            assert_eq!(drawn.iter().flatten().count(), expected);
        }
    }

    #[test]
    fn a_chance_meets_what_it_is_aimed_at_only() {
        for (aim, met, spared) in [
            (Aim::Route(Route::Shard), Route::Shard, Route::Batch),
            (
                Aim::Class(RouteClass::Cas),
                Route::Reconstruction,
                Route::XorbGet,
            ),
        ] {
            let mut sky = sky(1, aim, 1000, Effect::ResetAfter);
            assert_eq!(draws(&mut sky, spared, 1), [None]);
            assert_eq!(draws(&mut sky, met, 1), [Some(Effect::ResetAfter)]);
            assert_eq!(sky.strike(met, |_| false), None);
        }
    }

    #[test]
    fn positions_are_drawn_up_to_the_largest() {
        let mut sky = sky(3, Aim::All, 1000, Effect::Corrupt { at_byte: 9 });
        let mut seen = [false; 10];
        for effect in draws(&mut sky, Route::XorbGet, 300) {
            let Some(Effect::Corrupt { at_byte }) = effect else {
                panic!("{effect:?}");
            };
            seen[usize::try_from(at_byte).unwrap()] = true;
        }
        assert_eq!(seen, [true; 10]);
    }
}
