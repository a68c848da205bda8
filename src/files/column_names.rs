//! What the name of a column says that is no part of a bar: that it is a volume, what its time is of, and whether it says
//! what a row is about.

use super::columns::plain;

/// What a column of amounts counts, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// `Volume`: the volume, whatever it counts.
    Volume,
    /// `Volume BTC`, `Volume_(USDT)`: what is counted, in lower case.
    Of(String),
    /// `Base volume`: what is traded.
    Base,
    /// `Quote volume`, `turnover`: what is paid.
    Quote,
    /// `Amount`: what is traded at some exchanges, and what is paid at most.
    Either,
    /// Something like a volume.
    Other,
}

impl Amount {
    /// Returns what a column of this name counts; none if it counts nothing like a volume.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let plain = plain(name).replace(['(', ')', '[', ']'], " ");
        let words: Vec<&str> = plain.split_whitespace().collect();
        let joined = words.concat();
        match joined.as_str() {
            "volume" | "vol" | "v" | "volumetraded" => return Some(Self::Volume),
            "basevolume" | "volumebase" | "basevol" | "volbase" | "baseassetvolume" | "volumefrom"
            | "basevolumetraded" => {
                return Some(Self::Base);
            }
            "quotevolume" | "volumequote" | "quotevol" | "volquote" | "quoteassetvolume" | "volumeto" | "turnover"
            | "volumenotional" | "notional" | "volumecurrency" | "volccyquote" | "value" | "amt" | "money" => {
                return Some(Self::Quote);
            }
            "amount" => return Some(Self::Either),
            _ => {}
        }
        if joined.starts_with("tottrdqty") {
            return Some(Self::Other);
        }
        let is_volume = |word: &str| ["volume", "vol"].contains(&word);
        // Not of a bar as a whole, or no amount at all.
        const OTHERS: [&str; 30] = [
            "delta",
            "std",
            "adj",
            "diff",
            "taker",
            "maker",
            "buy",
            "sell",
            "bid",
            "ask",
            "change",
            "chg",
            "avg",
            "average",
            "mean",
            "ma",
            "sma",
            "ema",
            "weighted",
            "price",
            "ratio",
            "pct",
            "percent",
            "implied",
            "historical",
            "rank",
            "oi",
            "interest",
            "20d",
            "profile",
        ];
        if words.iter().any(|word| OTHERS.contains(word)) {
            return None;
        }
        if ["askvol", "bidvol", "buyvol", "sellvol"].iter().any(|side| joined.starts_with(side)) {
            return None;
        }
        match words.as_slice() {
            [volume, of] | [of, volume] if is_volume(volume) && (2..=10).contains(&of.len()) && is_code(of) => {
                Some(Self::Of((*of).to_owned()))
            }
            words if words.iter().any(|word| is_volume(word)) => Some(Self::Other),
            words
                if words.iter().any(|word| {
                    ["qty", "quantity", "contracts", "lots", "turnover", "amount", "notional"].contains(word)
                }) =>
            {
                Some(Self::Other)
            }
            [word] if word.starts_with("implied") || word.starts_with("volat") => None,
            [word]
                if word.starts_with("vol") || ["volume", "vol", "turnover"].iter().any(|end| word.ends_with(end)) =>
            {
                Some(Self::Other)
            }
            _ => None,
        }
    }
}

fn is_code(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !["tick", "real", "total", "24h", "day", "daily"].contains(&word)
}

