//! Which column, or JSON field, is what: by its name, or as the user says.

use std::str::FromStr;

use crate::{record::InvalidText, text::Quoted};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A whole time.
    Time,
    /// A date, whose time of day may stand in [`Role::Clock`].
    Date,
    /// A time of day if there is a date, else a whole time.
    Clock,
    /// One more whole time: it has to name the same moment.
    OtherTime,
    Open,
    High,
    Low,
    Close,
    Volume,
    Symbol,
    Timeframe,
    Vendor,
    Adjustment,
    /// What was paid for the volume, which shows whether a volume counts what the others do. No name says it alone.
    Paid,
}

/// The number of roles, for arrays indexed by `role as usize`.
pub(crate) const ROLES: usize = Role::Paid as usize + 1;

impl Role {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; ROLES] = [
        Self::Time,
        Self::Date,
        Self::Clock,
        Self::OtherTime,
        Self::Open,
        Self::High,
        Self::Low,
        Self::Close,
        Self::Volume,
        Self::Symbol,
        Self::Timeframe,
        Self::Vendor,
        Self::Adjustment,
        Self::Paid,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Time | Self::Date | Self::Clock | Self::OtherTime => "time",
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::Volume => "volume",
            Self::Symbol => "symbol",
            Self::Timeframe => "timeframe",
            Self::Vendor => "vendor",
            Self::Adjustment => "adjustment",
            Self::Paid => "what is paid",
        }
    }

    /// Returns what a column of this name holds; none if it is of no interest.
    pub(crate) fn of(name: &str) -> Option<Self> {
        // Most names are written plainly; only the others are put into plain form first.
        Self::of_plain(name).or_else(|| match name.trim() {
            // As Flux writes them: the range of the query, and the bar.
            "_start" | "_stop" => None,
            "_time" => Some(Self::Time),
            name if is_period(name) => Some(Self::Timeframe),
            name => Self::of_plain(&plain(name)),
        })
    }

    fn of_plain(name: &str) -> Option<Self> {
        Some(match name {
            "ts" | "timestamp" | "datetime" | "date time" | "open time" | "opentime" | "start" | "start time" | "t"
            | "unix" | "unix timestamp" | "window start" | "ts event" | "begin" | "timeopen" | "interval begin"
            | "time period start" => Self::Time,
            "date" | "dtyyyymmdd" | "trade date" | "trading date" | "trading day" => Self::Date,
            "time" => Self::Clock,
            "open" | "o" | "open price" | "price open" => Self::Open,
            "high" | "h" | "high price" | "price high" => Self::High,
            "low" | "l" | "low price" | "price low" => Self::Low,
            "close" | "c" | "close price" | "price close" | "close/last" => Self::Close,
            "volume" | "vol" | "v" | "volume traded" => Self::Volume,
            "symbol" | "ticker" | "ts code" => Self::Symbol,
            "timeframe" | "time frame" | "interval" | "rtype" => Self::Timeframe,
            "vendor" | "source" => Self::Vendor,
            "adjustment" => Self::Adjustment,
            _ => return None,
        })
    }
}

/// `--map`: which column is what, where the names of a file do not say it or there are none. Parsed from a text it is that
/// of bars; [`FileRecord::column_map`](super::FileRecord::column_map) reads that of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMap {
    bars: Vec<(Role, Column)>,
    /// Of other kinds, by the place in the list of what a column can be; and the roles of a time.
    others: Vec<(usize, Column)>,
    times: &'static [usize],
}

/// What a column of a kind can be: its name in the table or in `--map`, and others by which it is known, without blanks and
/// signs and in lower case.
#[derive(Debug)]
pub struct RoleNames {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
}

/// A column as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name(String),
    /// From 1.
    Number(usize),
}

impl Column {
    /// Returns whether the user says that there is none: `-`.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Name(name) if name == "-")
    }
}

impl FromStr for ColumnMap {
    type Err = InvalidText;

    /// Reads `ts=1,open=2` or `volume=Volume BTC`; a number is always a place, from 1.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let role_of = |name: &str| Role::of(name).ok_or_else(|| format!("{} is no part of a bar", Quoted(name)));
        let example = "ts=1,open=2,high=3,low=4,close=5,volume=6 or volume=Vol_BTC";
        Ok(Self { bars: pairs(text, example, role_of, Role::name)?, ..Self::default() })
    }
}

