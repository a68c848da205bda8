//! The rows of one file in order: what waits, what goes out, and when the file is refused.

use std::collections::VecDeque;

use super::BarDecoder;
use crate::files::{
    bars::{
        date_order::{Held, Settling},
        infer::Inference,
        key_checks::Verdict,
        outcome::{Outcome, refused},
        raw_bar::RawBar,
    },
    chunk::{Chunk, ReadError, Rejected},
    file_name,
    missing_options::{self, MissingOptions},
};

/// So many rows may pass that are broken or empty before the way in which a file is written counts as understood.
const BROKEN_ROWS: usize = 1_000;
/// So many rows in a row that are written in a way that is not read here show that the whole file is.
const ROWS_TO_DOUBT: usize = 3;

/// What happens to a row.
pub(super) enum Stage {
    /// It goes out at once.
    Open,
    /// It waits until one shows that the file is written in a way that is read here.
    Doubting(VecDeque<Outcome>),
    /// Something is missing, and the rows are only looked at for a guess of the timeframe.
    Guessing(Inference),
    /// It waits until the order of day and month is known.
    Settling(Settling),
    /// The order is known; the rows that waited go out first.
    Releasing(VecDeque<Outcome>),
}

impl BarDecoder {
    /// Takes a row; `text` is the whole of it as it was written.
    pub(crate) fn push(
        &mut self,
        line: u64,
        cells: &RawBar<'_>,
        text: &str,
        chunk: &mut Chunk,
    ) -> Result<(), ReadError> {
        if !self.begun {
            self.begin(cells);
        }
        if let Stage::Guessing(guess) = &mut self.stage {
            guess.look_at(&mut self.row.times, cells, text, &self.keys.unused);
            return if guess.is_enough() { self.report_missing() } else { Ok(()) };
        }
        let outcome = match self.row.outcome(line, cells) {
            Ok(outcome) => outcome,
            Err(problem) if problem.is_of_whole_file() => {
                let (message, advice) = problem.into_parts();
                return Err(ReadError::Refused(format!("line {line}: {message}: {}", advice.unwrap_or_default())));
            }
            Err(problem) => match problem.into_parts() {
                (message, Some(advice)) if !self.understood => Outcome::Doubtful(Rejected { line, message }, advice),
                (message, _) => Outcome::Rejected(Rejected { line, message }),
            },
        };
        self.put(line, outcome, text, chunk)
    }

