//! What happens to a row whose key an earlier row of its file has.

use super::{
    outcome::Outcome,
    plausible::Plausible,
    same_key::{Earlier, Key, SameKey},
    unused_cells::UnusedCells,
};
use crate::{files::chunk::Rejected, text::Quoted};

/// Keeps rows of different things apart that have one key.
pub(super) struct KeyChecks {
    keys: SameKey,
    /// Where the cells of a row are that are not used.
    pub(super) unused: UnusedCells,
    /// Whether bars went out, so that the file can no longer be refused without leaving some behind.
    pub(super) handed_over: bool,
}

impl Default for KeyChecks {
    fn default() -> Self {
        Self { keys: SameKey::default(), unused: UnusedCells::None, handed_over: false }
    }
}

impl KeyChecks {
    /// Looks whether a bar that is to go out has the key of one before. One that is plainly a newer version takes its place;
    /// any other is rejected.
    ///
    /// # Errors
    /// The file is refused whole, while that is possible: the rows are of different things, or closer together than their
    /// timeframe.
    pub(super) fn check(
        &mut self,
        outcome: Outcome,
        line: u64,
        text: &str,
        plausible: &mut Plausible,
    ) -> Result<Outcome, String> {
        let Outcome::Bar(bar) = outcome else { return Ok(outcome) };
        let Earlier { line: before, text: earlier, is_older } = match self.keys.look_up(&bar) {
            Key::New(before) => {
                let problem = plausible.distance(before, &bar).filter(|_| !self.handed_over);
                self.keys.add(line, &bar, text);
                return problem.map_or(Ok(Outcome::Bar(bar)), |problem| Err(format!("line {line}: {problem}")));
            }
            Key::Taken(earlier) => earlier,
        };
        // What was too long ago cannot be compared, so nothing is known of it.
        let is_comparable = earlier.is_some() || matches!(self.unused, UnusedCells::None);
        let differing = earlier.map(|earlier| self.unused.telling_apart(&earlier, text)).unwrap_or_default();
        if is_older && is_comparable && differing.is_empty() {
            self.keys.add(line, &bar, text);
            return Ok(Outcome::Newer(bar));
        }
        let symbol = Quoted(&bar.symbol).to_string();
        let message = format!(
            "expected one row of {} {} at {}, got another one on line {before}",
            symbol.trim_matches('"'),
            bar.timeframe,
            bar.ts
        );
        if differing.is_empty() {
            let message =
                format!("{message} with other values, which is kept: nothing tells which of the two is right");
            return Ok(Outcome::Rejected(Rejected { line, message }));
        }
        let message = format!("{message}, which differs in {}", differing.join(", "));
        if self.handed_over {
            return Ok(Outcome::Rejected(Rejected { line, message }));
        }
        Err(format!(
            "line {line}: {message}: rows of different things need symbols of their own: give --map symbol=COLUMN with a column that \
             tells them apart, or load each from a file of its own"
        ))
    }
}
