//! Records are read back page by page, in either database, by a service that mounts the routes itself.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use actix_web::{
    App,
    dev::{Service as Calls, ServiceResponse},
    rt::System,
    test as requests, web,
};
use market_data_store::{
    Adjustment, Bar, Batch, Database, MarketDataStore, Settings, Sink, Timeframe, Timestamp, Trade, http::routes,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

use crate::{
    postgres::server::Server,
    support::{PATIENCE, settings, size_of_test, within},
};

/// Runs what blocks outside of the runtime of a test.
fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn settings_of(url: &str, dir: &Path, kind: &str) -> Settings {
    settings().database_url(url).dlq_path(dir.join("dead_letters")).kinds([kind])
}

/// Reads one page.
async fn get<S, B>(app: &S, path: &str) -> Value
where
    S: Calls<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: actix_web::body::MessageBody,
{
    let answer = requests::call_service(app, requests::TestRequest::get().uri(path).to_request()).await;
    assert_eq!(answer.status(), 200, "{path}");
    requests::read_body_json(answer).await
}

/// Trades of so few values that most columns of the key are alike in many, and some of their names are ordered otherwise by
/// a language than by their bytes.
fn trades(random: &mut StdRng) -> Vec<Trade> {
    let mut one = || {
        let nanos = 1_704_205_800_000_000_000 + 1_000 * random.random_range(0..4) + random.random_range(0..3);
        let ts = market_data_store::TimestampNanos::from_nanos(nanos);
        let mut pick = |of: &[&str]| (*of.choose(random).unwrap()).to_owned();
        let (vendor, venue) = (pick(&["Z", "a", "\u{c4}"]), pick(&["", "X", "x"]));
        Trade::new(pick(&["ES", "NQ", "Es"]), ts, 1.5, 1.0).vendor(vendor).venue(venue).id(pick(&["9", "10", "b"]))
    };
    (0..400).map(|_| one()).collect()
}

/// What a request for trades says beside its pages.
fn query(random: &mut StdRng) -> String {
    let choices = [
        &["", "&symbol=ES", "&symbol=NQ,ES"][..],
        &["", "&where=vendor=a", "&where=vendor=Z&where=vendor=%C3%84"],
        &["", "", "&where=venue=X", "&where=venue="],
        &["", "", "&where=id=10", "&where=id=10&where=id=9"],
        &["", "&from=2024-01-02T14:30:00.000001001Z", "&from=2024-01-02T14:30:00.000002Z"],
        &["", "&to=2024-01-02T14:30:00.000003Z", "&to=2024-01-02T14:30:00.000002002Z"],
    ];
    choices.iter().map(|choice| *choice.choose(random).unwrap()).collect()
}

/// Reads all pages, and deletes the last trade of each, which is where the next one goes on.
async fn check_pages(url: &str, delete: impl Fn(&str)) {
    let seed = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let database = Database::connect(url).unwrap();
    database.write(&Batch::from(trades(&mut random))).await.unwrap();
    database.close().await;
    let dir = tempfile::tempdir().unwrap();
    let store = MarketDataStore::spawn(settings_of(url, dir.path(), "trades")).unwrap();
    let app = requests::init_service(App::new().service(web::scope("/store").service(routes(&store)))).await;
    let path = "/store/v1/records/trades?";
    let cases = size_of_test("MDS_TEST_PAGE_CASES", 30);
    let mut pages = 0;
    for case in 0..cases {
        let (query, limit) = (query(&mut random), random.random_range(1..40));
        let said = format!("{query} limit {limit}, seed {seed}");
        let whole = get(&app, &format!("{path}{query}")).await;
        assert_eq!(whole["cursor"], Value::Null, "{said}");
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&app, &format!("{path}{query}&limit={limit}{cursor}")).await;
            let records = page["records"].as_array().unwrap();
            assert!(records.len() <= limit && read.len() < 1_000, "{said}");
            read.extend(records.iter().cloned());
            pages += 1;
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            // Now and then, so that there is something for the next case.
            if case % 10 == 9 {
                let last = records.last().unwrap();
                let key = ["vendor", "venue", "symbol", "id"]
                    .map(|name| format!("{name} = '{}'", last[name].as_str().unwrap()));
                let ts: market_data_store::TimestampNanos = last["ts"].as_str().unwrap().parse().unwrap();
                delete(&format!("DELETE FROM trades WHERE {} AND ts_ns = {}", key.join(" AND "), ts.as_nanos()));
            }
        }
        assert_eq!(read, *whole["records"].as_array().unwrap(), "{said}");
    }
    assert!(pages > 2 * cases, "{pages} pages of {cases} requests");
    drop(app);
    assert!(within(PATIENCE, store.shutdown(PATIENCE)).await.is_complete());
}

