//! Files of kinds other than bars that look like those of one vendor and are another's, or hold two things under one key.

use market_data_store::{Fundamentals, News, OptionQuote, Quote, Side, Trade};

use crate::{
    kind_files::{read, refusal},
    mds::{mds, stderr},
};

// Red when the prices of whoever writes `ts_event` are taken for counts of billionths, or what stands for no price is one.
#[test]
fn prices_beside_ts_event_are_databento_s_only_in_files_of_databento() {
    let file = "ts_event,ts_init,bid_price,ask_price,bid_size,ask_size\n1704205800123456789,1704205800123456799,2500,2501,1,2\n";
    let quotes = read::<Quote>(file, &[("--symbol", "7203.T")]).unwrap().records;
    assert_eq!((quotes[0].bid, quotes[0].ask), (Some(2500.0), Some(2501.0)));
    let file = "ts_event,symbol,trade_id,price,size\n1704205800123456789,7203.T,1,2500,100\n";
    assert_eq!(read::<Trade>(file, &[]).unwrap().records[0].price, 2500.0);
    let file = "ts_event,symbol,trade_id,price,size\n1704205800123456789,ESH4,1,4780250000000,1\n";
    assert!(refusal::<Trade>(file, &[]).contains("may count billionths"));
    let file = "ts_event,symbol,bid,ask,seq\n2024-01-02T14:30:00Z,ES,9223372036.854775807,4780.250000000,7\n";
    assert_eq!(read::<Quote>(file, &[]).unwrap().records[0].bid, None);
}

// Red when the quote of a minute has the time of the last trade.
#[test]
fn databento_s_options_of_intervals_have_the_time_of_the_interval() {
    let file = "ts_recv,ts_event,rtype,publisher_id,instrument_id,price,bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,symbol\n\
                1704205860000000000,1704200000123456789,193,30,1,9223372036854775807,35100000000,35300000000,5,6,AAPL  240119C00150000\n\
                1704205860000000000,18446744073709551615,193,30,2,9223372036854775807,1000000000,2000000000,5,6,AAPL  240119P00150000\n";
    let outcome = read::<OptionQuote>(file, &[]).unwrap();
    assert_eq!(outcome.rejected, Vec::<String>::new());
    for quote in &outcome.records {
        assert_eq!(quote.ts.to_string(), "2024-01-02T14:31:00Z");
    }
    assert_eq!((outcome.records.len(), outcome.records[0].bid), (2, Some(35.1)));
}

// Red when a number of the row in front, or a symbol, hides that a side may be that of the resting order.
#[test]
fn a_side_that_may_be_coinbase_s_is_asked_for_whatever_stands_beside_it() {
    for (first, cell) in [("", "0"), ("Unnamed: 0", "0"), ("symbol", "BTC-USD")] {
        let file = format!("{first},time,trade_id,price,size,side\n{cell},2024-01-02T14:30:00Z,1,45000,0.25,buy\n");
        let symbol = ("--symbol", "BTC-USD");
        assert!(refusal::<Trade>(&file, &[symbol]).contains("--map maker_side=side"), "{first}");
        let trades = read::<Trade>(&file, &[symbol, ("--map", "maker_side=side")]).unwrap().records;
        assert_eq!(trades[0].side, Some(Side::Sell));
    }
}

// Red when 00:15:30 without its first zeros is 15:30.
#[test]
fn times_of_day_that_are_numbers_have_as_many_digits_as_the_first() {
    let header = "date,time,symbol,price,size\n";
    let file = format!("{header}20240102,235959,ES,1,1\n20240103,1530,ES,1,1\n20240103,100000,ES,1,1\n");
    let outcome = read::<Trade>(&file, &[]).unwrap();
    assert_eq!(outcome.records.len(), 2);
    assert_eq!(outcome.rejected, ["line 3: ts: expected a time of day of 6 digits as on the first row, got \"1530\""]);
    let file = format!("{header}20240102,0930,ES,1,1\n20240103,1530,ES,1,1\n");
    assert_eq!(read::<Trade>(&file, &[]).unwrap().records[1].ts.to_string(), "2024-01-03T15:30:00Z");
}

// Red when trades become one because each has the id 0.
#[test]
fn an_id_of_0_is_none() {
    let file = "ts,symbol,price,size,id\n".to_owned() + &"2024-01-02T14:30:00Z,A,1,1,0\n".repeat(2);
    let outcome = read::<Trade>(&file, &[]).unwrap();
    let ids: Vec<_> = outcome.records.iter().map(|trade| trade.id.as_str()).collect();
    assert_eq!((ids, outcome.replaced), (vec!["#1", "#2"], 0));
    let outcome = read::<News>("id,datetime,headline\n0,1704205800,One\n0,1704205801,Two\n", &[]).unwrap();
    assert_ne!(outcome.records[0].id, outcome.records[1].id);
}

