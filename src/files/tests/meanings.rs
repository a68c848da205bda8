//! What the names of a file leave open: rows of one key, which volume, which time.

use super::*;
use crate::files::TsIs;

fn minutes(symbol: &str) -> ReadOptions {
    let symbol = (!symbol.is_empty()).then(|| symbol.into());
    ReadOptions { symbol, timeframe: Some(Timeframe::MINUTE), ..ReadOptions::default() }
}

/// Reads a file row by row, as a pipe brings it.
fn piped(text: &str, options: ReadOptions) -> Result<Outcome, ReadError> {
    drain(BarReader::new(Pieces::new(text.as_bytes(), &[1]), options))
}

// Red if a bar that is repeated while it grows counts twice as stored, or the earlier version is kept.
#[test]
fn a_newer_version_of_a_bar_takes_its_place() {
    let csv = "ts,open,high,low,close,volume,trades\n2024-01-02 09:30,2,4,1,3,10,5\n2024-01-02 09:31,3,3,3,3,1,1\n\
               2024-01-02 09:31,3,5,2,4,7,9\n2024-01-02 09:31,3,5,2,4,7,9\n";
    let json = "{\"t\":1704187860000,\"o\":3,\"h\":3,\"l\":3,\"c\":3,\"v\":1,\"x\":false,\"n\":1}\n\
                {\"t\":1704187860000,\"o\":3,\"h\":5,\"l\":2,\"c\":4,\"v\":7,\"x\":true,\"n\":9}\n";
    for (text, bars, replaced) in [(csv, 4, 2), (json, 2, 1)] {
        for all in [read_with(text, minutes("ES")), piped(text, minutes("ES"))] {
            let all = all.unwrap();
            assert_eq!((all.bars.len(), all.replaced, rejections(&all)), (bars, replaced, vec![]), "{text}");
            assert_eq!(all.bars.last().unwrap().close, 4.0);
        }
    }
}

// Red if a capital letter, which means another thing at Binance, is taken for the small one, or refused beside it.
#[test]
fn of_two_letters_the_small_one_is_the_bar_s() {
    let json =
        r#"{"t":1704205800000,"T":1704205859999,"f":1,"L":9,"o":"1","c":"2","h":"2","l":"1","v":"5","V":"2","Q":"3"}"#;
    let csv = "t,V,L,o,c,h,l,v\n1704205800000,2,9,1,2,2,1,5\n";
    for text in [json, csv] {
        let all = read_with(text, minutes("A")).unwrap();
        assert_eq!(lines(&all), ["A 1m 2024-01-02T14:30:00Z 1 2 1 2 5"], "{text}");
    }
}

