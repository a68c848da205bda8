//! What happens to a row whose key an earlier row of its file has.

use super::{
    plausible::Plausible,
    same_key::{Earlier, Key, SameKey},
    unused_cells::UnusedCells,
};
use crate::{files::chunk::Rejected, record::Bar, text::Quoted};

/// What becomes of a row by its key.
pub(super) enum Verdict {
    /// It goes out.
    New,
    /// It takes the place of an earlier one.
    Newer,
    Rejected(Rejected),
}

/// Keeps rows of different things apart that have one key.
pub(super) struct KeyChecks {
    keys: SameKey,
    /// Where the cells of a row are that are not used.
    pub(super) unused: UnusedCells,
    /// Whether bars went out, so that the file can no longer be refused without leaving some behind.
    pub(super) handed_over: bool,
    /// How many rows took the place of an earlier one, and the lines of the first and of what it replaced.
    replaced: Option<(u64, u64, u64)>,
}

impl Default for KeyChecks {
    fn default() -> Self {
        Self { keys: SameKey::default(), unused: UnusedCells::None, handed_over: false, replaced: None }
    }
}

impl KeyChecks {
    /// Returns what to say of rows that took the place of others.
    pub(super) fn note(&self) -> Option<String> {
        let (rows, line, before) = self.replaced?;
        Some(format!(
            "rows that are newer versions of earlier ones, which they replace: {rows}, the first on line {line} for the one on line \
             {before}"
        ))
    }

    /// Looks whether a bar that is to go out has the key of one before. One that is plainly a newer version takes its place;
    /// any other is rejected.
    ///
    /// # Errors
    /// The file is refused: its rows are closer together than their timeframe, or, while it can be refused whole, they are
    /// of different things.
    pub(super) fn check(
        &mut self,
        bar: &Bar,
        line: u64,
        text: &str,
        plausible: &mut Plausible,
    ) -> Result<Verdict, String> {
        // Where no column is left over, there is nothing to compare later.
        let kept = if matches!(self.unused, UnusedCells::None) { "" } else { text };
        match self.keys.look_up(bar) {
            Key::New(before) => {
                self.keys.add(line, bar, kept);
                match plausible.distance(before, bar) {
                    None => Ok(Verdict::New),
                    Some(problem) => Err(format!("line {line}: {problem}")),
                }
            }
            Key::Taken(earlier) => self.again(bar, line, text, earlier),
        }
    }

    /// Looks at a row whose key another one has.
    #[inline(never)]
    fn again(&mut self, bar: &Bar, line: u64, text: &str, earlier: Earlier) -> Result<Verdict, String> {
        let Earlier { line: before, text: earlier, is_same, is_older } = earlier;
        // What was too long ago cannot be compared, so nothing is known of it.
        let is_comparable = earlier.is_some() || matches!(self.unused, UnusedCells::None);
        let earlier = earlier.unwrap_or_else(|| text.to_owned());
        // The same bar once more is no loss, unless a column says that it is of another thing.
        let differing =
            if is_same { self.unused.naming_others(&earlier, text) } else { self.unused.telling_apart(&earlier, text) };
        if differing.is_empty() && (is_same || is_older && is_comparable) {
            self.keys.add(line, bar, text);
            self.replaced.get_or_insert((0, line, before)).0 += 1;
            return Ok(Verdict::Newer);
        }
        let symbol = Quoted(&bar.symbol).to_string();
        let message = format!(
            "expected one row of {} {} at {}, got another one on line {before}",
            symbol.trim_matches('"'),
            bar.timeframe,
            bar.ts
        );
        if differing.is_empty() {
            let why = if is_comparable {
                "nothing tells which of the two is right"
            } else {
                "it is too far back to be compared as a whole"
            };
            let message = format!("{message} with other values, which is kept: {why}");
            return Ok(Verdict::Rejected(Rejected { line, message }));
        }
        let message = format!("{message}, which differs in {}", differing.join(", "));
        if self.handed_over {
            return Ok(Verdict::Rejected(Rejected { line, message }));
        }
        Err(format!(
            "line {line}: {message}: rows of different things need symbols of their own: load each from a file of its own, or give \
             --map symbol=COLUMN, or --map timeframe=COLUMN, if one column names them"
        ))
    }
}
