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

// Red when trades without ids, or quotes without a number, of two files that have one moment become one, or what is in two
// files is there twice.
#[test]
fn records_without_ids_of_two_files_never_take_each_other_s_place() {
    for (kind, header, prices) in
        [("trades", "ts,symbol,price,size\n", "7"), ("quotes", "ts,symbol,bid,ask,bid_size\n", "7,8")]
    {
        let row = |second: u32, size: u32| format!("{},A,{prices},{size}\n", 1_704_205_800 + second);
        let rows = |rows: &[(u32, u32)]| {
            let rows: Vec<_> = rows.iter().map(|(second, size)| row(*second, *size)).collect();
            format!("{header}{}", rows.concat())
        };
        let long: Vec<_> = (0..100).map(|second| (second, 1)).collect();
        let files = [
            // It ends in a moment with which the next one begins.
            ("a.csv", rows(&[(0, 1), (0, 2), (5, 3)])),
            ("b.csv", rows(&[(5, 4), (6, 5), (4, 6)])),
            ("c.csv", rows(&long)),
            // A part of it once more, and something that lies in it.
            ("d.csv", rows(&long[..50])),
            ("e.csv", rows(&[(200, 1)])),
        ];
        let load = |names: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
            let mut command = mds(dir.path());
            command.args(["ingest", "--kind", kind, "--vendor", "v", "--json"]).args(names);
            let output = command.output().unwrap();
            let summary = crate::mds::summary(&output);
            let told = stderr(&output).matches("those of a file of another run at the same moments").count();
            assert_eq!(told, 1, "{kind}: {}", stderr(&output));
            let count = |name| crate::mds::count(&summary, name);
            (output.status.code(), count("stored"), count("rejected"), stderr(&output))
        };
        let (code, stored, rejected, said) = load(&["a.csv", "b.csv"]);
        assert_eq!((code, stored, rejected), (Some(65), 5, 1), "{kind}: {said}");
        let (code, stored, rejected, said) = load(&["c.csv", "e.csv", "d.csv"]);
        assert_eq!((code, stored, rejected), (Some(2), 101, 0), "{kind}: {said}");
        assert!(said.contains("d.csv: line 2: ts: expected another moment than those of the files before"), "{said}");
        // The same small file under another name: nothing in it is new.
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.csv", "copy.csv"] {
            std::fs::write(dir.path().join(name), &files[0].1).unwrap();
        }
        let output = mds(dir.path()).args(["ingest", "--kind", kind, "a.csv", "copy.csv"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{kind}: {}", stderr(&output));
        // The same run again writes the same rows.
        for _ in 0..2 {
            let output = mds(dir.path()).args(["ingest", "--kind", kind, "a.csv"]).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{kind}: {}", stderr(&output));
            let output = mds(dir.path()).args(["query", "--kind", kind]).output().unwrap();
            assert_eq!(crate::mds::stdout(&output).lines().count(), 3, "{kind}");
        }
    }
}

// Red when the rest of a message takes the place of its beginning, which is in the file before, or two files that overlap are
// no longer one.
#[test]
fn a_message_that_is_cut_over_two_files_is_told() {
    let header = "ts,symbol,price,size,sequence\n";
    let row = |second: u32, size: u32, seq: u32| format!("{},A,7,{size},{seq}\n", 1_704_205_800 + second);
    let files = [
        ("a.csv", [row(0, 1, 1), row(5, 1, 2), row(5, 2, 2)].concat()),
        ("b.csv", [row(5, 3, 2), row(5, 4, 2), row(5, 1, 3), row(6, 1, 4)].concat()),
        ("overlapping.csv", [row(0, 1, 1), row(5, 1, 2), row(5, 2, 2), row(6, 1, 4)].concat()),
    ];
    for (second, code, stored, rejected) in [("b.csv", 65, 5, 2), ("overlapping.csv", 0, 7, 0)] {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, rows)| std::fs::write(dir.path().join(name), format!("{header}{rows}")).unwrap());
        let mut command = mds(dir.path());
        let output = command.args(["ingest", "--kind", "trades", "--json", "a.csv", second]).output().unwrap();
        let summary = crate::mds::summary(&output);
        let count = |name| crate::mds::count(&summary, name);
        assert_eq!(
            (output.status.code(), count("stored"), count("rejected")),
            (Some(code), stored, rejected),
            "{second}: {summary}"
        );
    }
}