// Red if rows of different things overwrite each other, or a row of the same bar with other values is taken.
#[test]
fn rows_of_one_key_that_are_no_newer_versions_are_told_apart_or_rejected() {
    let csv = "SYMBOL,EXPIRY_DT,STRIKE_PR,OPEN,HIGH,LOW,CLOSE,OI,TIMESTAMP\nNIFTY,25-Jan-2024,100,2,4,1,3,7,2024-01-02\n\
               NIFTY,29-Feb-2024,105,2,4,1,3,9,2024-01-02\n";
    let json = "{\"s\":\"A\",\"venue\":\"XNAS\",\"t\":1704187860000,\"o\":3,\"h\":3,\"l\":3,\"c\":3,\"v\":1}\n\
                {\"s\":\"A\",\"venue\":\"ARCX\",\"t\":1704187860000,\"o\":3,\"h\":3,\"l\":3,\"c\":3,\"v\":1}\n";
    for (text, options, said) in [
        (
            csv,
            ReadOptions { symbol: None, ..es() },
            r#"NIFTY 1d at 2024-01-02T00:00:00Z, got another one on line 2, which differs in EXPIRY_DT ("25-Jan-2024" and "29-Feb-2024"), STRIKE_PR ("100" and "105")"#,
        ),
        (
            json,
            minutes("A"),
            r#"A 1m at 2024-01-02T09:31:00Z, got another one on line 1, which differs in venue ("XNAS" and "ARCX")"#,
        ),
    ] {
        let error = read_with(text, options.clone()).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("give --map symbol=COLUMN"), "{error}");
        // Where the first went out already, the second costs itself.
        let all = piped(text, options).unwrap();
        assert_eq!(all.bars.len(), 1);
        assert!(rejections(&all)[0].1.contains(said), "{:?}", all.rejected);
    }
    // `T` is a ticker where it is no time.
    let text = "{\"T\":\"AAA\",\"v\":0,\"o\":1,\"c\":1,\"h\":1,\"l\":1,\"t\":1704171600000}\n\
                {\"T\":\"BBB\",\"v\":0,\"o\":1,\"c\":1,\"h\":1,\"l\":1,\"t\":1704171600000}\n";
    let error = read_with(text, minutes("X")).unwrap_err().to_string();
    assert!(error.contains(r#"differs in T ("AAA" and "BBB")"#), "{error}");
    let text = "ts,open,high,low,close,volume\n2024-01-02 09:30,2,4,1,3,10\n2024-01-02 09:30,2.5,4,1,3,11\n";
    let all = read_with(text, minutes("ES")).unwrap();
    let said = "expected one row of ES 1m at 2024-01-02T09:30:00Z, got another one on line 2 with other values, which is kept: \
                nothing tells which of the two is right";
    assert_eq!((all.bars.len(), rejections(&all)), (1, vec![(3, said)]));
}

// Red if the volume is taken by its place or its name alone, and an amount of money is stored as one of coins.
#[test]
fn the_volume_is_what_is_traded() {
    let read = |symbol: &str, header: &str, cells: &str| {
        let text = format!("ts,open,high,low,close,{header}\n2024-01-02 09:30,40,42,38,41,{cells}\n");
        read_with(text, minutes(symbol))
    };
    for (symbol, header, cells, expected) in [
        ("BTC/USD", "Volume USD,Volume BTC", "400,10", "10"),
        ("BTC/USD", "Volume BTC,Volume USD", "10,400", "10"),
        ("BTCUSDT", "Volume_(BTC),Volume_(Currency)", "10,400", "10"),
        ("XBTUSD", "volume_usd,volume_btc", "400,10", "10"),
        ("BTC", "Volume BTC,Volume USD", "10,400", "10"),
        // By amount times price, where the symbol says nothing.
        ("SPX", "Volume AAA,Volume BBB", "400,10", "10"),
        ("BTCUSDT", "amount,vol", "10,400", "10"),
        ("BTCUSDT", "volume,base_volume", "400,10", "10"),
        ("AAPL", "volume,amount", "10,400", "10"),
        ("AAPL", "volume,quote_volume,taker_buy_volume", "10,400,10", "10"),
        ("AAPL", "volume,turnover", "0,0", "0"),
        ("AAPL", "volumefrom,volumeto", "10,400", "10"),
        ("AAPL", "Volume", "12.5M", "-"),
        ("AAPL", "Volume", "-", "-"),
        ("AAPL", "TOTTRDQTY", "10", "-"),
        ("BTC/USD", "Volume USD", "400", "-"),
    ] {
        let all = read(symbol, header, cells).unwrap_or_else(|error| panic!("{symbol} {header}: {error}"));
        assert!(lines(&all)[0].ends_with(&format!(" 41 {expected}")), "{symbol} {header}: {:?}", lines(&all));
        // What is left out is told.
        let is_told = all.notes.iter().any(|note| note.contains("olume") && !note.starts_with("ignored"));
        assert_eq!(is_told, expected == "-" && cells != "-", "{header}: {:?}", all.notes);
    }
    for (symbol, header, cells, said) in [
        ("SPX", "Volume AAA,Volume BBB", "10,10", "--map volume='Volume AAA' or --map volume='Volume BBB'"),
        ("BTC/USD", "Volume BTC,Volume USD", "400,10", "--map volume='Volume BTC' or --map volume='Volume USD'"),
        ("AAPL", "volume,value", "404,10", "--map volume=volume or --map volume=value"),
        ("BTCUSD_PERP", "volume,quote_volume", "2,5", "--map volume=volume or --map volume=quote_volume"),
        ("BTC-USDT-SWAP", "vol,volCcy,volCcyQuote", "1000,10,400", "--map volume=vol or --map volume=volCcy"),
    ] {
        let error = read(symbol, header, cells).expect_err(header).to_string();
        assert!(error.starts_with("line 2: volume: ") && error.ends_with(said), "{error}");
    }
    // A contract that is a ten-thousandth of a coin.
    let error = read("BTC_USDT", "vol,amount", "67332,272.69").unwrap_err().to_string();
    assert!(error.contains("which may be contracts"), "{error}");
    // A row that has no amounts shows nothing, whatever is written where there is none.
    for first in ["nan,nan", ",", "0,0", "nan,400"] {
        let text = format!(
            "ts,open,high,low,close,amount,vol\n2024-01-02 09:29,40,42,38,41,{first}\n2024-01-02 09:30,40,42,38,41,10,400\n"
        );
        let all = read_with(text, minutes("BTCUSDT")).unwrap();
        assert_eq!(all.bars[1].volume, Some(10.0), "{first}");
    }
    let text = "ts,open,high,low,close,quote_volume,turnover\n2024-01-02 09:29,40,42,38,41,0,0\n\
                2024-01-02 09:30,40,42,38,41,400,401\n";
    assert_eq!(read_with(text, minutes("X")).unwrap().bars[1].volume, None, "two that are paid");
    // Each symbol has a unit of its own, which is told; a row that leaves it is rejected, and two refuse the file.
    let row = |minute: u32, symbol: &str, volume: u32, amount: u32| {
        format!("{symbol},2024-01-02 09:{minute:02},40,42,38,41,{volume},{amount}\n")
    };
    let header = "symbol,ts,open,high,low,close,vol,amount\n";
    let two: String = (0..4).flat_map(|minute| [row(minute, "A", 10, 4_000), row(minute, "B", 10, 400_000)]).collect();
    let all = read_with(format!("{header}{two}"), minutes("")).unwrap();
    assert_eq!((all.bars.len(), all.rejected.len()), (8, 0));
    assert!(
        all.notes.iter().any(|note| note.starts_with("the volume of \"B\" counts something else than that of \"A\""))
    );
    let odd = two + &row(5, "A", 10, 400_000);
    assert_eq!(read_with(format!("{header}{odd}"), minutes("")).unwrap().rejected.len(), 1);
    let error = read_with(format!("{header}{odd}{}", row(6, "A", 10, 400_000)), minutes("")).unwrap_err();
    assert!(error.to_string().contains("give --map volume=COLUMN"), "{error}");
    // What the user says counts.
    let options = ReadOptions { map: "volume=Volume USD".parse().unwrap(), ..minutes("BTC/USD") };
    let text = "ts,open,high,low,close,Volume USD,Volume BTC\n2024-01-02 09:30,40,42,38,41,400,10\n";
    assert_eq!(read_with(text, options).unwrap().bars[0].volume, Some(400.0));
    // A row that counts in lots, or whose two volumes have changed places.
    let text = "ts,open,high,low,close,volume,amount\n2024-01-02 09:28,40,42,38,41,1000,40000\n\
                2024-01-02 09:30,40,42,38,41,1000,40000\n2024-01-02 09:31,40,42,38,41,10,40000\n2024-01-02 09:32,40,42,38,41,40000,1000\n\
                2024-01-02 09:33,40,42,38,41,0,0\n2024-01-02 09:34,10,11,9,10,1000,40000\n";
    let all = read_with(text, minutes("AAPL")).unwrap();
    assert_eq!(rejections(&all).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5]);
}

