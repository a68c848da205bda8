//! Which number of an array is what: proved by the values that are shown, or not at all.

/// The places of a bar's values in an array, from 0.
#[derive(Debug, PartialEq)]
pub(crate) struct Places {
    pub(crate) time: usize,
    /// Open, high, low, close.
    pub(crate) prices: [usize; 4],
    pub(crate) volume: Volume,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Volume {
    At(usize),
    /// Several may be it.
    Unproved,
    None,
}

/// The orders in which the four prices are written: Binance, Kraken, Bybit and OKX; Coinbase; KuCoin, HTX and Bitfinex;
/// Gate. Places of open, high, low, close.
const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [2, 1, 0, 3], [0, 2, 3, 1], CLOSE_FIRST];
/// Only where the turnover stands in front and the volume behind: elsewhere open and close are not so turned round, and a
/// few rows with gaps between them could look like it.
const CLOSE_FIRST: [usize; 4] = [3, 1, 2, 0];
/// So many rows prove by their mean what a few have to show clearly.
const MANY: usize = 9;
/// No bar's high is more than so many times its low; a price and a volume are.
const MOST_SPREAD: f64 = 2.0;

/// Finds the places by the values of some rows, or says what they do not prove.
pub(crate) fn places(rows: &[Vec<&str>]) -> Result<Places, &'static str> {
    let width = rows.first().map_or(0, Vec::len);
    if width < 5 || rows.iter().any(|row| row.len() != width) {
        return Err("they are too short, or not all of one length");
    }
    let time = time_of(rows)?;
    let mut rows: Vec<&Vec<&str>> = rows.iter().collect();
    if rows.len() > 1 && rows[0][time] > rows[1][time] {
        rows.reverse();
    }
    let columns: Vec<Option<Vec<f64>>> = (0..width)
        .map(|column| {
            let is_time = column == time || rows.iter().all(|row| is_time(row[column]));
            if is_time { None } else { rows.iter().map(|row| number(row[column])).collect() }
        })
        .collect();
    let found_of = |orders: &[[usize; 4]]| -> Vec<[usize; 4]> {
        (0..=width - 4).flat_map(|start| orders_at(&columns, start, orders)).collect()
    };
    // Two rows may fit an order that no vendor has as well.
    if rows.len() < 3 && found_of(&every_order()).len() > 1 {
        return Err("the rows shown do not prove which of them are open, high, low and close");
    }
    let mut found = found_of(&ORDERS).into_iter();
    let (Some(prices), None) = (found.next(), found.next()) else {
        return Err("the rows shown do not prove which of them are open, high, low and close");
    };
    Ok(Places { time, prices, volume: volume(&columns, prices, &rows) })
}

/// Finds the one column that is the time: in front, or the only one that looks like one.
fn time_of(rows: &[Vec<&str>]) -> Result<usize, &'static str> {
    let times: Vec<usize> = (0..rows[0].len()).filter(|column| rows.iter().all(|row| is_time(row[*column]))).collect();
    let (first, others) = match times.as_slice() {
        [] => return Err("none of them is a time"),
        [first, others @ ..] if *first == 0 || others.is_empty() => (*first, others),
        _ => return Err("several of them may be the time"),
    };
    // Where bars have their end too, it is behind their beginning.
    if others
        .iter()
        .any(|other| rows.iter().any(|row| row[*other].len() == row[first].len() && row[*other] < row[first]))
    {
        return Err("several of them may be the time");
    }
    // Texts with the day in front cannot be put in order, and the order decides which price is the open.
    let is_sortable = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count() >= 4;
    if !rows.iter().all(|row| is_sortable(row[first])) {
        return Err("their times are not in order");
    }
    let rises = |pair: &[Vec<&str>]| pair[0][first] < pair[1][first];
    let falls = |pair: &[Vec<&str>]| pair[0][first] > pair[1][first];
    if rows.windows(2).all(rises) || rows.windows(2).all(falls) {
        Ok(first)
    } else {
        Err("their times are not in order")
    }
}