/// Returns whether a time in a column of this name is of something else than the bar: its last trade, the range of a
/// query, or when it was written.
pub(crate) fn is_of_something_else(name: &str) -> bool {
    const WORDS: [&str; 30] = [
        "last",
        "lasttrade",
        "lasttradetime",
        "lastrefreshed",
        "expiry",
        "expiration",
        "expires",
        "exp",
        "maturity",
        "listing",
        "listed",
        "ipo",
        "dividend",
        "settlement",
        "delivery",
        "updated",
        "update",
        "modified",
        "created",
        "inserted",
        "fetched",
        "downloaded",
        "received",
        "recv",
        "ingested",
        "loaded",
        "issued",
        "first",
        "prev",
        "previous",
    ];
    let plain = plain(name);
    let joined = plain.replace(' ', "");
    plain.split(' ').any(|word| WORDS.contains(&word) || word.starts_with("expir"))
        || ["_start", "_stop"].contains(&name.trim())
        || [
            "updatedat",
            "timeopen",
            "hightime",
            "lowtime",
            "createdat",
            "lasttrade",
            "lastupdate",
            "expiry",
            "expdt",
            "xpry",
            "recv",
            "received",
            "timehigh",
            "timelow",
        ]
        .iter()
        .any(|known| joined.contains(known))
}

/// Returns whether a time in a column of this name is the end of the bar.
pub(crate) fn is_end(name: &str) -> bool {
    let plain = plain(name);
    let joined = plain.replace(' ', "");
    name.trim() == "T"
        || [
            "closetime",
            "endtime",
            "timeclose",
            "timeend",
            "timeperiodend",
            "timekey",
            "intervalend",
            "periodend",
            "stop",
            "till",
            "until",
        ]
        .contains(&joined.as_str())
        || plain.split(' ').any(|word| word == "end" || word == "ends")
}

/// Returns whether a number in a column of this name can be a time.
pub(crate) fn may_be_time(name: &str) -> bool {
    let plain = plain(name);
    let joined = plain.replace(' ', "");
    ["time", "date", "stamp", "epoch", "unix", "begin", "start", "datetime"].iter().any(|known| joined.contains(known))
        || plain.split(' ').any(|word| ["ts", "dt", "day", "end", "from", "to", "at"].contains(&word))
}

/// Returns whether a column of this name says what a row is about, so that rows that differ in it are of different
/// things.
pub(crate) fn tells_things_apart(name: &str) -> bool {
    const WORDS: [&str; 61] = [
        "resolution",
        "period",
        "granularity",
        "freq",
        "frequency",
        "timespan",
        "multiplier",
        "interval",
        "timeframe",
        "barsize",
        "month",
        "tenor",
        "dte",
        "rank",
        "permno",
        "permco",
        "gvkey",
        "k",
        "strike",
        "expiry",
        "expiration",
        "maturity",
        "delivery",
        "series",
        "exchange",
        "exch",
        "market",
        "venue",
        "mic",
        "segment",
        "code",
        "isin",
        "cusip",
        "figi",
        "sedol",
        "token",
        "contract",
        "instrument",
        "option",
        "type",
        "right",
        "cp",
        "side",
        "currency",
        "ccy",
        "country",
        "publisher",
        "provider",
        "board",
        "boardid",
        "underlying",
        "asset",
        "class",
        "adjustment",
        "adjusted",
        "name",
        "ticker",
        "symbol",
        "pair",
        "coin",
        "stock",
    ];
    if name == "T" {
        return true;
    }
    let plain = plain(name);
    let joined = plain.replace(' ', "");
    // The numbers of the trades of a bar grow with it.
    let is_of_trades =
        plain.split(' ').any(|word| ["trade", "trades", "first", "last", "update", "row"].contains(&word));
    plain.split(' ').any(|word| WORDS.contains(&word) || word.starts_with("expir"))
        || !is_of_trades && plain.split(' ').any(is_id)
        || ["strike", "expiry", "optiontype", "exchange", "instrument", "contractid", "conid", "secid", "xpry"]
            .iter()
            .any(|known| joined.contains(known))
}

/// Returns whether a word is an id of something, as `conid` is; `bid` and `paid` are none.
fn is_id(word: &str) -> bool {
    word.ends_with("id")
        && !["bid", "paid", "mid", "valid", "void", "avoid", "grid", "hybrid", "liquid"].contains(&word)
}

