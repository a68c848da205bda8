//! The SQL of docs/QUERYING.md, run as it stands there.

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Batch, Database, Fundamentals, News, Quote, Sink, Tabular, Timeframe, Timestamp, Trade,
};

fn write<T: Tabular>(database: &Database, records: Vec<T>) {
    block_on(database.write(&Batch::from(records))).unwrap();
}

/// Bars with gaps, quotes of one nanosecond, a report that was restated, and news.
fn fill(url: &str) {
    let database = Database::connect(url).unwrap();
    let bar = |symbol: &str, at: usize, first: f64| {
        let clock = ["14:30", "14:31", "14:32", "14:33", "14:34", "15:00", "15:01"][at];
        let (ts, open) = (format!("2024-01-02T{clock}:00Z").parse().unwrap(), first + at as f64);
        let bar = Bar::new(symbol, Timeframe::MINUTE, ts).vendor("acme").volume(1.0);
        Bar { adjustment: Adjustment::Raw, ..bar.ohlc(open, open + 2.0, open - 1.0, open + 1.0) }
    };
    write(&database, (0..7).map(|at| bar("ES", at, 10.0)).chain((0..2).map(|at| bar("NQ", at, 20.0))).collect());
    let ts = |nanos: u32| format!("2024-01-02T14:30:00.{nanos:09}Z").parse().unwrap();
    let quote = |nanos, seq, bid: f64| {
        Quote::new("ES", ts(nanos)).vendor("acme").venue("CME").seq(seq).bid(bid, 1.0).ask(bid + 1.0, 1.0)
    };
    write(&database, vec![quote(1, 0, 0.25), quote(5, 2, 0.75), quote(5, 1, 0.5), quote(6, 0, 0.875)]);
    let trade = |nanos, id: &str, price| Trade::new("ES", ts(nanos), price, 1.0).vendor("acme").venue("CME").id(id);
    write(&database, vec![trade(5, "1", 1.5), trade(0, "2", 2.5)]);
    let report = |period: &str, asof: &str, eps| {
        Fundamentals::new("AAPL", period, asof.parse().unwrap()).vendor("acme").eps(eps)
    };
    let restated = report("2023Q4", "2024-04-01", 2.25);
    write(&database, vec![report("2023Q4", "2024-02-01", 2.125), restated, report("2023FY", "2024-02-01", 6.0)]);
    let news = |micros, id: &str, symbols: &[&str]| {
        News::new(Timestamp::from_micros(micros), format!("news {id}")).id(id).symbols(symbols.iter().copied())
    };
    write(
        &database,
        vec![news(2_000_000, "1", &["TLT", "SPY"]), news(3_000_000, "2", &["SPYX"]), news(1_000_000, "3", &["SPY"])],
    );
    block_on(database.close());
}

/// The statements of the page for a database, each with its heading.
fn statements(database: &str) -> Vec<(String, String)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/QUERYING.md")).unwrap();
    let (mut heading, mut found) = (String::new(), Vec::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = name.to_owned();
        } else if line == "```sql" {
            let sql: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if sql[0] == format!("-- {database}") {
                found.push((heading.clone(), sql[1..].join("\n")));
            }
        }
    }
    found
}

fn expected(heading: &str) -> Vec<&'static str> {
    match heading {
        "The latest bar of each symbol" => vec!["ES|2024-01-02 15:01:00|17", "NQ|2024-01-02 14:31:00|22"],
        "Hours from minutes" => {
            vec!["ES|2024-01-02 14:00:00|10|16|9|15|5", "ES|2024-01-02 15:00:00|15|18|14|17|2"]
        }
        "The quote at each trade" => vec!["2|2.5|null|null", "1|1.5|0.75|1.75"],
        "Gaps" => vec!["ES|2024-01-02 14:34:00|26"],
        "What was known of a company on a date" => vec!["2023FY|2024-02-01|6", "2023Q4|2024-02-01|2.125"],
        "News about a symbol" => vec!["1970-01-01 00:00:02|news 1", "1970-01-01 00:00:01|news 3"],
        other => panic!("{other}: expected rows in this test"),
    }
}

/// What tells nothing of the answer is taken off: how a database writes a number or a zone.
fn cell(text: Option<&str>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    text.parse::<f64>().map_or_else(|_| text.trim_end_matches("+00").to_owned(), |number| number.to_string())
}

// Red when a statement of the page is no SQL of SQLite, or answers something else.
#[cfg(feature = "sqlite")]
#[test]
fn the_statements_for_sqlite_answer_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("market_data.db");
    fill(&format!("sqlite://{}", path.display()));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let statements = statements("SQLite");
    assert!(statements.len() > 6, "only {} were found", statements.len());
    for (heading, sql) in statements {
        let sql = sql.replace("$__from", "1704205860000").replace("$__to", "1704205980000");
        let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{heading}: {error}"));
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
                rusqlite::types::ValueRef::Integer(number) => cell(Some(&number.to_string())),
                rusqlite::types::ValueRef::Real(number) => cell(Some(&number.to_string())),
                value => cell(value.as_str_or_null().unwrap()),
            });
            Ok(cells.collect::<Vec<_>>().join("|"))
        };
        let rows: Vec<String> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
        match &*heading {
            "Grafana" => assert_eq!(rows, ["1704205860|12", "1704205920|13"]),
            _ => assert_eq!(rows, expected(&heading), "{heading}"),
        }
    }
}

// Red when a statement of the page is no SQL of PostgreSQL, or answers something else.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn the_statements_for_postgresql_answer_what_they_say() {
    let database = crate::postgres::server::Server::shared().database();
    fill(&database.url());
    let mut client = database.admin();
    client.batch_execute("SET TimeZone = 'UTC'").unwrap();
    let statements = statements("PostgreSQL");
    assert!(statements.len() > 6, "only {} were found", statements.len());
    for (heading, sql) in statements {
        let filter = "ts BETWEEN '2024-01-02T14:31:00Z' AND '2024-01-02T14:32:00Z'";
        let answer = client.simple_query(&sql.replace("$__timeFilter(ts)", filter));
        let answer = answer.unwrap_or_else(|error| panic!("{heading}: {error}"));
        let rows = answer.iter().filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| cell(row.get(at))).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        });
        let mut rows: Vec<String> = rows.collect();
        match &*heading {
            "Grafana" => {
                rows.sort();
                let [first, second] = ["2024-01-02 14:31:00", "2024-01-02 14:32:00"];
                assert_eq!(rows, [format!("{first}|ES|12"), format!("{first}|NQ|22"), format!("{second}|ES|13")]);
            }
            _ => assert_eq!(rows, expected(&heading), "{heading}"),
        }
    }
}
