//! What it takes to add a kind: a file, which is `funding`, and a line of the list.

mod funding;

use std::ops::ControlFlow;

use futures::executor::block_on;

use self::funding::FundingRate;
use super::*;
use crate::sink::{DatabaseReader, Selection};

/// The list, with one line more.
const WITH_FUNDING: &[Kind] = &[kind::<Bar>(), kind::<FundingRate>()];

// Red when a kind needs anything else than its file and its line: a coordinator by its name in the settings, a table, a
// reader and a dead letter that is read have to come of themselves.
#[test]
fn a_kind_is_a_file_and_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rates.db");
    let settings = Settings::default()
        .kinds(["funding_rates"])
        .database_url(format!("sqlite://{}", path.display()))
        .dlq_path(dir.path().join("dead_letters"));
    let mut builder = MarketDataStore::builder(settings.clone());
    for kind in of_settings(WITH_FUNDING, &settings).unwrap() {
        builder = (kind.add)(builder);
    }
    let store = builder.spawn().unwrap();
    let rate = FundingRate { symbol: "BTC-PERP".into(), ts: "2024-01-02T08:00:00Z".parse().unwrap(), rate: 0.0001 };
    block_on(async {
        store.coordinator::<FundingRate>().unwrap().submit(rate.clone()).await.unwrap();
        assert!(store.finish(std::time::Duration::from_secs(30)).await.is_complete());
    });
    let mut found = Vec::new();
    let reader = DatabaseReader::open(&settings.database_url).unwrap();
    let show = |record: Result<FundingRate, _>| {
        found.push(record.unwrap());
        ControlFlow::Continue(())
    };
    reader.records(&Selection::new(), show).unwrap();
    assert_eq!(found, [rate]);
}

// Red when a name that is none of these is passed over, or two kinds have one name.
#[test]
fn a_kind_is_known_by_its_name() {
    let unknown =
        |kinds, name: &str| of_settings(kinds, &Settings::default().kinds([name])).err().map(|e| e.to_string());
    assert_eq!(unknown(WITH_FUNDING, "funding_rates"), None);
    assert_eq!(
        unknown(KINDS, "funding_rates").as_deref(),
        Some(
            "MDS_KINDS has \"funding_rates\", expected one or several of bars, quotes, trades, options, fundamentals, news \
             with commas between"
        )
    );
    let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
}
