//! What the records of one moment have in a series, so that two of them do not become one.

use std::collections::HashMap;

use smol_str::{SmolStr, format_smolstr};

use crate::files::row_error::RowError;

/// The most series of one file that are told apart.
const MOST_SERIES: usize = 1 << 20;

/// The last moment of each series, and what its records are called.
#[derive(Default)]
pub struct Moments {
    series: HashMap<SmolStr, Moment>,
}

#[derive(Default)]
struct Moment {
    ts: i64,
    /// How often each id was there, and what the first that had it says beside its key.
    ids: HashMap<SmolStr, (u32, u64)>,
    /// How many had no id.
    unnamed: i64,
    /// Whether times rise or fall; none before they do either.
    is_rising: Option<bool>,
}

impl Moments {
    /// Counts a record with an id. Returns how many before it, of its moment, have the same one.
    pub(super) fn count(&mut self, series: &str, ts: i64, id: &str) -> Result<u32, RowError> {
        self.compare(series, ts, id, 0).map(|(before, _)| before)
    }

    /// The same, and whether the first of them says the same: `content` is made of what is not in the key.
    pub(super) fn compare(&mut self, series: &str, ts: i64, id: &str, content: u64) -> Result<(u32, bool), RowError> {
        let moment = self.moment(series)?;
        moment.go_to(ts);
        if let Some((before, first)) = moment.ids.get_mut(id) {
            *before += 1;
            return Ok((*before - 1, *first == content));
        }
        moment.ids.insert(SmolStr::new(id), (1, content));
        Ok((0, true))
    }

    /// Counts a record without an id. Returns its number at this moment, from 0.
    ///
    /// # Errors
    /// Times go forth and back, so that others of this moment may have been there long before.
    pub(super) fn number(&mut self, series: &str, ts: i64) -> Result<i64, RowError> {
        let moment = self.moment(series)?;
        if ts != moment.ts && moment.unnamed > 0 {
            let rises = ts > moment.ts;
            if *moment.is_rising.get_or_insert(rises) != rises {
                let message = "ts: expected rows in the order of their times, since nothing but the order tells those of one \
                               moment apart, got an earlier and a later one in turns";
                return Err(RowError::from(message.to_owned()).of_whole_file(
                    "sort the file by time, or name the column that tells them apart, as in --map id=COLUMN or --map seq=COLUMN",
                ));
            }
        }
        moment.go_to(ts);
        moment.unnamed += 1;
        Ok(moment.unnamed - 1)
    }

    fn moment(&mut self, series: &str) -> Result<&mut Moment, RowError> {
        if !self.series.contains_key(series) {
            if self.series.len() == MOST_SERIES {
                let message = format!("expected at most {MOST_SERIES} series in a file, got more");
                return Err(RowError::from(message).of_whole_file("split it"));
            }
            self.series.insert(SmolStr::new(series), Moment::default());
        }
        Ok(self.series.get_mut(series).expect("it was put there if it was not"))
    }
}

impl Moment {
    fn go_to(&mut self, ts: i64) {
        if self.ts != ts {
            self.ts = ts;
            self.ids.clear();
            self.unnamed = 0;
        }
    }
}

/// Returns what names a series: its parts with a sign between that no name has.
pub(super) fn series_of(vendor: &str, venue: &str, symbol: &str) -> SmolStr {
    format_smolstr!("{vendor}\0{venue}\0{symbol}")
}