// Red if the range of a query, an end or a last trade is taken for the time, or a second time is passed over that says
// another thing.
#[test]
fn the_time_of_a_row_is_when_its_bar_begins() {
    let read = |header: &str, cells: &str, options| {
        read_with(format!("{header},open,high,low,close\n{cells},2,4,1,3\n"), options)
    };
    let begin = "2024-01-02T09:30:00Z";
    for (header, cells) in [
        ("_start,_stop,_time", "2024-01-01T00:00:00Z,2024-01-03T00:00:00Z,2024-01-02T09:30:00Z"),
        ("timestamp,interval_begin", "2024-01-02T09:31:00Z,2024-01-02T09:30:00Z"),
        ("end,begin", "2024-01-02T09:31:00Z,2024-01-02T09:30:00Z"),
        ("open_time,close_time", "1704187800000,1704187859999"),
        ("time,last_trade_time", "2024-01-02T09:30:00Z,2024-01-02T09:30:41Z"),
        ("time,expiry", "2024-01-02T09:30:00Z,2024-06-21"),
        ("time,session", "2024-01-02T09:30:00Z,2024-01-02"),
        ("time,valid_to", "2024-01-02T09:30:00Z,2024-01-02T09:31:00Z"),
        ("unix,New York", "1704187800,2024-01-02 04:30:00"),
        ("begin,sent_time", "1704187800,1704187811"),
        ("time,version", "2024-01-02T09:30:00Z,1.2.3"),
        ("time,count", "2024-01-02T09:30:00Z,1704000000"),
    ] {
        let all = read(header, cells, minutes("ES")).unwrap_or_else(|error| panic!("{header}: {error}"));
        assert_eq!(all.bars[0].ts.to_string(), begin, "{header}");
    }
    for (header, cells, said) in [
        ("time,when", "2024-01-02T09:30:00Z,2024-01-02T12:30:00Z", "give --map ts=time or --map ts=when with"),
        ("time,my date", "2024-01-02T09:30:00Z,2024-03-01", "give --map ts=time or --map ts='my date' with"),
        ("begin,sent_time", "1704187800,1704197811", "give --map ts=begin or --map ts=sent_time with"),
    ] {
        let error = read(header, cells, minutes("ES")).expect_err(header).to_string();
        assert!(error.contains(said), "{error}");
    }
    let error = read("timestamp,time", "2024-01-05T10:00:00Z,2024-01-02T09:30:00Z", minutes("ES")).unwrap_err();
    assert!(error.to_string().contains("give --map ts=timestamp or --map ts=time with"), "{error}");
    // A date alone is no end.
    for date in ["2024-01-02", "20240102", "2024/01/02"] {
        let options = ReadOptions { ts_is: Some(TsIs::End), ..es() };
        let error = read("date", date, options).unwrap_err().to_string();
        assert!(error.contains("got a date alone") && error.ends_with("leave --ts-is end out"), "{error}");
    }
    // BitMEX writes ends.
    let header = "timestamp,symbol,homeNotional,foreignNotional";
    let all = read(header, "2024-01-02T09:31:00.000Z,XBTUSD,1,2", minutes("")).unwrap();
    assert_eq!(all.bars[0].ts.to_string(), begin);
    // Who takes an end for the time says which it is.
    let mapped = |ts_is| ReadOptions { ts_is, map: "ts=close_time".parse().unwrap(), ..minutes("ES") };
    let error = read("close_time", "2024-01-02T09:31:00Z", mapped(None)).unwrap_err().to_string();
    assert!(error.ends_with("give --ts-is end, or --ts-is begin if it is when the bar begins"), "{error}");
    for (ts_is, expected) in [(TsIs::End, begin), (TsIs::Begin, "2024-01-02T09:31:00Z")] {
        let all = read("close_time", "2024-01-02T09:31:00Z", mapped(Some(ts_is))).unwrap();
        assert_eq!(all.bars[0].ts.to_string(), expected);
    }
}