// Red when what Alpaca's tape has taken back counts as a trade.
#[test]
fn trades_that_alpaca_marks_as_taken_back_do_not_count() {
    let words = [
        ("", None),
        (",\"u\":\"canceled\"", Some("cancel")),
        (",\"u\":\"incorrect\"", Some("cancel")),
        (",\"u\":\"corrected\"", None),
    ];
    for (at, (update, action)) in words.into_iter().enumerate() {
        let file = format!(
            "{{\"t\":\"2024-01-02T14:30:00.000000001Z\",\"x\":\"V\",\"p\":185.1,\"s\":100,\"c\":[\"@\"],\"i\":{at},\"z\":\"C\"}}\n\
             {{\"t\":\"2024-01-02T14:30:00.000000002Z\",\"x\":\"V\",\"p\":185.2,\"s\":1,\"c\":[\"@\"],\"i\":9{update},\"z\":\"C\"}}\n"
        );
        let trades = read::<Trade>(&file, &[("--symbol", "AAPL")]).unwrap().records;
        let actions: Vec<_> = trades.iter().map(|trade| trade.action.map(|action| action.to_string())).collect();
        assert_eq!(actions, [None, action.map(str::to_owned)], "{update}");
    }
    let csv = "timestamp,symbol,exchange,price,size,id,conditions,tape,u\n2024-01-02T14:30:00Z,AAPL,V,185.1,100,1,@,C,canceled\n";
    assert!(read::<Trade>(csv, &[]).unwrap().records[0].action.is_some());
    assert!(refusal::<Trade>(&csv.replace("canceled", "7"), &[]).contains("--map update=-"));
    assert_eq!(read::<Trade>(&csv.replace("canceled", "7"), &[("--map", "update=-")]).unwrap().records.len(), 1);
}

// Red when two classes of shares become one symbol, or a trade that TAQ marks as cancelled counts.
#[test]
fn classes_of_shares_of_taq_are_symbols_of_their_own() {
    let header = "DATE,TIME_M,EX,SYM_ROOT,SYM_SUFFIX,PRICE,SIZE,TR_CORR,TR_SEQNUM\n";
    let rows = "2024-01-02,9:30:00.000000001,N,BRK,A,540000,1,00,1\n2024-01-02,9:30:00.000000002,N,BRK,B,360,1,08,2\n\
                2024-01-02,9:30:00.000000003,N,IBM,,160,1,00,3\n";
    for map in ["time=TIME_M,date=DATE", "time=TIME_M,date=DATE,symbol=SYM_ROOT"] {
        let trades =
            read::<Trade>(&format!("{header}{rows}"), &[("--map", map), ("--tz", "America/New_York")]).unwrap();
        assert_eq!(trades.rejected, Vec::<String>::new());
        let found: Vec<_> =
            trades.records.iter().map(|trade| (trade.symbol.as_str(), trade.action.is_some())).collect();
        assert_eq!(found, [("BRK A", false), ("BRK B", true), ("IBM", false)]);
    }
    let root = "ts,SYM_ROOT,bid,ask\n2024-01-02T14:30:00Z,BRK,1,2\n";
    assert!(refusal::<Quote>(root, &[]).contains("expected sym_suffix beside sym_root"));
    assert_eq!(read::<Quote>(root, &[("--map", "sym_suffix=-")]).unwrap().records[0].symbol, "BRK");
}

// Red when a figure of a year before, which a filing repeats, is that of the filing's year.
#[test]
fn figures_of_edgar_need_a_period_of_their_own() {
    let file = "ticker,end,fy,fp,form,filed,Assets,period\nAAPL,2022-09-24,2023,FY,10-K,2023-11-03,352755,2022FY\n\
                AAPL,2023-09-30,2023,FY,10-K,2023-11-03,352583,2023FY\n";
    let without = file.replace(",period", "").replace(",2022FY", "").replace(",2023FY", "");
    assert!(refusal::<Fundamentals>(&without, &[]).contains("whose fy and fp are those of the filing"));
    let reports = read::<Fundamentals>(file, &[("--map", "period=period,fiscal_year=-")]).unwrap().records;
    let found: Vec<_> = reports.iter().map(|report| (report.period.as_str(), report.total_assets)).collect();
    assert_eq!(found, [("2022FY", Some(352_755.0)), ("2023FY", Some(352_583.0))]);
    assert_eq!(read::<Fundamentals>(&without, &[("--map", "period=fp")]).unwrap().records[0].period, "2023FY");
}

// Red when a volatility whose column says percent is a ratio.
#[test]
fn a_volatility_whose_name_says_percent_is_in_percent() {
    let file = "ts,contract,bid,IV (%)\n2024-01-02T14:30:00Z,AAPL  240119C00150000,1,9.5\n";
    assert_eq!(read::<OptionQuote>(file, &[]).unwrap().records[0].iv, Some(0.095));
    let file = file.replace("IV (%)", "iv");
    assert_eq!(read::<OptionQuote>(&file, &[]).unwrap().records[0].iv, Some(9.5));
}
