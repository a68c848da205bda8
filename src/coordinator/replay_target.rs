use super::{Refusal, WriteHandle};
use crate::{
    dead_letter::{NotAccepted, ReplayOutcome, ReplayTarget},
    policy::{BufferState, Level},
    record::Record,
};

impl<T: Record> ReplayTarget<T> for WriteHandle<T> {
    fn level(&self) -> Level {
        self.level()
    }

    fn ended(&self) -> Option<String> {
        match self.shared().with(|buffer| buffer.state()) {
            BufferState::Open => None,
            BufferState::Draining => Some(Refusal::Draining.to_string()),
            BufferState::Closed => Some(Refusal::Closed.to_string()),
        }
    }

    async fn write(&self, record: T) -> Result<impl Future<Output = ReplayOutcome> + Send + 'static, NotAccepted> {
        let mut record = record;
        loop {
            let refused = match self.write_as(record, true).await {
                Ok(receipt) => return Ok(receipt.fate()),
                Err(refused) => refused,
            };
            match refused.refusal() {
                Refusal::Invalid(invalid) => return Err(NotAccepted::Invalid(invalid.to_string())),
                // With the strategy `error` the coordinator leaves it to its producer to wait.
                Refusal::Full | Refusal::CircuitOpen => {
                    record = refused.into_record();
                    let _ = self.flush().await;
                }
                refusal => return Err(NotAccepted::Ended(refusal.to_string())),
            }
        }
    }

    async fn flush(&self) {
        // It fails when the coordinator has ended, and then the receipts say so.
        let _ = self.flush().await;
    }
}