/// Finds the orders of four columns beside each other that the values prove. Which is the highest and which the lowest
/// shows in each row; which of the others is the open, in where the next row begins.
fn orders_at(columns: &[Option<Vec<f64>>], start: usize, orders: &[[usize; 4]]) -> Vec<[usize; 4]> {
    let Some(four) = columns[start..start + 4].iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let rows = four[0].len();
    let is_extreme = |place: usize, sign: f64| {
        let above = |row: usize, other: usize| sign * (four[place][row] - four[other][row]);
        let others = || (0..4).filter(|other| *other != place);
        (0..rows).all(|row| others().all(|other| above(row, other) >= 0.0))
            && (0..rows).any(|row| others().all(|other| above(row, other) > 0.0))
    };
    // Where the one bar closes the next one opens, or near there.
    let clearly = if rows < MANY { 4.0 } else { 1.5 };
    let column = |at: usize| columns.get(at).and_then(Option::as_deref);
    let is_between = |low: usize, high: usize| {
        let turnover = start.checked_sub(1).and_then(column).zip(column(start + 4));
        turnover.is_some_and(|(quote, base)| is_turnover(base, quote, four[low], four[high]))
    };
    let proves = |order: &[usize; 4]| {
        let [open, high, low, close] = order;
        let is_narrow = |row: usize| four[*low][row] > 0.0 && four[*high][row] <= MOST_SPREAD * four[*low][row];
        let gaps =
            |from: usize, to: usize| -> f64 { (1..rows).map(|row| (four[to][row] - four[from][row - 1]).abs()).sum() };
        let (gaps, turned) = (gaps(*close, *open), gaps(*open, *close));
        is_extreme(*high, 1.0)
            && is_extreme(*low, -1.0)
            && (0..rows).all(is_narrow)
            && turned > 0.0
            && clearly * gaps <= turned
            && (*order == CLOSE_FIRST) == is_between(*low, *high)
    };
    orders.iter().filter(|order| proves(order)).map(|order| order.map(|place| start + place)).collect()
}

/// Returns each order in which four prices can stand.
fn every_order() -> Vec<[usize; 4]> {
    let places = (0..4).flat_map(|a| (0..4).flat_map(move |b| (0..4).map(move |c| [a, b, c, 6 - (a + b + c).min(6)])));
    places.filter(|order| (0..4).all(|place| order.contains(&place))).collect()
}

/// Finds the volume in the base asset among the other numbers.
fn volume(columns: &[Option<Vec<f64>>], prices: [usize; 4], rows: &[&Vec<&str>]) -> Volume {
    let column = |at: usize| columns[at].as_deref().unwrap_or_default();
    let (high, low) = (column(prices[1]), column(prices[2]));
    let is_flag = |values: &[f64]| values.iter().all(|value| *value == values[0]) && [0.0, 1.0].contains(&values[0]);
    let mut others: Vec<usize> = (0..columns.len())
        .filter(|at| columns[*at].is_some() && !prices.contains(at) && !is_flag(column(*at)))
        .collect();
    let sum = |at: usize| column(at).iter().sum::<f64>();
    let has_turnover = |base: &usize| {
        others.iter().any(|quote| quote != base && is_turnover(column(*base), column(*quote), low, high))
    };
    let bases = others.iter().copied().filter(has_turnover);
    // Of several the others are parts of it, such as what takers bought.
    if let Some(base) = bases.max_by(|one, other| sum(*one).total_cmp(&sum(*other))) {
        return Volume::At(base);
    }
    // The average price, as Kraken has it in front of the volume.
    if let [average, _, ..] = others.as_slice()
        && *average == prices.into_iter().max().unwrap_or_default() + 1
        && (0..high.len()).all(|row| {
            let value = column(*average)[row];
            value == 0.0 || value >= low[row] && value <= high[row]
        })
    {
        others.remove(0);
    }
    // A count has no decimal point, even where each volume is a whole number.
    let is_count = |at: usize| rows.iter().all(|row| !row[at].contains('.'));
    match others.as_slice() {
        [] => Volume::None,
        [only] => Volume::At(*only),
        [volume, count] if is_count(*count) && !is_count(*volume) => Volume::At(*volume),
        _ => Volume::Unproved,
    }
}

