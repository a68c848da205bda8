//! Six kinds at once beside each of them alone: the same rows, so what differs is that there are six coordinators.

use std::{pin::Pin, time::Duration};

use futures::{executor::block_on, future::join_all};
use market_data_store::{
    Bar, Date, Fundamentals, MarketDataStore, News, OptionQuote, OptionType, Quote, Tabular, Timeframe, Timestamp,
    TimestampNanos, Trade,
};

use crate::{
    SYMBOLS, make_tables, measure, settings,
    table::{Table, by_turns},
};

const KINDS: usize = 6;
const START: i64 = 1_700_000_000_000_000;

/// The records of one kind, on their way.
type Submit = Pin<Box<dyn Future<Output = ()>>>;

/// What is written of each kind.
struct Load<'a> {
    url: &'a str,
    rows: usize,
    batch: usize,
    connections: usize,
}

/// Measures how fast rows of all kinds go in at once, and one kind after the other.
pub fn run(table: &mut Table, url: &str, rows: usize, rounds: usize) {
    let rows = rows / KINDS;
    for (batch, connections) in [(500, 1), (500, 4), (5_000, 1), (5_000, 4)] {
        let load = Load { url, rows, batch, connections };
        let fresh = |run: &dyn Fn()| {
            make_tables(url);
            measure(KINDS * rows, run)
        };
        let [at_once, alone] = by_turns(
            rounds,
            [&mut || fresh(&|| load.write(|_| true)), &mut || {
                fresh(&|| (0..KINDS).for_each(|one| load.write(|kind| kind == one)))
            }],
        );
        table
            .line(format!("six kinds at once, batches of {batch}, {connections} workers a kind"), "rows/s", &at_once)
            .beside("one kind after the other", &alone);
    }
}

impl Load<'_> {
    /// Starts a store of all kinds, and submits rows of those that are asked for.
    fn write(&self, asked: impl Fn(usize) -> bool) {
        let mut settings = settings(self.url);
        settings.coordinator.capacity = 2 * self.connections * self.batch + 10_000;
        (settings.coordinator.workers, settings.coordinator.batch_size) = (self.connections, self.batch);
        let store = MarketDataStore::builder(settings)
            .kind::<Bar>()
            .kind::<Quote>()
            .kind::<Trade>()
            .kind::<OptionQuote>()
            .kind::<Fundamentals>()
            .kind::<News>()
            .spawn()
            .unwrap();
        let mut submits: Vec<Submit> = Vec::new();
        let mut add = |kind: usize, submit: Submit| {
            if asked(kind) {
                submits.push(submit);
            }
        };
        add(0, self.submit(&store, bar));
        add(1, self.submit(&store, quote));
        add(2, self.submit(&store, trade));
        add(3, self.submit(&store, option));
        add(4, self.submit(&store, fundamentals));
        add(5, self.submit(&store, news));
        block_on(async {
            join_all(submits).await;
            let report = store.finish(Duration::from_secs(60)).await;
            assert!(report.is_complete());
        });
    }

    fn submit<T: Tabular>(&self, store: &MarketDataStore, make: fn(usize) -> T) -> Submit {
        let (handle, rows) = (store.coordinator::<T>().unwrap(), self.rows);
        Box::pin(async move {
            handle.submit_many((0..rows).map(make)).await.unwrap();
        })
    }
}

fn symbol(number: usize) -> String {
    format!("SYM{}", number % SYMBOLS)
}

fn micros(number: usize) -> i64 {
    START + (number / SYMBOLS) as i64 * 60_000_000
}

fn nanos(number: usize) -> TimestampNanos {
    TimestampNanos::from_nanos(micros(number) * 1_000)
}

fn price(number: usize) -> f64 {
    100.0 + (number % 997) as f64 / 7.0
}

fn bar(number: usize) -> Bar {
    let (ts, price) = (Timestamp::from_micros(micros(number)), price(number));
    Bar::new(symbol(number), Timeframe::MINUTE, ts).ohlc(price, price + 1.0, price - 1.0, price + 0.5).volume(1.0)
}

fn quote(number: usize) -> Quote {
    Quote::new(symbol(number), nanos(number)).bid(price(number), 1.0).ask(price(number) + 0.01, 2.0)
}

fn trade(number: usize) -> Trade {
    Trade::new(symbol(number), nanos(number), price(number), 1.0).id(number.to_string())
}

fn option(number: usize) -> OptionQuote {
    let (contract, expiry) = (format!("{}  261218C00100000", symbol(number)), Date::new(2026, 12, 18).unwrap());
    OptionQuote::new(contract, nanos(number), symbol(number), expiry, OptionType::Call, 100.0)
        .bid(price(number), 1.0)
        .ask(price(number) + 0.01, 2.0)
}

fn fundamentals(number: usize) -> Fundamentals {
    let (year, quarter) = (1900 + number / SYMBOLS / 4 % 8000, number / SYMBOLS % 4 + 1);
    let day = Date::new(2026, 1 + (number / SYMBOLS / 32_000) as i8, 1).unwrap();
    Fundamentals { revenue: Some(price(number)), ..Fundamentals::new(symbol(number), format!("{year}Q{quarter}"), day) }
}

fn news(number: usize) -> News {
    News::new(Timestamp::from_micros(micros(number)), format!("Headline {number} of {}", symbol(number)))
        .id(number.to_string())
        .symbols([symbol(number)])
}
