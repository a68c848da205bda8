use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::policy::Outcome;

/// Resolves to what became of one accepted record. Needs no particular runtime.
///
/// Dropping it changes nothing for the record.
#[derive(Debug)]
#[must_use = "a receipt says nothing until it is awaited"]
pub struct Receipt(oneshot::Receiver<Outcome>);

/// The coordinator came to its end before the record did: it may be stored, a dead letter, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator came to its end, nobody knows whether the record is stored")]
pub struct ReceiptLost;

impl Receipt {
    pub(super) fn new() -> (oneshot::Sender<Outcome>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Receipt {
    type Output = Result<Outcome, ReceiptLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map_err(|_| ReceiptLost))
    }
}