    /// Takes a line that is no row.
    pub(crate) fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.put(line, Outcome::Rejected(Rejected { line, message }), "", chunk)
    }

    /// Fails if something is missing and the rows seen so far allow a guess.
    pub(crate) fn report_missing(&mut self) -> Result<(), ReadError> {
        match &self.stage {
            Stage::Guessing(guess) if guess.is_enough_to_wait_for_no_more() => Err(guess.missing(&self.ignored.note())),
            _ => Ok(()),
        }
    }

    /// Hands over rows that waited, as far as the chunk has room.
    pub(crate) fn release(&mut self, chunk: &mut Chunk) {
        let Stage::Releasing(held) = &mut self.stage else { return };
        while !chunk.is_full() {
            match held.pop_front() {
                Some(outcome) => outcome.put_into(chunk),
                None => {
                    self.stage = Stage::Open;
                    return;
                }
            }
        }
    }

    /// Returns how many rows wait for the order of day and month.
    pub(crate) fn waiting(&self) -> usize {
        match &self.stage {
            Stage::Settling(settling) => settling.held.len(),
            _ => 0,
        }
    }

    /// Returns whether rows that waited can be handed over.
    pub(crate) fn has_settled(&self) -> bool {
        matches!(&self.stage, Stage::Releasing(held) if !held.is_empty())
    }

    /// Decides at the end of the file what waited for more rows.
    pub(crate) fn finish(&mut self) -> Result<(), ReadError> {
        match &self.stage {
            Stage::Guessing(guess) => Err(guess.missing(&self.ignored.note())),
            Stage::Settling(_) => {
                self.settle(true)?;
                self.row.plausible.finish().map_or(Ok(()), |problem| Err(ReadError::Refused(problem)))
            }
            Stage::Doubting(held) => Err(refused(held)),
            Stage::Open | Stage::Releasing(_) => {
                self.row.plausible.finish().map_or(Ok(()), |problem| Err(ReadError::Refused(problem)))
            }
        }
    }

    /// Fails if a row shows that the file is no such one as it is read for.
    fn refuse(&self, outcome: &Outcome) -> Result<(), ReadError> {
        match outcome {
            Outcome::NoClock(Rejected { line, message }) => Err(ReadError::Refused(format!(
                "line {line}: {message}: say where it is, as in --map date=COLUMN,time=COLUMN{}",
                self.ignored.note()
            ))),
            _ => self.row.days.refuse(outcome),
        }
    }

    /// The first row shows which columns there are, and so what is missing.
    fn begin(&mut self, cells: &RawBar<'_>) {
        self.begun = true;
        let symbol = self.row.symbol.fixed.is_none() && cells.symbol.is_none();
        let timeframe = self.row.timeframe.fixed.is_none() && cells.timeframe.is_none();
        if symbol || timeframe {
            // A zip is often named after nothing.
            let name = self.member.as_deref().filter(|member| file_name::tells(member)).unwrap_or(&self.name);
            let (proposed, named) = missing_options::proposal_of(name);
            let missing = MissingOptions {
                symbol: symbol.then_some(proposed),
                timeframe: timeframe.then(String::new),
                symbol_column: self.symbol_column.clone().filter(|_| symbol),
            };
            self.stage = Stage::Guessing(Inference::new(missing, named));
        }
    }

    fn put(&mut self, line: u64, outcome: Outcome, text: &str, chunk: &mut Chunk) -> Result<(), ReadError> {
        let outcome = match (outcome, &mut self.alone) {
            (Outcome::Undated(undated), Some(shown)) => {
                let order = shown.of(&undated).map_err(ReadError::Refused)?;
                self.row.dated(undated, order)
            }
            (outcome, _) => outcome,
        };
        self.refuse(&outcome)?;
        self.row.clocks.refuse()?;
        if !self.understood {
            self.doubt(&outcome)?;
        }
        if matches!((&self.stage, &outcome), (Stage::Open, Outcome::Undated(_))) {
            self.stage = Stage::Settling(Settling::default());
        }
        if let Stage::Settling(settling) = &mut self.stage {
            // What goes out before it is not known yet.
            settling.hold(line, outcome, text);
            return if settling.is_full() { self.settle(false) } else { Ok(()) };
        }
        let mut outcome = outcome;
        self.by_key(&mut outcome, line, text)?;
        match &mut self.stage {
            Stage::Releasing(held) | Stage::Doubting(held) => held.push_back(outcome),
            // Of a file that is guessed about nothing will be stored, so its other faults can wait.
            Stage::Guessing(_) => {}
            Stage::Open | Stage::Settling(_) => outcome.put_into(chunk),
        }
        Ok(())
    }

    /// Looks whether a bar that is to go out has the key of one before.
    #[inline]
    fn by_key(&mut self, outcome: &mut Outcome, line: u64, text: &str) -> Result<(), ReadError> {
        let Outcome::Bar(bar) = &*outcome else { return Ok(()) };
        match self.keys.check(bar, line, text, &mut self.row.plausible).map_err(ReadError::Refused)? {
            Verdict::New => {}
            Verdict::Newer => *outcome = Outcome::Newer(bar.clone()),
            Verdict::Rejected(rejected) => *outcome = Outcome::Rejected(rejected),
        }
        Ok(())
    }

    /// Looks whether the first rows are written in a way that is read here.
    fn doubt(&mut self, outcome: &Outcome) -> Result<(), ReadError> {
        match (&mut self.stage, outcome) {
            (Stage::Open, Outcome::Doubtful(..)) => self.stage = Stage::Doubting(VecDeque::new()),
            (Stage::Doubting(held), Outcome::Doubtful(..))
                if held.iter().filter(|held| matches!(held, Outcome::Doubtful(..))).count() + 1 >= ROWS_TO_DOUBT =>
            {
                return Err(refused(held));
            }
            (Stage::Doubting(held), Outcome::Bar(_)) => self.stage = Stage::Releasing(std::mem::take(held)),
            (Stage::Doubting(held), Outcome::Undated(_)) => {
                self.stage = Stage::Settling(Settling::of(std::mem::take(held)));
            }
            // Broken in other ways, or empty: that says nothing, up to a bound.
            (Stage::Doubting(held), _) if held.len() >= BROKEN_ROWS => {
                self.stage = Stage::Releasing(std::mem::take(held));
                self.understood = true;
            }
            _ => {}
        }
        self.understood |= matches!(outcome, Outcome::Bar(_) | Outcome::Undated(_));
        Ok(())
    }

    fn settle(&mut self, is_end: bool) -> Result<(), ReadError> {
        let Stage::Settling(settling) = std::mem::replace(&mut self.stage, Stage::Open) else { return Ok(()) };
        let order = settling.order(is_end).map_err(ReadError::Refused)?;
        self.row.times.settle(order);
        let mut held = VecDeque::with_capacity(settling.held.len());
        for Held { line, outcome, text } in settling.held {
            let outcome = match outcome {
                Outcome::Undated(undated) => self.row.dated(undated, order),
                known => known,
            };
            self.refuse(&outcome)?;
            let mut outcome = outcome;
            self.by_key(&mut outcome, line, &text)?;
            held.push_back(outcome);
        }
        self.stage = Stage::Releasing(held);
        Ok(())
    }
}