// Red if what we write ourselves is held against anything, or a file with one more column is taken for ours.
#[test]
fn a_header_that_is_exactly_ours_is_taken_as_written() {
    let row = "acme,ES,1m,1402-10-12T09:30:07.5Z,2,4,1,3,10\n";
    let text = format!("vendor,symbol,timeframe,ts,open,high,low,close,volume\n{row}");
    let all = read_with(&text, ReadOptions::default()).unwrap();
    assert_eq!(lines(&all), ["ES 1m 1402-10-12T09:30:07.5Z 2 4 1 3 10"]);
    let other = text.replace("volume\n", "volume,note\n").replace(",10\n", ",10,x\n");
    assert!(read_with(other, ReadOptions::default()).unwrap_err().to_string().contains("from 1900 to tomorrow"));
    let as_written = ReadOptions { as_written: true, ..minutes("ES") };
    let text = "ts,open,high,low,close\n1402-10-12T09:30:07.5Z,2,4,1,3\n";
    assert_eq!(read_with(text, as_written).unwrap().bars[0].ts.to_string(), "1402-10-12T09:30:07.5Z");
}

// Red if a day of our own columns that has a time of day is refused without --tz, or loses its time.
#[test]
fn a_day_of_our_own_columns_keeps_the_time_that_it_has() {
    let csv = "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n\
               acme,ES,1d,raw,2024-01-02T14:30:00.000001Z,2,4,1,3,10\nacme,ES,1d,raw,2024-01-03T00:00:00Z,2,4,1,3,10\n";
    let json = "{\"vendor\":\"acme\",\"symbol\":\"ES\",\"timeframe\":\"1d\",\"adjustment\":\"raw\",\
                \"ts\":\"2024-01-02T14:30:00.000001Z\",\"open\":2,\"high\":4,\"low\":1,\"close\":3,\"volume\":10}\n";
    for (text, bars) in [(csv, 2), (json, 1)] {
        for zone in [None, Some("America/New_York".parse().unwrap())] {
            let all = read_with(text, ReadOptions { zone, ..ReadOptions::default() }).unwrap();
            assert_eq!((all.bars.len(), rejections(&all)), (bars, vec![]), "{text}");
            assert_eq!(all.bars[0].ts.to_string(), "2024-01-02T14:30:00.000001Z");
        }
    }
}

