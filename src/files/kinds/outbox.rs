//! What waits to be handed over.

use std::collections::VecDeque;

use crate::files::chunk::{Chunk, ReadError, Rejected};

/// So many rows in a row that are written in a way that is not read here show that the whole file is.
const ROWS_TO_DOUBT: usize = 3;
/// So many rows may pass that are broken before the way in which a file is written counts as understood.
const BROKEN_ROWS: usize = 1_000;

/// What became of a row.
pub(super) enum Outcome<T> {
    /// A record, and whether it takes the place of one before.
    Record(T, bool),
    Rejected(Rejected),
    Skipped,
}

/// Hands outcomes over in order, as far as there is room; before the first record those that were rejected wait, since
/// the whole file may be written in a way that is not read here.
pub(super) struct Outbox<T> {
    held: VecDeque<Outcome<T>>,
    is_understood: bool,
    /// The first of those that wait that tells of the whole file, with what to do then; and how many there were in a row.
    doubt: Option<(Rejected, String)>,
    doubtful: usize,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { held: VecDeque::new(), is_understood: false, doubt: None, doubtful: 0 }
    }
}

impl<T> Outbox<T> {
    /// Takes what became of a row; `advice` says what to do if the whole file is so.
    ///
    /// # Errors
    /// The first rows are all written in a way that is not read here.
    pub(super) fn put(
        &mut self,
        outcome: Outcome<T>,
        advice: Option<String>,
        chunk: &mut Chunk<T>,
    ) -> Result<(), ReadError> {
        match &outcome {
            Outcome::Record(..) => self.is_understood = true,
            Outcome::Rejected(rejected) if !self.is_understood => match advice {
                Some(advice) => {
                    self.doubtful += 1;
                    self.doubt.get_or_insert_with(|| (rejected.clone(), advice));
                    if self.doubtful == ROWS_TO_DOUBT {
                        return Err(self.refusal());
                    }
                }
                None => self.doubtful = 0,
            },
            _ => {}
        }
        self.is_understood |= self.held.len() >= BROKEN_ROWS;
        self.held.push_back(outcome);
        self.release(chunk);
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// All its rows are written in a way that is not read here.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        let is_doubtful = |outcome: &Outcome<T>| matches!(outcome, Outcome::Rejected(_));
        if !self.is_understood
            && self.doubtful > 0
            && self.held.iter().filter(|o| is_doubtful(o)).count() == self.doubtful
        {
            return Err(self.refusal());
        }
        self.is_understood = true;
        Ok(())
    }

    fn refusal(&mut self) -> ReadError {
        let (Rejected { line, message }, advice) =
            self.doubt.take().unwrap_or_else(|| (Rejected { line: 0, message: String::new() }, String::new()));
        let colon = if advice.is_empty() { "" } else { ": " };
        ReadError::Refused(format!("line {line}: {message}{colon}{advice}"))
    }

    /// Hands over what waits, as far as the chunk has room.
    pub(super) fn release(&mut self, chunk: &mut Chunk<T>) {
        while self.is_understood && !chunk.is_full() {
            match self.held.pop_front() {
                None => return,
                Some(Outcome::Skipped) => chunk.skip(),
                Some(Outcome::Record(record, replaces)) => {
                    chunk.replaced += u64::from(replaces);
                    chunk.record(record);
                }
                Some(Outcome::Rejected(Rejected { line, message })) => chunk.reject(line, &message),
            }
        }
    }

    /// Returns whether something can be handed over.
    pub(super) fn has_more(&self) -> bool {
        self.is_understood && !self.held.is_empty()
    }
}