/// Returns whether a column of this name says of a row how far it is, such as that its bar is closed.
pub(crate) fn is_state(name: &str) -> bool {
    let plain = plain(name);
    plain == "x"
        || plain.split(' ').any(|word| {
            [
                "closed",
                "final",
                "isfinal",
                "confirm",
                "confirmed",
                "complete",
                "completed",
                "status",
                "state",
                "finished",
                "isclosed",
                "color",
                "colour",
                "direction",
                "trend",
            ]
            .contains(&word)
        })
}

/// Returns whether a column of this name says when a bar begins, so that another time of the row can be its end.
pub(crate) fn is_begin(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "intervalbegin",
        "opentime",
        "opentimestamp",
        "windowstart",
        "begin",
        "start",
        "starttime",
        "begintime",
        "timeperiodstart",
        "periodstart",
        "timeopen",
        "candlebegintime",
        "barstart",
        "barbegin",
    ];
    NAMES.contains(&plain(name).replace(' ', "").as_str())
}

/// A column as it can stand in `--map`: by its name, and by its number where that has characters of its own meaning there.
pub(crate) fn word(name: &str, index: usize) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match name {
        name if name.contains([',', '=', '\'', '\\']) || name.parse::<usize>().is_ok() => (index + 1).to_string(),
        name if name.bytes().all(is_plain) => name.to_owned(),
        name => format!("'{name}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if a name of another kind of number passes for a volume, or one of a volume is not known.
    #[test]
    fn amounts_are_told_apart_by_their_names() {
        let of = |currency: &str| Some(Amount::Of(currency.into()));
        for (name, expected) in [
            ("Volume", Some(Amount::Volume)),
            ("<VOL>", Some(Amount::Volume)),
            ("Volume BTC", of("btc")),
            ("Volume_(BTC)", of("btc")),
            ("Volume_(Currency)", Some(Amount::Quote)),
            ("volume_usdt", of("usdt")),
            ("Volume 1INCH", of("1inch")),
            ("BTC Volume", of("btc")),
            ("quote_volume", Some(Amount::Quote)),
            ("Quote asset volume", Some(Amount::Quote)),
            ("base_volume", Some(Amount::Base)),
            ("volumeto", Some(Amount::Quote)),
            ("turnover", Some(Amount::Quote)),
            ("amount", Some(Amount::Either)),
            ("TickVolume", Some(Amount::Other)),
            ("<TICKVOL>", Some(Amount::Other)),
            ("impliedvol", None),
            ("tick_volume", Some(Amount::Other)),
            ("TOTTRDQTY", Some(Amount::Other)),
            ("total volume", Some(Amount::Other)),
            ("Taker buy base asset volume", None),
            ("taker_buy_volume", None),
            ("Volume Change", None),
            ("volume_ma_20", None),
            ("Volume Weighted Average Price", None),
            ("volatility", None),
            ("implied_vol", None),
            ("Adj Close", None),
            ("open interest", None),
        ] {
            assert_eq!(Amount::of(name), expected, "{name}");
        }
    }

    #[test]
    fn times_and_things_are_told_apart_by_their_names() {
        for name in
            ["last_trade_time", "Expiry", "EXPIRY_DT", "_start", "updated_at", "lastUpdate", "XpryDt", "ts_recv"]
        {
            assert!(is_of_something_else(name), "{name}");
        }
        for name in ["time", "timestamp", "date", "begin", "Gmt time"] {
            assert!(!is_of_something_else(name) && !is_end(name), "{name}");
        }
        for name in ["close_time", "Close time", "interval_end", "time_period_end", "end", "T", "closeTime"] {
            assert!(is_end(name), "{name}");
        }
        for name in ["STRIKE_PR", "OPTION_TYP", "series", "exchange", "instrument_id", "conId", "Expiry", "ts_code"] {
            assert!(tells_things_apart(name), "{name}");
        }
        for name in ["vwap", "trades", "Adj Close", "close_time", "OPEN_INT", "CHG_IN_OI"] {
            assert!(!tells_things_apart(name), "{name}");
        }
        assert!(is_begin("open_time") && is_begin("Open Time") && is_begin("interval_begin") && !is_begin("timestamp"));
        assert!(is_state("is_closed") && is_state("x") && !is_state("exchange"));
    }
}
