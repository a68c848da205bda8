use crate::files::columns::Role;

/// The cells of a row, trimmed; empty where the row has nothing, none where the file has no such column.
#[derive(Debug, Default)]
pub(crate) struct RawBar<'a> {
    pub(crate) time: &'a str,
    /// The time of day in a cell of its own.
    pub(crate) clock: Option<&'a str>,
    /// The time is a date, and there is no cell for a time of day.
    pub(crate) is_bare: bool,
    /// What names the same moment once more, each with its time of day if that has a cell of its own.
    pub(crate) again: [Option<(&'a str, Option<&'a str>)>; 2],
    pub(crate) open: &'a str,
    pub(crate) high: &'a str,
    pub(crate) low: &'a str,
    pub(crate) close: &'a str,
    pub(crate) volume: &'a str,
    /// What was paid for it, if the file has that.
    pub(crate) paid: &'a str,
    pub(crate) symbol: Option<&'a str>,
    pub(crate) timeframe: Option<&'a str>,
    pub(crate) vendor: Option<&'a str>,
    pub(crate) adjustment: Option<&'a str>,
}

/// A cell of a row, with its column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedCell<'a> {
    pub(crate) name: &'a str,
    pub(crate) cell: &'a str,
    /// What the column is taken for; none if it is not used.
    pub(crate) role: Option<Role>,
}

impl<'a> RawBar<'a> {
    /// Takes the cells that the file has, trimmed, by their roles. A whole time goes before a date with its time of day, and
    /// a time of day that stands alone is a whole time.
    #[inline]
    pub(crate) fn of(cell: impl Fn(Role) -> Option<&'a str>) -> Self {
        let text = |role: Role| cell(role).unwrap_or_default();
        let (time, date, clock) = (cell(Role::Time), cell(Role::Date), cell(Role::Clock));
        let (at, clock, again) = match (time, date) {
            (Some(time), date) => {
                let other = cell(Role::OtherTime);
                (time, None, [other.map(|other| (other, None)), date.map(|date| (date, clock))])
            }
            (None, Some(date)) => (date, clock, [None; 2]),
            (None, None) => (clock.unwrap_or_default(), None, [None; 2]),
        };
        Self {
            time: at,
            clock,
            is_bare: time.is_none() && date.is_some() && clock.is_none(),
            again,
            open: text(Role::Open),
            high: text(Role::High),
            low: text(Role::Low),
            close: text(Role::Close),
            volume: text(Role::Volume),
            paid: text(Role::Paid),
            symbol: cell(Role::Symbol),
            timeframe: cell(Role::Timeframe),
            vendor: cell(Role::Vendor),
            adjustment: cell(Role::Adjustment),
        }
    }
}