/// Returns whether a turnover divided by a volume is a price of its bar, in each row that has one.
fn is_turnover(volume: &[f64], turnover: &[f64], low: &[f64], high: &[f64]) -> bool {
    let rows = || (0..low.len()).filter(|row| volume[*row] != 0.0 || turnover[*row] != 0.0);
    let is_price = |row: usize| {
        let price = turnover[row] / volume[row];
        price >= low[row] * 0.999 && price <= high[row] * 1.001
    };
    rows().next().is_some() && rows().all(is_price)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns whether a text is a time between 1990 and 2035: an epoch in whatever unit, or a date.
pub(crate) fn is_time(text: &str) -> bool {
    const YEARS: std::ops::Range<u64> = 631_152_000..2_051_222_400;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    if whole.bytes().all(|byte| byte.is_ascii_digit()) && text.bytes().filter(|byte| *byte == b'.').count() < 2 {
        return match (whole.len(), whole.parse::<u64>()) {
            (8, Ok(date)) => {
                text == whole
                    && (1_900..2_100).contains(&(date / 10_000))
                    && (1..=12).contains(&(date / 100 % 100))
                    && (1..=31).contains(&(date % 100))
            }
            (9 | 10, Ok(seconds)) => YEARS.contains(&seconds),
            (12 | 13, Ok(millis)) => YEARS.contains(&(millis / 1_000)),
            (15 | 16, Ok(micros)) => YEARS.contains(&(micros / 1_000_000)),
            (18 | 19, Ok(nanos)) => YEARS.contains(&(nanos / 1_000_000_000)),
            _ => false,
        };
    }
    // `2024-01-02...`, `02.01.2024`, `1/2/2024`: three numbers with one separator between them.
    ['-', '/', '.'].into_iter().any(|separator| {
        let mut parts = text.splitn(3, separator);
        let mut digits = || parts.next().map_or("", |part| part.split([' ', 'T']).next().unwrap_or_default());
        let (first, second, third) = (digits(), digits(), digits());
        let is_number =
            |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number(first) && is_number(second) && is_number(third) && (first.len() == 4 || third.len() == 4)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Result<Places, &'static str> {
        let rows: Vec<Vec<&str>> = text.split('\n').map(|line| line.split(',').map(str::trim).collect()).collect();
        places(&rows)
    }

    // Red if the order is taken by a vendor's habit: each of these begins with a time and four prices, or nearly so.
    #[test]
    fn the_order_of_prices_is_proved_by_the_values() {
        use Volume::{At, None, Unproved};
        for (text, time, prices, volume) in [
            // Binance, with the turnover in column 7 and what takers bought behind.
            (
                "1704067200000,10,12,9,11,100,1704070799999,1050,7,50,525,0\n\
                 1704070800000,11,13,10,12,200,1704074399999,2300,9,80,920,0",
                0,
                [1, 2, 3, 4],
                At(5),
            ),
            // Kraken: the average price, the volume, a count.
            (
                "1688671200,30306.1,30306.2,30305.7,30305.8,30306.0,3.0000,23\n\
                 1688671260,30305.8,30309.0,30305.7,30308.9,30306.5,12.0000,20\n\
                 1688671320,30308.9,30310.0,30305.0,30306.0,30307.5,10.0000,20",
                0,
                [1, 2, 3, 4],
                At(6),
            ),
            // Coinbase, the newest first.
            ("1704070860,9,12,10,11,0.7\n1704070800,8,11,9,10,0.8", 0, [3, 2, 1, 4], At(5)),
            // KuCoin, with the turnover behind.
            ("1704070860,10,11,12,9,2,21\n1704070800,9,10,11,8,3,29", 0, [1, 3, 4, 2], At(5)),
            // Gate: the turnover in front, then close, high, low, open.
            ("1704070800,21,11,12,9,10,2\n1704070860,33,12,13,10,11,3", 0, [5, 3, 4, 2], At(6)),
            // OKX of contracts: contracts, base, quote.
            ("1704070800000,10,12,9,11,200,2,21,1\n1704070860000,11,13,10,12,310,3.1,35,1", 0, [1, 2, 3, 4], At(6)),
            ("2024-01-02,10,12,9,11\n2024-01-03,11,13,10,12", 0, [1, 2, 3, 4], None),
            ("1704070800,10,12,9,11,500,700\n1704070860,11,13,10,12,800,900", 0, [1, 2, 3, 4], Unproved),
            ("10,12,9,11,5,1704070800\n11,13,10,12,8,1704070860", 5, [0, 1, 2, 3], At(4)),
        ] {
            assert_eq!(found(text), Ok(Places { time, prices, volume }), "{text}");
        }
    }

    // Red if one row is taken for a proof of what it does not show, or a row that breaks the order is passed over.
    #[test]
    fn what_the_values_do_not_prove_stays_open() {
        for (text, expected) in [
            // One row shows the highest and the lowest, but not which of the others is the open.
            ("1704070800,10,12,9,11,5", "do not prove"),
            // The next row begins neither at the one nor at the other.
            ("1704070800,10,12,9,11\n1704070860,20,22,19,21", "do not prove"),
            // High, low, close and the average price could be the four as well; so could close, low, high and volume.
            (
                "1688671200,30306.1,30306.2,30305.7,30305.8,30306.0,3.0000,23\n\
                 1688671260,30305.8,30309.0,30305.7,30308.9,30306.5,12.0000,20",
                "do not prove",
            ),
            (
                "1704171600,2410.91,2410.17,2409.27,2410.97,1253.6\n1704171660,2410.17,2409.4,2409.4,2411.98,1450.2",
                "do not prove",
            ),
            ("1704070800,10,10,10,10\n1704070860,10,10,10,10", "do not prove"),
            ("1704070800,10,12,9,11\n1704070860,11,10,10,12", "do not prove"),
            ("10,12,9,11,5\n11,13,10,12,8", "none of them is a time"),
            ("5,1704070800,1704070860,1,2\n5,1704070860,1704070920,1,2", "several of them"),
            ("1704070860,10,12,9,11,1704070800\n1704070920,11,13,10,12,1704070860", "several of them"),
            ("1704070800,10,12,9,11\n1704070860,11,13,10", "of one length"),
            ("1704070800,10,12,9,11\n1704070800,11,13,10,12", "not in order"),
            ("31.01.2024,10,12,9,11\n01.02.2024,11,13,10,12", "not in order"),
        ] {
            let error = found(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        // Red if an order is taken without its proof: rows of any walk, in any order, are read rightly or not at all.
        #[test]
        fn no_order_is_proved_that_is_another(
            moves in proptest::collection::vec((-30i32..30, 0i32..20, 0i32..20, -3i32..4), 1..40),
            order in Just([0usize, 1, 2, 3]).prop_shuffle(),
        ) {
            // An order that no vendor has can pass for one by chance in a few rows. Gate's has its turnover in front.
            if !ORDERS[..3].contains(&order) && moves.len() < 2 * MANY {
                return Ok(());
            }
            let mut price = 5_000;
            let rows: Vec<Vec<String>> = (0..).zip(&moves).map(|(row, (change, up, down, gap))| {
                let open = price + gap;
                price = open + change;
                let bar = [open, open.max(price) + up, open.min(price) - down, price];
                let mut cells = [1_704_205_800 + 60 * row, 90_000 + 7 * row, 0, 0, 0, 0, 70_000 + 5 * row];
                for (value, place) in bar.into_iter().zip(order) {
                    cells[2 + place] = value;
                }
                cells.iter().map(ToString::to_string).collect()
            }).collect();
            let texts: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
            if let Ok(places) = places(&texts) {
                prop_assert_eq!((places.time, places.prices), (0, order.map(|place| 2 + place)));
            }
        }
    }

    #[test]
    fn times_are_told_from_prices() {
        for text in
            ["1704070800", "1704070800.5", "1704070800000", "20240102", "2024-01-02T14:30:00Z", "02.01.2024 10:00"]
        {
            assert!(is_time(text), "{text}");
        }
        for text in ["", "1.5", "42000.25", "9999999999", "20241302", "600519", "1-2-3", "AAPL", "1.2.3"] {
            assert!(!is_time(text), "{text}");
        }
    }
}