/// Red when a page leaves out or repeats one, is ordered otherwise than the whole, or needs the record of its cursor: compare
/// the key by `>=`, or each of its columns by itself; order texts by a language.
#[actix_web::test]
async fn pages_of_any_size_are_the_whole_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trades.db");
    let delete = |sql: &str| {
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    };
    check_pages(&format!("sqlite://{}", file.display()), delete).await;
}

/// Red as the one before.
#[test]
fn pages_of_any_size_are_the_whole_in_postgres() {
    let database = Server::shared().database();
    let delete = |sql: &str| assert_eq!(apart(|| database.admin().execute(sql, &[]).unwrap()), 1, "{sql}");
    System::new().block_on(check_pages(&database.url(), delete));
}

/// Reads all bars, and returns how long the first and the last twentieth of the pages took.
async fn ends(url: &str, rows: usize) -> [Duration; 2] {
    let page_size = 100.max(rows / 1_000);
    let database = Database::connect(url).unwrap();
    let bar = |id: usize| {
        let ts = Timestamp::from_secs(id as i64 / 10);
        let bar = Bar::new(format!("S{}", id % 10), Timeframe::MINUTE, ts).vendor("test").volume(id as f64);
        Bar { adjustment: Adjustment::Raw, ..bar.ohlc(1.5, 2.0, 1.0, 1.5) }
    };
    for first in (0..rows).step_by(5_000) {
        let bars: Vec<Bar> = (first..rows.min(first + 5_000)).map(bar).collect();
        database.write(&Batch::from(bars)).await.unwrap();
    }
    database.close().await;
    let dir = tempfile::tempdir().unwrap();
    let store = MarketDataStore::spawn(settings_of(url, dir.path(), "bars")).unwrap();
    let app = requests::init_service(App::new().service(routes(&store))).await;
    let (mut read, mut cursor, mut times) = (0, String::new(), Vec::new());
    loop {
        let began = Instant::now();
        let page = get(&app, &format!("/v1/records/bars?limit={page_size}{cursor}")).await;
        times.push(began.elapsed());
        read += page["records"].as_array().unwrap().len();
        assert!(read <= rows, "rows are read twice");
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(read, rows);
    let part = times.len().div_ceil(20);
    let ends = [&times[..part], &times[times.len() - part..]].map(|times| times.iter().sum());
    let total: Duration = times.iter().sum();
    println!(
        "{rows} rows in {} pages take {total:.1?}, the first and the last twentieth of them {ends:.1?}",
        times.len()
    );
    drop(app);
    assert!(within(PATIENCE, store.shutdown(PATIENCE)).await.is_complete());
    ends
}

/// Within an order of magnitude, and a moment more for a machine that is busy.
fn check_ends([first, last]: [Duration; 2]) {
    assert!(last < 10 * first + Duration::from_millis(200), "the first pages take {first:?}, the last {last:?}");
}

fn rows() -> usize {
    size_of_test("MDS_TEST_PAGE_ROWS", 20_000)
}

/// Red when a page passes over those before it, at the full size: leave the key out of the statement.
#[actix_web::test]
async fn a_late_page_takes_no_longer_than_an_early_one_in_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    check_ends(ends(&format!("sqlite://{}", dir.path().join("bars.db").display()), rows()).await);
}

/// Red when a page passes over those before it: leave the key out of the statement, or its limit, without which the server
/// sorts the table for each page.
#[test]
fn a_late_page_takes_no_longer_than_an_early_one_in_postgres() {
    let database = Server::shared().database();
    check_ends(System::new().block_on(ends(&database.url(), rows())));
    // What the server says that it has read, once the connection of the last page has ended.
    let read = || {
        let columns = ["idx_tup_fetch", "seq_tup_read"].map(|column| format!("coalesce({column}, 0)::bigint"));
        database.number(&format!("SELECT {} FROM pg_stat_user_tables WHERE relname = 'bars'", columns.join(" + ")))
    };
    let (began, rows) = (Instant::now(), rows() as i64);
    while read() < rows {
        assert!(began.elapsed() < PATIENCE, "the server says that it has read {} of {rows} rows", read());
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("the server has read {} rows to return {rows}", read());
    // A page is asked for with a hundred rows more than it has, and a few rows may be fetched for nothing.
    assert!(read() < 12 * rows, "the server has read {} rows to return {rows}", read());
}
