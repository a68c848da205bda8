//! Which column, or JSON field, is what.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A whole time.
    Time,
    /// A date, whose time of day may stand in [`Role::Clock`].
    Date,
    /// A time of day if there is a date, else a whole time.
    Clock,
    Open,
    High,
    Low,
    Close,
    Volume,
    Symbol,
    Timeframe,
    Vendor,
}

/// The number of roles, for arrays indexed by `role as usize`.
pub(super) const ROLES: usize = Role::Vendor as usize + 1;

impl Role {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Time | Self::Date | Self::Clock => "time",
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::Volume => "volume",
            Self::Symbol => "symbol",
            Self::Timeframe => "timeframe",
            Self::Vendor => "vendor",
        }
    }

    /// Returns what a column of this name holds; none if it is of no interest.
    pub(super) fn of(name: &str) -> Option<Self> {
        // Most names are written plainly; only the others are put into plain form first.
        Self::of_plain(name).or_else(|| Self::of_plain(&plain(name)))
    }

    fn of_plain(name: &str) -> Option<Self> {
        Some(match name {
            "ts" | "timestamp" | "datetime" | "date time" | "open time" | "opentime" | "t" => Self::Time,
            "date" => Self::Date,
            "time" => Self::Clock,
            "open" | "o" | "open price" => Self::Open,
            "high" | "h" | "high price" => Self::High,
            "low" | "l" | "low price" => Self::Low,
            "close" | "c" | "close price" | "close/last" => Self::Close,
            "volume" | "vol" | "v" => Self::Volume,
            "symbol" | "ticker" => Self::Symbol,
            "timeframe" | "time frame" | "interval" => Self::Timeframe,
            "vendor" | "source" => Self::Vendor,
            _ => return None,
        })
    }
}

/// Brings ` <Open_Time> ` into the form `open time`.
fn plain(name: &str) -> String {
    let name = name.trim().trim_start_matches('<').trim_end_matches(['>', '.']).to_lowercase();
    name.split(['_', '-', ' ', '.']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_by_their_usual_aliases() {
        for (name, expected) in [
            ("Date", Some(Role::Date)),
            ("TIME", Some(Role::Clock)),
            ("Timestamp", Some(Role::Time)),
            ("DateTime", Some(Role::Time)),
            ("Open Time", Some(Role::Time)),
            ("open_time", Some(Role::Time)),
            ("ts", Some(Role::Time)),
            ("<OPEN>", Some(Role::Open)),
            (" High ", Some(Role::High)),
            ("l", Some(Role::Low)),
            ("Close/Last", Some(Role::Close)),
            ("Vol.", Some(Role::Volume)),
            ("<TICKER>", Some(Role::Symbol)),
            ("interval", Some(Role::Timeframe)),
            ("Source", Some(Role::Vendor)),
            ("Adj Close", None),
            ("close_time", None),
            ("", None),
            ("Unnamed: 0", None),
        ] {
            assert_eq!(Role::of(name), expected, "{name}");
        }
    }
}
