//! A server that was away at the start, and then has a table that does not fit.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use futures::executor::block_on;
use market_data_store::{Bar, Level, MarketDataStore, StopReason, dead_letter};

use super::{
    load::settings,
    proxy::Proxy,
    server::{Server, TestDatabase},
};
use crate::{
    dlq_command::bar,
    mds::{SP500, ingest},
    support::{PATIENCE, log, within},
};

/// A database with a table of another program, behind a way that is cut.
fn unfit() -> (TestDatabase, Proxy) {
    let place = Server::shared().database();
    place.run("CREATE TABLE bars (vendor text, symbol text)");
    let proxy = Proxy::start(place.port());
    proxy.cut();
    (place, proxy)
}

// Red when a store waits for what does not come by itself and says nothing, or loses what waited once it is mended.
#[test]
fn a_table_that_does_not_fit_stops_a_store_that_started_without_its_server() {
    log();
    let (place, proxy) = unfit();
    let dead_letters = tempfile::tempdir().unwrap();
    let store = MarketDataStore::spawn(settings(&place.url_at(proxy.port()), dead_letters.path(), &[])).unwrap();
    let bars = store.coordinator::<Bar>().unwrap();
    block_on(bars.submit_many((0..100).map(|minute| bar(&format!("S{minute}"), minute)))).unwrap();
    proxy.open();
    let StopReason::DatabaseUnfit { problem } = block_on(within(PATIENCE, store.stopped())) else {
        panic!("it stopped for another reason");
    };
    assert!(problem.contains("the table public.bars was not made by this program"), "{problem}");
    let health = block_on(within(PATIENCE, bars.health()));
    assert_eq!((health.dead_lettered, health.stored), (0, 0), "{health:#?}");
    let said = format!("error=\"{problem}\"");
    let errors = log().into_iter().filter(|line| line.starts_with("ERROR") && line.contains(&said));
    assert_eq!(errors.count(), 1);
    // Every try finds the same.
    let begun = std::time::Instant::now();
    while block_on(bars.health()).level != Level::Hard {
        assert!(begun.elapsed() < PATIENCE, "the level does not tell");
    }
    assert!(block_on(bars.health()).last_error.is_some_and(|error| error.contains(&*problem)));

    place.run("DROP TABLE bars");
    let report = block_on(within(PATIENCE, store.finish(PATIENCE)));
    assert_eq!((report.stored(), report.unsettled()), (100, 0));
    assert_eq!(place.number("SELECT count(*) FROM bars"), 100);
}

// Red when a command waits for such a database as for one that is away, ends as if something were broken, or loses what it
// had taken.
#[test]
fn a_load_ends_with_what_does_not_fit() {
    let (place, proxy) = unfit();
    let dir = tempfile::tempdir().unwrap();
    let url = place.url_at(proxy.port());
    let mut command =
        ingest(dir.path(), &["--json", "--symbol", "SPX", "--timeframe", "1d", "--give-up-after", "20s", SP500]);
    command.env("MDS_DATABASE_URL", &url).env("MDS_CB_HALF_OPEN_AFTER_SEC", "1");
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(process.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("the database cannot be used now") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    proxy.open();
    stderr.read_to_string(&mut said).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("error: postgres://") && said.contains("was not made by this program"), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["stored"], &summary["unsettled"]), (&0.into(), &0.into()), "{summary}");
    let kept = dead_letter::list(&dir.path().join("dead_letters")).unwrap().count();
    assert!(kept > 0 && summary["dead_lettered"] == kept, "{kept} are kept: {summary}");
}