// Red if whole prices beside `ts_event` are counts of billionths though nothing else is Databento's, or if such counts are
// prices.
#[test]
fn prices_beside_ts_event_are_databento_s_only_in_files_of_databento() {
    let csv =
        "ts_event,ts_init,open,high,low,close,volume\n1704205800000000000,1704205860000000000,2500,2501,2499,2500,7\n";
    let json =
        "{\"ts_event\":1704205800000000000,\"open\":2500,\"high\":2501,\"low\":2499,\"close\":2500,\"volume\":7}\n";
    for text in [csv, json] {
        let all = read_with(text, minutes("7203.T")).unwrap();
        assert_eq!(lines(&all), ["7203.T 1m 2024-01-02T14:30:00Z 2500 2501 2499 2500 7"], "{text}");
        let counts = text.replace("25", "4780250000").replace("2499", "4780250000");
        let error = read_with(&counts, minutes("ES")).unwrap_err().to_string();
        assert!(error.contains("which may count billionths of one"), "{error}");
        let as_written = ReadOptions { as_written: true, ..minutes("ES") };
        assert_eq!(read_with(&counts, as_written).unwrap().bars[0].open, 478_025_000_000.0);
    }
    let own = csv.replace("ts_init", "publisher_id").replace(",1704205860000000000", ",1");
    assert_eq!(read_with(own, minutes("ES")).unwrap().bars[0].open, 0.000_002_5);
}

// Red if several tables in one file, or columns that pandas has numbered, are read as one symbol.
#[test]
fn a_table_with_numbered_columns_or_a_second_header_is_read_or_refused() {
    let table = "Price,Close,Close.1,High,High.1,Low,Low.1,Open,Open.1\nTicker,MSFT,KO,MSFT,KO,MSFT,KO,MSFT,KO\n\
                 Date,,,,,,,,\n2024-01-02,3,30,4,40,1,10,2,20\n";
    let options = || ReadOptions { symbol: None, ..es() };
    let all = read_with(table, options()).unwrap();
    assert_eq!(lines(&all), ["MSFT 1d 2024-01-02T00:00:00Z 2 4 1 3 -", "KO 1d 2024-01-02T00:00:00Z 20 40 10 30 -"]);
    // The same header once more, and one of other tickers.
    let again = format!("{table}{}", table.replace("01-02", "01-03"));
    assert_eq!(read_with(again, options()).unwrap().bars.len(), 4);
    let other = format!("{table}{}", table.replace("KO", "PEP").replace("01-02", "01-03"));
    let error = piped(&other, options()).unwrap_err().to_string();
    assert!(error.starts_with("line 6: a second header, with other tickers or fields"), "{error}");
    let error = refusal("Date,Open,Open.1,High,High.1,Low,Low.1,Close,Close.1\n2024-01-02,2,20,4,40,1,10,3,30\n");
    assert!(error.contains("expected one Open column, got \"Open.1\" too"), "{error}");
}
