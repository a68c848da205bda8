use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::{dead_letter::Fate, policy::Outcome};

/// Resolves to what became of one accepted record. Needs no particular runtime.
///
/// Dropping it changes nothing for the record.
#[derive(Debug)]
#[must_use = "a receipt says nothing until it is awaited"]
pub struct Receipt(oneshot::Receiver<Told>);

/// The coordinator came to its end before the record did: it may be stored, a dead letter, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator came to its end, nobody knows whether the record is stored")]
pub struct ReceiptLost;

/// The sending half of a receipt.
#[derive(Debug)]
pub(super) struct Teller {
    to: oneshot::Sender<Told>,
    /// The record is a dead letter already, and whoever waits wants to know what the store says against it.
    pub(super) is_letter: bool,
    pub(super) refusal: Option<Fate>,
}

#[derive(Debug)]
struct Told {
    outcome: Outcome,
    refusal: Option<Fate>,
}

impl Teller {
    pub(super) fn tell(self, outcome: Outcome) {
        // Nobody has to wait for it.
        let _ = self.to.send(Told { outcome, refusal: self.refusal });
    }
}

impl Receipt {
    pub(super) fn new(is_letter: bool) -> (Teller, Self) {
        let (to, receiver) = oneshot::channel();
        (Teller { to, is_letter, refusal: None }, Self(receiver))
    }

    /// Resolves to what became of a record that is replayed.
    pub(super) async fn fate(self) -> Fate {
        match self.0.await {
            Ok(Told { outcome: Outcome::Stored, .. }) => Fate::Stored,
            Ok(Told { outcome: Outcome::DeadLettered, refusal: Some(refusal) }) => refusal,
            // A deadline cut it off, or the end lost it.
            Ok(_) | Err(_) => Fate::Unknown,
        }
    }
}

impl Future for Receipt {
    type Output = Result<Outcome, ReceiptLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = Pin::new(&mut self.0).poll(context);
        told.map(|told| told.map(|told| told.outcome).map_err(|_| ReceiptLost))
    }
}
