//! A run: clients at work in bad weather, kills, a rest, and an audit.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hugbucket::devhub;

use crate::audit;
use crate::dice::Dice;
use crate::ledger::{Fault, Ledger, Tally};
use crate::process::{Usage, is_at_rest};
use crate::s3::client;
use crate::stand::Stand;
use crate::world::World;
use crate::{ftp_work, s3_work, weather};

/// How long after a kill a batch that the Hub had already received may still take effect.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// How long the gateway may take until nothing is under way any more.
const REST: Duration = Duration::from_secs(130);

/// What the process may hold at rest beyond what it held when it was fresh: its cache, and what the allocator keeps.
const MEMORY_MIB: u64 = 160;

/// Descriptors beyond those of a fresh process, but for the pool of upstream connections.
const DESCRIPTORS: usize = 8;

/// The pool: at most 64 connections for each of the two hosts.
const POOLED: usize = 128;

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) lasts: Duration,
    /// Time between two kills, about; the last part of a run has none.
    pub(crate) kills_every: Option<Duration>,
    /// Calls that the upstream does something wrong with, in percent.
    pub(crate) trouble: u64,
    pub(crate) s3_clients: u64,
    pub(crate) ftp_clients: u64,
    /// A bug that is planted, to see whether it is found.
    pub(crate) planted: Option<devhub::Fault>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Summary {
    plan: Plan,
    pub(crate) tally: Tally,
    /// What the upstream did wrong.
    pub(crate) struck: u64,
    fresh: Usage,
    rested: Usage,
}

/// Carries a plan out.
pub(crate) async fn run(plan: Plan) -> Summary {
    println!(
        "seed {}: {} s, {} % trouble, {} S3 and {} FTP clients",
        plan.seed,
        plan.lasts.as_secs(),
        plan.trouble,
        plan.s3_clients,
        plan.ftp_clients,
    );
    let stand = Stand::start().await;
    let mut world = World {
        stand,
        ledger: Ledger::new(),
        seed: plan.seed,
        until: Instant::now(),
    };
    let world = {
        world.until += plan.lasts;
        Arc::new(world)
    };
    s3_work::Worker::new(world.clone(), 0).store_sources().await;
    let faults = world.stand.hub.faults();
    faults.set_weather(weather::rough(plan.seed, plan.trouble));
    if let Some(planted) = plan.planted.clone() {
        faults.inject(planted);
    }

    let mut clients = tokio::task::JoinSet::new();
    for number in 0..plan.s3_clients {
        clients.spawn(s3_work::Worker::new(world.clone(), number).work());
    }
    for number in 0..plan.ftp_clients {
        clients.spawn(ftp_work::Worker::new(world.clone(), number).work());
    }
    let fresh = kills(&world, &plan).await;
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let struck = faults.struck();
    faults.clear();

    let rested = rest(&world, fresh).await;
    let generation = world.stand.terminate().await.unwrap_or_else(|generation| {
        let text = "the gateway does not end within a minute of SIGTERM";
        world.ledger.tell(Fault::Hung, text);
        generation
    });
    world.ledger.close(generation, world.ledger.now());
    world.stand.restart().await;
    audit::audit(&world).await;
    Summary {
        tally: world.ledger.result(),
        plan,
        struck,
        fresh,
        rested,
    }
}

/// Kills the gateway again and again, until the last part of the run. Returns what the last gateway used when it was fresh.
async fn kills(world: &World, plan: &Plan) -> Usage {
    let mut fresh = world.stand.usage();
    let Some(every) = plan.kills_every else {
        return fresh;
    };
    let mut dice = Dice::of(plan.seed, u64::MAX);
    let calm = every.max(plan.lasts / 5);
    loop {
        let next = every * u32::try_from(70 + dice.below(60)).unwrap() / 100;
        let at = Instant::now() + next;
        if at + calm > world.until {
            return fresh;
        }
        tokio::time::sleep_until(at.into()).await;
        let generation = world.stand.kill();
        let last_calls = u64::try_from(LAST_CALLS.as_micros()).unwrap();
        world
            .ledger
            .close(generation, world.ledger.now() + last_calls);
        world.ledger.killed();
        world.stand.restart().await;
        fresh = world.stand.usage();
    }
}

/// Waits until nothing is under way, and judges what the process still holds.
async fn rest(world: &World, fresh: Usage) -> Usage {
    let (http, admin) = (client(), world.stand.address().admin);
    let begun = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        look.tick().await;
        let is_at_rest = is_at_rest(&http, &admin).await;
        let used = world.stand.usage();
        // The two connections of this look are the only ones that clients still have.
        let has_let_go = used.descriptors <= fresh.descriptors + DESCRIPTORS;
        let is_small = used.resident_mib <= fresh.resident_mib + MEMORY_MIB;
        let is_fine = is_at_rest == Ok(true) && has_let_go && is_small && used.upstream <= POOLED;
        if is_fine {
            return used;
        }
        if begun.elapsed() > REST {
            let text = format!("at rest {is_at_rest:?}; fresh: {fresh}; then: {used}");
            world.ledger.tell(Fault::Leak, text);
            return used;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            operations,
            acknowledged,
            refused,
            failed,
            unanswered,
            reads,
            kills,
            unchecked,
            by_name,
            ..
        } = &self.tally;
        writeln!(
            f,
            "seed {}, {} s:",
            self.plan.seed,
            self.plan.lasts.as_secs()
        )?;
        writeln!(f, "  operations      operations that failed   longest, ms")?;
        for (name, (count, failed, longest)) in by_name {
            writeln!(f, "  {count:>8} {name:<16} {failed:>8} {longest:>12}")?;
        }
        writeln!(
            f,
            "  writes: {acknowledged} acknowledged, {refused} refused, {failed} failed, {unanswered} unanswered"
        )?;
        writeln!(
            f,
            "  parts of objects above 1 MiB that were damaged upstream: {unchecked}"
        )?;
        writeln!(f, "  fresh: {}", self.fresh)?;
        writeln!(f, "  at rest after the load: {}", self.rested)?;
        let count = |fault| self.tally.count(fault);
        write!(
            f,
            "{operations} operations, {acknowledged} acknowledged writes, {reads} reads judged, {} faults upstream, {kills} kills: \
             {} lost, {} false, {} corrupt, {} hung, {} refused without reason, {} listings out of order, {} leaks",
            self.struck,
            count(Fault::Lost),
            count(Fault::False),
            count(Fault::Corrupt),
            count(Fault::Hung),
            count(Fault::Refused),
            count(Fault::Disorder),
            count(Fault::Leak),
        )
    }
}
