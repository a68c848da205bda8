//! What is left of a time that is nearly a whole second, and when a bar begins whose end is known.

use super::options::TsIs;
use crate::record::{
    Timeframe,
    timestamp::{Timestamp, Written},
};

/// So many microseconds from a whole second are what is left of days counted in floating point.
const NOISE: i64 = 100;

/// Returns the whole second that is meant by a time such as 09:29:59.999997, within a tenth of a millisecond of it; none if
/// the time is what it is. A last moment, such as 09:29:59.999999, is one whole unit before, so it is no noise; where times
/// are those of ends, it becomes the end, and so does the last second of the hour of a day (`session`).
pub(super) fn without_noise(written: Written, session: bool, ts_is: TsIs) -> Option<Written> {
    let is_end = ts_is == TsIs::End;
    let (micros, is_last_second) = match written {
        Written::Instant(ts) => {
            (ts.as_micros().rem_euclid(1_000_000), ts.as_micros().rem_euclid(3_600_000_000) == 3_599_000_000)
        }
        Written::Civil { at, .. } => {
            (i64::from(at.subsec_nanosecond() / 1_000), (at.minute(), at.second()) == (59, 59))
        }
    };
    let by = match micros {
        0 if is_end && session && is_last_second => 1_000_000,
        999_000 | 999_999 if is_end => 1_000_000 - micros,
        0 | 999_999 => return None,
        ..=NOISE => -micros,
        micros if micros >= 1_000_000 - NOISE => 1_000_000 - micros,
        _ => return None,
    };
    Some(match written {
        Written::Instant(ts) => Written::Instant(Timestamp::from_micros(ts.as_micros() + by)),
        Written::Civil { at, offset } => {
            let at = at.checked_add(jiff::Span::new().microseconds(by)).ok()?;
            Written::Civil { at, offset }
        }
    })
}

/// Returns when a bar begins that ends then, or whose last second that is.
pub(super) fn beginning(ts: Timestamp, timeframe: Timeframe) -> Result<Timestamp, String> {
    let is_last_second = ts.as_micros().rem_euclid(60_000_000) == 59_000_000 && timeframe.least_seconds() >= 60;
    let end = if is_last_second { Timestamp::from_micros(ts.as_micros() + 1_000_000) } else { ts };
    let begin = timeframe.before(end);
    begin.ok_or_else(|| format!("time: expected a bar that begins after the year 1, got one that ends at {ts}"))
}
