//! `--coordinator`, `--since` and `--limit`, which mean the same to every command.

use market_data_store::{InvalidText, Timestamp, dead_letter::Selection, settings::parse_duration};

#[derive(clap::Args)]
pub struct Select {
    /// Only those that this coordinator gave up.
    #[arg(long, value_name = "ID")]
    coordinator: Option<String>,
    /// Only those given up since then: a time such as 2024-01-02T14:30:00Z, or an age such as 90s, 30m, 12h or 7d.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Select {
    pub fn selection(&self) -> Selection {
        let mut selection = Selection::default();
        selection.coordinator_id.clone_from(&self.coordinator);
        selection.since = self.since;
        selection.limit = self.limit.map(|limit| limit as usize);
        selection
    }
}

fn since(text: &str) -> Result<Timestamp, InvalidText> {
    // A number alone is no age: `20240102` is a date.
    let age = parse_duration(text).ok().filter(|_| text.ends_with(char::is_alphabetic));
    let Some(age) = age else { return text.parse() };
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(micros)))
}

/// Writes how long ago a time was, in the largest unit that fits: 90 seconds are `1m`.
pub fn ago(ts: Timestamp) -> String {
    let seconds = Timestamp::now().as_micros().saturating_sub(ts.as_micros()).max(0) / 1_000_000;
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= *unit).unwrap_or((1, 's'));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_age() {
        assert_eq!(since("2024-01-02").unwrap().to_string(), "2024-01-02T00:00:00Z");
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("1.5h", 5_400), ("7d", 604_800)] {
            // Read first: the clock moves on.
            let since = since(text).unwrap();
            let ago = Timestamp::now().as_micros() - since.as_micros();
            assert!((seconds..seconds + 5).contains(&(ago / 1_000_000)), "{text}: {ago}");
        }
        for text in ["", "d", "90", "-1d", "1e3h", "1w", "yesterday"] {
            assert!(since(text).is_err(), "{text}");
        }
        assert_eq!(ago(since("90s").unwrap()), "1m");
        assert_eq!(ago(since("49h").unwrap()), "2d");
        assert_eq!(ago(Timestamp::MAX), "0s");
    }
}
