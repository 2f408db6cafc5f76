//! Looks after the files of a certificate.

use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use crate::tls::certificate::{Certificate, Renewal};

/// How often the files are read: much more often than certificates change, and cheap all the same.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Renews the certificate whenever its files change, until it is dropped. They are read every five seconds, and at once
/// after each signal of `hangups`; `looked` is told whether what they hold can be used.
///
/// # Behaviour
/// - A broken pair changes nothing and is told once, however long it lies there.
pub async fn keep_fresh(
    certificate: Certificate,
    mut hangups: Signal,
    looked: impl Fn(bool) + Send,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Nothing more to hear once the runtime ends.
            Some(()) = hangups.recv() => told = None,
        }
        let found = certificate.renew().await;
        looked(found.is_ok());
        tell(
            &certificate,
            found.map_err(|error| error.to_string()),
            &mut told,
        );
    }
}

fn tell(certificate: &Certificate, found: Result<Renewal, String>, told: &mut Option<String>) {
    let file = certificate.files().certificate.display();
    match found {
        Ok(Renewal::Unchanged) => *told = None,
        Ok(Renewal::Renewed) => {
            *told = None;
            tracing::info!(%file, "the TLS certificate was renewed");
        }
        Err(problem) if told.as_ref() != Some(&problem) => {
            tracing::error!(%problem, "the new TLS certificate cannot be used; the old one stays");
            *told = Some(problem);
        }
        Err(_) => {}
    }
}