// Red when the number of a row is the id of a piece of news, so that one takes the place of another, or a newer version of a
// piece is refused.
#[test]
fn two_pieces_of_news_under_one_id_are_not_one() {
    let file = "id,datetime,headline\n7,1704205800,One\n8,1704205801,Two\n7,1704205802,Three\n7,1704205800,One changed\n7,1704205803,One\n";
    let outcome = read::<News>(file, &[]).unwrap();
    let expected = "line 4: id: expected an id for each piece of news, got \"7\" again with another title and time";
    assert_eq!((outcome.records.len(), outcome.rejected), (4, vec![expected.to_owned()]));
}

// Red when what is left of a list that is written otherwise is a symbol.
#[test]
fn a_list_of_symbols_in_another_form_is_refused() {
    for list in ["['AAPL' 'MSFT']", "('AAPL'; 'MSFT')", "{AAPL;MSFT}", "{'AAPL'}"] {
        let file = format!("id,datetime,headline,symbols\n1,1704205800,One,{list}\n");
        assert!(refusal::<News>(&file, &[]).contains("symbols: expected a list of symbols, got"), "{list}");
    }
}

// Red when a sum of twelve months takes the place of a quarter, a year that is compared with that of the report, or the same
// report twice is refused.
#[test]
fn two_reports_of_one_period_and_day_are_not_one() {
    let header = "ticker,dimension,datekey,fiscalperiod,revenue\n";
    let rows =
        "AAPL,ARQ,2024-02-02,2024-Q1,119575\nAAPL,ART,2024-02-02,2024-Q1,385706\nAAPL,ARQ,2024-02-02,2024-Q1,119575\n";
    let outcome = read::<Fundamentals>(&format!("{header}{rows}"), &[]).unwrap();
    let revenues: Vec<_> = outcome.records.iter().map(|report| report.revenue).collect();
    assert_eq!((revenues, outcome.replaced), (vec![Some(119_575.0); 2], 1));
    let expected =
        "line 3: period: expected one report of AAPL for 2024Q1 and 2024-02-02, got another with other amounts";
    assert!(outcome.rejected[0].starts_with(expected), "{:?}", outcome.rejected);
}

// Red when an option that cannot mean anything is passed over.
#[test]
fn options_of_clocks_are_refused_for_dates() {
    let file = "symbol,period,asof,eps\nA,2024Q1,2024-02-01,1\n";
    for given in [("--tz", "America/New_York"), ("--ts-format", "%m/%d/%Y")] {
        assert!(refusal::<Fundamentals>(file, &[given]).contains("they have dates alone"));
    }
}

// Red when a number that is too small for one is 0 in a file of our own columns.
#[test]
fn a_number_that_is_too_small_is_no_0_in_our_own_columns_either() {
    let header = "vendor,venue,symbol,ts,id,price,size,side,seq,conditions,action,ref_id,received_ts_ns\n";
    let file = format!(
        "{header}acme,,A,2024-01-02T14:30:00Z,a,1e-400,1,,,,,,\nacme,,A,2024-01-02T14:30:00Z,b,5e-324,1,,,,,,\n"
    );
    let outcome = read::<Trade>(&file, &[]).unwrap();
    assert_eq!((outcome.records[0].id.as_str(), outcome.rejected.len()), ("b", 1));
    assert!(outcome.rejected[0].starts_with("line 2: price: expected 0 or a number"), "{:?}", outcome.rejected);
}

// Red when trades without ids of two files that have one moment become one without a word.
#[test]
fn numbers_that_files_give_their_records_are_told_where_several_do() {
    let dir = tempfile::tempdir().unwrap();
    let trades = |price: u32| format!("ts,symbol,price,size\n1704205800,A,{price},1\n1704205800,A,{price},2\n");
    for (name, price) in [("a.csv", 7), ("b.csv", 8), ("c.csv", 9)] {
        std::fs::write(dir.path().join(name), trades(price)).unwrap();
    }
    let told = |files: &[&str]| {
        let output =
            mds(dir.path()).args(["ingest", "--kind", "trades", "--vendor", "v"]).args(files).output().unwrap();
        let text = stderr(&output);
        text.matches("are numbered within their file").count()
    };
    assert_eq!((told(&["a.csv"]), told(&["a.csv", "b.csv", "c.csv"])), (0, 1));
}