/// Reads names and columns.
fn pairs<R: Copy + PartialEq>(
    text: &str,
    example: &str,
    role_of: impl Fn(&str) -> Result<R, String>,
    name_of: impl Fn(R) -> &'static str,
) -> Result<Vec<(R, Column)>, InvalidText> {
    let mut all: Vec<(R, Column)> = Vec::new();
    for pair in text.split(',') {
        let complain = |problem: String| {
            InvalidText::new(format!("expected names and columns such as {example}, got {}: {problem}", Quoted(pair)))
        };
        let (name, column) = pair.split_once('=').ok_or_else(|| complain("there is no =".into()))?;
        let (name, column) = (name.trim(), column.trim());
        let role = role_of(name).map_err(complain)?;
        let column = match (column, column.parse()) {
            ("", _) | (_, Ok(0)) => return Err(complain("columns count from 1".into())),
            (_, Ok(number)) => Column::Number(number),
            (name, Err(_)) => Column::Name(name.into()),
        };
        if let Some((known, _)) =
            all.iter().find(|(known, other)| *known == role || *other == column && !column.is_none())
        {
            return Err(complain(format!("{} or its column is there already", name_of(*known))));
        }
        all.push((role, column));
    }
    Ok(all)
}

/// Leaves letters and digits, in lower case: ` <Bid_Price> ` is `bidprice`.
pub(crate) fn squashed(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl ColumnMap {
    /// Reads that of a kind whose columns can be these. Who names one of `times` names all of the time.
    pub(crate) fn of_kind(
        text: &str,
        kind: &str,
        roles: &'static [RoleNames],
        times: &'static [usize],
    ) -> Result<Self, InvalidText> {
        let role_of = |name: &str| {
            let plain = squashed(name);
            let is = |role: &RoleNames| squashed(role.name) == plain || role.aliases.contains(&plain.as_str());
            roles.iter().position(is).ok_or_else(|| {
                let names: Vec<_> = roles.iter().map(|role| role.name).collect();
                format!("{} is no part of {kind}: {}", Quoted(name), names.join(", "))
            })
        };
        let others = pairs(text, "ts=1,symbol=2 or symbol=Ticker", role_of, |role| roles[role].name)?;
        Ok(Self { bars: Vec::new(), others, times })
    }

    /// Returns the place in the list of what a column of this name, at this place from 0, is as the user says.
    pub(crate) fn role_named(&self, name: &str, at: usize) -> Option<usize> {
        let name = name.trim();
        let is = |column: &Column| match column {
            Column::Name(known) => known == name || name.len() > 1 && known.eq_ignore_ascii_case(name),
            Column::Number(number) => *number == at + 1,
        };
        self.others.iter().find(|(_, column)| is(column)).map(|(role, _)| *role)
    }

    /// Returns whether the user says which column is that.
    pub(crate) fn decides_role(&self, role: usize) -> bool {
        let is_time = |role: &usize| self.times.contains(role);
        self.others.iter().any(|(known, _)| *known == role || is_time(known) && is_time(&role))
    }

    pub(crate) fn named_roles(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.others.iter().map(|(role, column)| (*role, column))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bars.is_empty() && self.others.is_empty()
    }

    pub(crate) fn has_numbers(&self) -> bool {
        let columns = self.bars.iter().map(|(_, column)| column).chain(self.others.iter().map(|(_, column)| column));
        columns.into_iter().any(|column| matches!(column, Column::Number(_)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Role, Column)> {
        self.bars.iter()
    }

    /// Returns what a column of this name is: what the user says of it, else what its name says, unless the user has
    /// another one for that.
    pub(crate) fn role_of(&self, name: &str) -> Option<Role> {
        if self.bars.is_empty() {
            return Role::of(name);
        }
        let name = name.trim();
        // Of letters there are two, such as `t` and `T`.
        let is = |known: &str| known == name || name.len() > 1 && known.eq_ignore_ascii_case(name);
        let named = |column: &Column| matches!(column, Column::Name(known) if is(known));
        match self.bars.iter().find(|(_, column)| named(column)) {
            Some((role, _)) => Some(*role),
            None => Role::of(name).filter(|role| !self.decides(*role)),
        }
    }

    /// Says what a column of this name is.
    pub(crate) fn set(&mut self, role: Role, name: &str) {
        self.bars.retain(|(known, _)| *known != role);
        self.bars.push((role, Column::Name(name.to_owned())));
    }

    /// Returns whether the user says which column is that. Who names the time names all of it.
    pub(crate) fn decides(&self, role: Role) -> bool {
        let is_time = |role: Role| matches!(role, Role::Time | Role::Date | Role::Clock);
        self.bars.iter().any(|(known, _)| *known == role || is_time(*known) && is_time(role))
    }

    /// Returns whether it names a time and all prices by number, so that no header is needed.
    pub(crate) fn needs_no_header(&self) -> bool {
        let numbers = self.bars.iter().all(|(_, column)| matches!(column, Column::Number(_)));
        let prices = [Role::Open, Role::High, Role::Low, Role::Close];
        numbers && self.decides(Role::Time) && prices.into_iter().all(|price| self.decides(price))
    }
}

/// Returns whether a column is a timeframe as Stooq writes it. Without its brackets it would be a price-earnings ratio.
pub(crate) fn is_period(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("<PER>")
}

/// Returns whether a column of this name, which is of no interest by itself, mostly holds symbols if it holds words.
pub(crate) fn may_be_symbols(name: &str) -> bool {
    let names = [
        "name",
        "stock",
        "code",
        "instrument",
        "asset",
        "pair",
        "contract",
        "security",
        "sym",
        "coin",
        "tic",
        "secid",
        "stock code",
        "product id",
        "instrument id",
        "inst id",
        "figi",
        "isin",
    ];
    name == "T" || names.contains(&plain(name).as_str())
}

/// Brings ` <Open_Time> ` into the form `open time`.
pub(crate) fn plain(name: &str) -> String {
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
            ("Adjustment", Some(Role::Adjustment)),
            ("adjusted", None),
            ("Unix", Some(Role::Time)),
            ("window_start", Some(Role::Time)),
            ("start", Some(Role::Time)),
            ("ts_event", Some(Role::Time)),
            ("<DTYYYYMMDD>", Some(Role::Date)),
            ("<PER>", Some(Role::Timeframe)),
            ("rtype", Some(Role::Timeframe)),
            ("Adj Close", None),
            ("quote_volume", None),
            ("_time", Some(Role::Time)),
            ("_start", None),
            ("trade_date", Some(Role::Date)),
            ("interval_begin", Some(Role::Time)),
            ("<OPENINT>", None),
            ("PER", None),
            ("Volume BTC", None),
            ("close_time", None),
            ("", None),
            ("Unnamed: 0", None),
        ] {
            assert_eq!(Role::of(name), expected, "{name}");
        }
    }

    #[test]
    fn what_the_user_says_of_a_column_goes_before_its_name() {
        let map: ColumnMap = "close=Adj Close, volume=9,ts=Gmt time".parse().unwrap();
        for (name, expected) in [
            ("adj close", Some(Role::Close)),
            ("Close", None),
            ("gmt time", Some(Role::Time)),
            ("Date", None),
            ("Time", None),
            ("Volume", None),
            ("Open", Some(Role::Open)),
        ] {
            assert_eq!(map.role_of(name), expected, "{name}");
        }
        assert!(!map.needs_no_header());
        assert!("date=1,time=2,open=3,high=4,low=5,close=6".parse::<ColumnMap>().unwrap().needs_no_header());
        assert!(!"ts=1,open=2,high=3,low=4".parse::<ColumnMap>().unwrap().needs_no_header());
        for (text, expected) in [
            ("ts", "got \"ts\": there is no ="),
            ("", "got \"\": there is no ="),
            ("ts=1,bid=2", "got \"bid=2\": \"bid\" is no part of a bar"),
            ("ts=0", "got \"ts=0\": columns count from 1"),
            ("ts=", "got \"ts=\": columns count from 1"),
            ("open=1,o=2", "got \"o=2\": open or its column is there already"),
            ("open=1,close=1", "got \"close=1\": open or its column is there already"),
        ] {
            let error = text.parse::<ColumnMap>().expect_err(text).to_string();
            assert!(
                error.starts_with("expected names and columns such as ts=1,") && error.ends_with(expected),
                "{error}"
            );
        }
    }
}
