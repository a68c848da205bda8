//! JSON as vendors and programs write it: where `mds ingest` proposes a command, that very command is run on the file that
//! caused it, and what is then in the store is what the file says.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};
use rusqlite::Connection;

use crate::mds::{in_dir, run, stderr};

/// What was typed, a file, and the bars in it.
struct Form {
    name: &'static str,
    typed: &'static [&'static str],
    text: String,
    bars: Vec<String>,
}

/// The bars of each form, unless it says otherwise: two minutes of one symbol.
fn minutes(symbol: &str) -> Vec<String> {
    vec![
        format!("{symbol} 1m 2024-01-02T14:30:00Z 10 12 9 11 100"),
        format!("{symbol} 1m 2024-01-02T14:31:00Z 11 13 10 12.5 200.5"),
    ]
}

fn days(symbol: &str) -> Vec<String> {
    vec![
        format!("{symbol} 1d 2024-01-02T00:00:00Z 10 12 9 11 100"),
        format!("{symbol} 1d 2024-01-03T00:00:00Z 11 13 10 12.5 200.5"),
    ]
}

fn without_volume(bars: Vec<String>) -> Vec<String> {
    bars.into_iter().map(|bar| format!("{} -", bar.rsplit_once(' ').unwrap().0)).collect()
}

const NOTHING: &[&str] = &[];
const MINUTES: &[&str] = &["--symbol", "ES", "--timeframe", "1m"];
const DAYS: &[&str] = &["--symbol", "ES", "--timeframe", "1d"];
const MINUTE: &[&str] = &["--timeframe", "1m"];
const DAY: &[&str] = &["--timeframe", "1d"];

fn form(name: &'static str, typed: &'static [&'static str], bars: Vec<String>, text: &str) -> Form {
    Form { name, typed, text: text.into(), bars }
}

/// Objects with arrays of columns.
fn columns() -> Vec<Form> {
    let finnhub =
        r#"{"c":[11,12.5],"h":[12,13],"l":[9,10],"o":[10,11],"s":"ok","t":[1704205800,1704205860],"v":[100,200.5]}"#;
    vec![
        form("finnhub", MINUTES, minutes("ES"), finnhub),
        form("finnhub, on several lines", MINUTES, minutes("ES"), &finnhub.replace(",\"", ",\n  \"")),
        form(
            "deribit",
            MINUTES,
            minutes("ES"),
            r#"{"jsonrpc":"2.0","result":{"volume":[100,200.5],"ticks":[1704205800000,1704205860000],"status":"ok",
               "open":[10,11],"low":[9,10],"high":[12,13],"cost":[1050,2300],"close":[11,12.5]},"usIn":1}"#,
        ),
        form(
            "yahoo chart, minutes",
            NOTHING,
            minutes("AAPL"),
            r#"{"chart":{"result":[{"meta":{"currency":"USD","symbol":"AAPL","timezone":"EST","gmtoffset":-18000,
               "exchangeTimezoneName":"America/New_York","tradingPeriods":[[{"timezone":"EST","end":1}]],
               "dataGranularity":"1m","range":"1d","validRanges":["1d","5d"]},
               "timestamp":[1704205800,1704205860,1704205920],"indicators":{"quote":[{"volume":[100,200.5,null],
               "low":[9,10,null],"open":[10,11,null],"high":[12,13,null],"close":[11,12.5,null]}]}}],"error":null}}"#,
        ),
        form(
            "yahoo chart, days that open in the afternoon of UTC",
            NOTHING,
            days("AAPL"),
            r#"{"chart":{"result":[{"meta":{"symbol":"AAPL","exchangeTimezoneName":"America/New_York","dataGranularity":"1d"},
               "timestamp":[1704205800,1704292200],"indicators":{"quote":[{"volume":[100,200.5],"low":[9,10],"open":[10,11],
               "high":[12,13],"close":[11,12.5]}],"adjclose":[{"adjclose":[1,2]}]}}],"error":null}}"#,
        ),
        form(
            "columns by symbol",
            MINUTE,
            [minutes("AAPL"), minutes("MSFT")].concat(),
            &format!(r#"{{"AAPL":{finnhub},"MSFT":{finnhub}}}"#),
        ),
    ]
}

/// What `DataFrame.to_json` writes in each orientation, with the times in the index and with a column for them.
fn pandas() -> Vec<Form> {
    vec![
        form(
            "pandas columns",
            DAYS,
            days("ES"),
            r#"{"Open":{"1704153600000":10.0,"1704240000000":11.0},"High":{"1704153600000":12.0,"1704240000000":13.0},"Low":{"1704153600000":9.0,"1704240000000":10.0},"Close":{"1704153600000":11.0,"1704240000000":12.5},"Volume":{"1704153600000":100.0,"1704240000000":200.5}}"#,
        ),
        form(
            "pandas columns, dates as texts",
            DAYS,
            without_volume(days("ES")),
            r#"{"Open":{"2024-01-02T00:00:00.000":10.0,"2024-01-03T00:00:00.000":11.0},"High":{"2024-01-02T00:00:00.000":12.0,"2024-01-03T00:00:00.000":13.0},"Low":{"2024-01-02T00:00:00.000":9.0,"2024-01-03T00:00:00.000":10.0},"Close":{"2024-01-02T00:00:00.000":11.0,"2024-01-03T00:00:00.000":12.5}}"#,
        ),
        form(
            "pandas columns, index reset",
            DAYS,
            days("ES"),
            r#"{"Date":{"0":1704153600000,"1":1704240000000},"Open":{"0":10.0,"1":11.0},"High":{"0":12.0,"1":13.0},"Low":{"0":9.0,"1":10.0},"Close":{"0":11.0,"1":12.5},"Volume":{"0":100,"1":200.5}}"#,
        ),
        form(
            "pandas index",
            DAYS,
            days("ES"),
            r#"{"1704153600000":{"Open":10.0,"High":12.0,"Low":9.0,"Close":11.0,"Volume":100},"1704240000000":{"Open":11.0,"High":13.0,"Low":10.0,"Close":12.5,"Volume":200.5}}"#,
        ),
        form(
            "pandas index, index reset",
            DAYS,
            days("ES"),
            r#"{"0":{"Date":1704153600000,"Open":10.0,"High":12.0,"Low":9.0,"Close":11.0,"Volume":100},"1":{"Date":1704240000000,"Open":11.0,"High":13.0,"Low":10.0,"Close":12.5,"Volume":200.5}}"#,
        ),
        form(
            "pandas split",
            DAYS,
            days("ES"),
            r#"{"columns":["Open","High","Low","Close","Volume"],"index":[1704153600000,1704240000000],"data":[[10.0,12.0,9.0,11.0,100],[11.0,13.0,10.0,12.5,200.5]]}"#,
        ),
        form(
            "pandas split, index reset",
            DAYS,
            days("ES"),
            r#"{"columns":["Date","Open","High","Low","Close","Volume"],"index":[0,1],"data":[[1704153600000,10.0,12.0,9.0,11.0,100],[1704240000000,11.0,13.0,10.0,12.5,200.5]]}"#,
        ),
        form(
            "pandas table of New York",
            DAYS,
            days("ES"),
            r#"{"schema":{"fields":[{"name":"Date","type":"datetime","tz":"America\/New_York"},{"name":"Open","type":"number"},{"name":"High","type":"number"}],"primaryKey":["Date"],"pandas_version":"1.4.0"},"data":[{"Date":"2024-01-02T05:00:00.000Z","Open":10.0,"High":12.0,"Low":9.0,"Close":11.0,"Volume":100},{"Date":"2024-01-03T05:00:00.000Z","Open":11.0,"High":13.0,"Low":10.0,"Close":12.5,"Volume":200.5}]}"#,
        ),
        form(
            "pandas table, a nameless index",
            MINUTES,
            minutes("ES"),
            r#"{"schema":{"fields":[{"name":"index","type":"datetime"}],"primaryKey":["index"]},"data":[{"index":"2024-01-02T14:30:00.000","Open":10.0,"High":12.0,"Low":9.0,"Close":11.0,"Volume":100},{"index":"2024-01-02T14:31:00.000","Open":11.0,"High":13.0,"Low":10.0,"Close":12.5,"Volume":200.5}]}"#,
        ),
        form(
            "pandas values",
            DAYS,
            days("ES"),
            "[[1704153600000,10.0,12.0,9.0,11.0,100],[1704240000000,11.0,13.0,10.0,12.5,200.5]]",
        ),
    ]
}

/// Objects keyed by times or symbols, with names or a zone around them.
fn keyed() -> Vec<Form> {
    let bars = r#"[{"t":"2024-01-02T14:30:00Z","o":10,"h":12,"l":9,"c":11,"v":100,"n":3,"vw":10.5},{"t":"2024-01-02T14:31:00Z","o":11,"h":13,"l":10,"c":12.5,"v":200.5,"n":3,"vw":11.5}]"#;
    let twelve = |symbol: &str| {
        format!(
            r#"{{"meta":{{"symbol":"{symbol}","interval":"1min","currency":"USD","exchange_timezone":"America/New_York","exchange":"NASDAQ"}},"values":[{{"datetime":"2024-01-02 09:31:00","open":"11","high":"13","low":"10","close":"12.5","volume":"200.5"}},{{"datetime":"2024-01-02 09:30:00","open":"10","high":"12","low":"9","close":"11","volume":"100"}}],"status":"ok"}}"#
        )
    };
    let daily = r#"[{"date":"2024-01-02","open":10,"high":12,"low":9,"close":11,"volume":100},{"date":"2024-01-03","open":11,"high":13,"low":10,"close":12.5,"volume":200.5}]"#;
    vec![
        form(
            "alpha vantage, minutes",
            NOTHING,
            minutes("MSFT"),
            r#"{
    "Meta Data": {
        "1. Information": "Intraday (1min) open, high, low, close prices and volume",
        "2. Symbol": "MSFT",
        "4. Interval": "1min",
        "6. Time Zone": "US/Eastern"
    },
    "Time Series (1min)": {
        "2024-01-02 09:31:00": {"1. open": "11", "2. high": "13", "3. low": "10", "4. close": "12.5", "5. volume": "200.5"},
        "2024-01-02 09:30:00": {"1. open": "10", "2. high": "12", "3. low": "9", "4. close": "11", "5. volume": "100"}
    }
}"#,
        ),
        form(
            "alpha vantage, adjusted days",
            NOTHING,
            days("MSFT"),
            r#"{"Meta Data":{"2. Symbol":"MSFT","5. Time Zone":"US/Eastern"},"Time Series (Daily)":{"2024-01-03":{"1. open":"11","2. high":"13","3. low":"10","4. close":"12.5","5. adjusted close":"6","6. volume":"200.5","7. dividend amount":"0"},"2024-01-02":{"1. open":"10","2. high":"12","3. low":"9","4. close":"11","5. adjusted close":"5","6. volume":"100","7. dividend amount":"0"}}}"#,
        ),
        form("twelve data", NOTHING, minutes("AAPL"), &twelve("AAPL")),
        form(
            "twelve data, several symbols",
            NOTHING,
            [minutes("AAPL"), minutes("MSFT")].concat(),
            &format!(r#"{{"AAPL":{},"MSFT":{}}}"#, twelve("AAPL"), twelve("MSFT")),
        ),
        form(
            "alpaca",
            MINUTE,
            minutes("AAPL"),
            &format!(r#"{{"bars":{bars},"symbol":"AAPL","next_page_token":null}}"#),
        ),
        form(
            "alpaca, several symbols",
            MINUTE,
            [minutes("AAPL"), minutes("BTC/USD")].concat(),
            &format!(r#"{{"bars":{{"AAPL":{bars},"BTC/USD":{bars}}},"next_page_token":null}}"#),
        ),
        form(
            "alpaca, one symbol that was typed",
            &["--timeframe", "1m", "--symbol", "BTCUSD"],
            minutes("BTCUSD"),
            &format!(r#"{{"bars":{{"BTC/USD":{bars}}},"next_page_token":null}}"#),
        ),
        form("by timeframe", &["--symbol", "ES"], minutes("ES"), &format!(r#"{{"1m":{bars}}}"#)),
        form(
            "tiingo",
            DAY,
            [days("BTCUSD"), days("ETHUSD")].concat(),
            &format!(
                r#"[{{"ticker":"btcusd","baseCurrency":"btc","priceData":{daily}}},{{"ticker":"ethusd","priceData":{daily}}}]"#
            ),
        ),
        form("fmp", DAY, days("AAPL"), &format!(r#"{{"symbol":"AAPL","historical":{daily}}}"#)),
        form(
            "fmp, several symbols",
            DAY,
            [days("AAPL"), days("MSFT")].concat(),
            &format!(
                r#"{{"historicalStockList":[{{"symbol":"AAPL","historical":{daily}}},{{"symbol":"MSFT","historical":{daily}}}]}}"#
            ),
        ),
        form(
            "polygon",
            MINUTE,
            minutes("AAPL"),
            r#"{"ticker":"AAPL","queryCount":2,"adjusted":true,"results":[{"v":100,"vw":10.5,"o":10,"c":11,"h":12,"l":9,"t":1704205800000,"n":1},{"v":200.5,"vw":11.5,"o":11,"c":12.5,"h":13,"l":10,"t":1704205860000,"n":1}],"status":"OK"}"#,
        ),
        form(
            "schwab",
            MINUTE,
            minutes("AAPL"),
            r#"{"candles":[{"open":10,"high":12,"low":9,"close":11,"volume":100,"datetime":1704205800000},{"open":11,"high":13,"low":10,"close":12.5,"volume":200.5,"datetime":1704205860000}],"symbol":"AAPL","empty":false}"#,
        ),
        form(
            "intrinio",
            DAY,
            days("AAPL"),
            &format!(r#"{{"stock_prices":{daily},"security":{{"id":"sec_a","ticker":"AAPL"}},"next_page":null}}"#),
        ),
        form(
            "oanda",
            NOTHING,
            minutes("EUR_USD"),
            r#"{"instrument":"EUR_USD","granularity":"M1","candles":[{"complete":true,"volume":100,"time":"2024-01-02T14:30:00.000000000Z","mid":{"o":"10","h":"12","l":"9","c":"11"}},{"complete":true,"volume":200.5,"time":"2024-01-02T14:31:00.000000000Z","mid":{"o":"11","h":"13","l":"10","c":"12.5"}}]}"#,
        ),
        form(
            "binance stream, a line each",
            NOTHING,
            minutes("BTCUSDT"),
            concat!(
                r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1704205860001,"s":"BTCUSDT","k":{"t":1704205800000,"T":1704205859999,"s":"BTCUSDT","i":"1m","o":"10","c":"11","h":"12","l":"9","v":"100","x":true}}}"#,
                "\n",
                r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1704205920001,"s":"BTCUSDT","k":{"t":1704205860000,"T":1704205919999,"s":"BTCUSDT","i":"1m","o":"11","c":"12.5","h":"13","l":"10","v":"200.5","x":true}}}"#,
                "\n"
            ),
        ),
        form(
            "influx",
            MINUTES,
            minutes("ES"),
            r#"{"results":[{"statement_id":0,"series":[{"name":"candles","columns":["time","open","high","low","close","volume"],"values":[["2024-01-02T14:30:00Z",10,12,9,11,100],["2024-01-02T14:31:00Z",11,13,10,12.5,200.5]]}]}]}"#,
        ),
        form(
            "quandl",
            DAYS,
            days("ES"),
            r#"{"dataset":{"id":1,"name":"x","column_names":["Date","Open","High","Low","Close","Volume"],"data":[["2024-01-03",11,13,10,12.5,200.5],["2024-01-02",10,12,9,11,100]]}}"#,
        ),
        form(
            "cryptocompare",
            MINUTES,
            without_volume(minutes("ES")),
            r#"{"Response":"Success","RateLimit":{},"Data":{"Aggregated":false,"TimeFrom":1704205800,"Data":[{"time":1704205800,"high":12,"low":9,"open":10,"close":11,"conversionType":"direct"},{"time":1704205860,"high":13,"low":10,"open":11,"close":12.5,"conversionType":"direct"}]}}"#,
        ),
        form(
            "coinmarketcap, whose currency is no symbol",
            DAY,
            days("BTC"),
            r#"{"data":{"id":1,"symbol":"BTC","quotes":[{"time_open":"2024-01-02T00:00:00.000Z","quote":{"USD":{"open":10,"high":12,"low":9,"close":11,"volume":100,"timestamp":"2024-01-02T00:00:00.000Z"}}},{"time_open":"2024-01-03T00:00:00.000Z","quote":{"USD":{"open":11,"high":13,"low":10,"close":12.5,"volume":200.5,"timestamp":"2024-01-03T00:00:00.000Z"}}}]}}"#,
        ),
        form(
            "iex, with a quote beside the bars",
            DAY,
            [days("AAPL"), days("MSFT")].concat(),
            &format!(
                r#"{{"AAPL":{{"quote":{{"symbol":"AAPL","open":1,"high":2,"low":1,"close":2}},"chart":{daily}}},"MSFT":{{"chart":{daily}}}}}"#
            ),
        ),
        form(
            "a quote with its history",
            DAY,
            days("AAPL"),
            &format!(r#"{{"symbol":"AAPL","open":1,"high":2,"low":1,"close":2,"history":{daily}}}"#),
        ),
        form(
            "robinhood",
            NOTHING,
            minutes("AAPL"),
            r#"{"results":[{"symbol":"AAPL","interval":"1minute","span":"day","historicals":[{"begins_at":"2024-01-02T14:30:00Z","open_price":"10","close_price":"11","high_price":"12","low_price":"9","volume":100},{"begins_at":"2024-01-02T14:31:00Z","open_price":"11","close_price":"12.5","high_price":"13","low_price":"10","volume":200.5}]}]}"#,
        ),
        form(
            "by date, then by symbol",
            DAY,
            vec![days("AAPL")[0].clone(), days("MSFT")[0].clone()],
            r#"{"2024-01-02":{"AAPL":{"open":10,"high":12,"low":9,"close":11,"volume":100},"MSFT":{"open":10,"high":12,"low":9,"close":11,"volume":100}}}"#,
        ),
        form(
            "by date, with a time of day in each bar",
            MINUTES,
            minutes("ES"),
            r#"{"2024-01-02":[{"time":"14:30:00","open":10,"high":12,"low":9,"close":11,"volume":100},{"time":"14:31:00","open":11,"high":13,"low":10,"close":12.5,"volume":200.5}]}"#,
        ),
        form(
            "polygon, a document on each line",
            MINUTE,
            vec![minutes("AAPL")[0].clone(), minutes("MSFT")[0].clone()],
            concat!(
                r#"{"ticker":"AAPL","results":[{"v":100,"o":10,"c":11,"h":12,"l":9,"t":1704205800000}]}"#,
                "\n",
                r#"{"ticker":"MSFT","results":[{"v":100,"o":10,"c":11,"h":12,"l":9,"t":1704205800000}]}"#
            ),
        ),
        form(
            "a market in front of the symbol",
            &["--symbol", "BTCUSD", "--timeframe", "1d"],
            days("BTCUSD"),
            &format!(r#"{{"ticker":"X:BTCUSD","results":{daily}}}"#),
        ),
        form(
            "one bar on several lines",
            MINUTES,
            minutes("ES")[..1].to_vec(),
            "{\n  \"ts\": 1704205800,\n  \"open\": 10, \"high\": 12, \"low\": 9,\n  \"close\": 11, \"volume\": 100\n}\n",
        ),
    ]
}

/// Arrays whose numbers have no names: the values prove what they are.
fn arrays() -> Vec<Form> {
    vec![
        form(
            "binance",
            MINUTES,
            minutes("ES"),
            r#"[[1704205800000,"10","12","9","11","100",1704205859999,"1050",7,"50","525","0"],[1704205860000,"11","13","10","12.5","200.5",1704205919999,"2300",9,"80","920","0"]]"#,
        ),
        form("coinbase", MINUTES, minutes("ES"), "[[1704205860,10,13,11,12.5,200.5],[1704205800,9,12,10,11,100]]"),
        form(
            "bybit",
            MINUTE,
            minutes("BTCUSDT"),
            r#"{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"spot","list":[["1704205860000","11","13","10","12.5","200.5","2300"],["1704205800000","10","12","9","11","100","1050"]]},"time":1704206000000}"#,
        ),
        form(
            "okx",
            MINUTES,
            minutes("ES"),
            r#"{"code":"0","msg":"","data":[["1704205860000","11","13","10","12.5","20050","200.5","2300","1"],["1704205800000","10","12","9","11","10000","100","1050","1"]]}"#,
        ),
        form(
            "kucoin",
            MINUTES,
            minutes("ES"),
            r#"{"code":"200000","data":[["1704205860","11","12.5","13","10","200.5","2300"],["1704205800","10","11","12","9","100","1050"]]}"#,
        ),
        form(
            "bitfinex",
            MINUTES,
            minutes("ES"),
            "[[1704205860000,11,12.5,13,10,200.5],[1704205800000,10,11,12,9,100]]",
        ),
        form(
            "gate",
            MINUTES,
            minutes("ES"),
            r#"[["1704205800","1050","11","12","9","10","100","true"],["1704205860","2300","12.5","13","10","11","200.5","true"]]"#,
        ),
        form(
            "kraken",
            MINUTE,
            minutes("XXBTZUSD"),
            r#"{"error":[],"result":{"XXBTZUSD":[[1704205800,"10","12","9","11","10.4","100.0",7],[1704205860,"11","13","10","12.5","11.7","200.5",9]],"last":1704205800}}"#,
        ),
        form(
            "an array on each line",
            MINUTES,
            minutes("ES"),
            "[1704205800000,10,12,9,11,100]\n[1704205860000,11,13,10,12.5,200.5]\n",
        ),
        form(
            "arrays without a volume",
            MINUTES,
            without_volume(minutes("ES")),
            "[[1704205800000,10,12,9,11],[1704205860000,11,13,10,12.5]]",
        ),
        form(
            "arrays whose columns were typed",
            &["--symbol", "ES", "--timeframe", "1m", "--map", "ts=1,open=2,high=3,low=4,close=5,volume=6"],
            minutes("ES")[..1].to_vec(),
            r#"{"data":[[1704205800000,10,12,9,11,100]]}"#,
        ),
    ]
}

/// Documents that end, or go on, with members in which there are no bars.
fn with_gaps() -> Vec<Form> {
    let twelve = |symbol: &str| {
        format!(
            r#"{{"meta":{{"symbol":"{symbol}","interval":"1min","exchange_timezone":"America/New_York"}},"values":[{{"datetime":"2024-01-02 09:31:00","open":"11","high":"13","low":"10","close":"12.5","volume":"200.5"}},{{"datetime":"2024-01-02 09:30:00","open":"10","high":"12","low":"9","close":"11","volume":"100"}}]}}"#
        )
    };
    let both = || [minutes("AAPL"), minutes("MSFT")].concat();
    vec![
        form(
            "twelve data, with an error in the middle",
            NOTHING,
            both(),
            &format!(
                r#"{{"AAPL":{},"BAD":{{"code":404,"status":"error","meta":{{"symbol":"BAD"}}}},"MSFT":{},"status":"ok"}}"#,
                twelve("AAPL"),
                twelve("MSFT")
            ),
        ),
        form(
            "fmp, with a null in the middle",
            DAY,
            [days("AAPL"), days("MSFT")].concat(),
            &format!(
                r#"{{"historicalStockList":[{{"symbol":"AAPL","historical":{DAILY}}},{{"symbol":"BAD","historical":null}},{{"symbol":"MSFT","historical":{DAILY}}}]}}"#
            ),
        ),
        form(
            "alpha vantage by symbol, with an error in the middle",
            DAY,
            vec![days("AAPL")[0].clone(), days("MSFT")[0].clone()],
            r#"{"AAPL":{"Series":{"2024-01-02":{"1. open":"10","2. high":"12","3. low":"9","4. close":"11","5. volume":"100"}}},"BAD":{"Note":"none"},"MSFT":{"Series":{"2024-01-02":{"1. open":"10","2. high":"12","3. low":"9","4. close":"11","5. volume":"100"}}}}"#,
        ),
        form(
            "influx, a series a symbol, whose columns stand in another order, after a statement with an error",
            MINUTE,
            both(),
            r#"{"results":[{"series":[{"tags":{"symbol":"AAPL"},"columns":["time","open","high","low","close","volume"],"values":[["2024-01-02T14:30:00Z",10,12,9,11,100],["2024-01-02T14:31:00Z",11,13,10,12.5,200.5]]},{"tags":{"symbol":"MSFT"},"columns":["time","close","high","low","open","volume"],"values":[["2024-01-02T14:30:00Z",11,12,9,10,100],["2024-01-02T14:31:00Z",12.5,13,10,11,200.5]]}]},{"error":"none"}]}"#,
        ),
    ]
}

const DAILY: &str = r#"[{"date":"2024-01-02","open":10,"high":12,"low":9,"close":11,"volume":100},{"date":"2024-01-03","open":11,"high":13,"low":10,"close":12.5,"volume":200.5}]"#;

/// Documents with the bars of what was typed, and of others.
fn of_several() -> Vec<Form> {
    const AAPL: &[&str] = &["--symbol", "AAPL", "--timeframe", "1d"];
    const CHART: &[&str] = &["--symbol", "AAPL"];
    const TIMEFRAME: &[&str] = &["--symbol", "ES", "--timeframe", "1d"];
    let chart = |symbol: &str| {
        format!(
            r#"{{"meta":{{"symbol":"{symbol}","dataGranularity":"1m"}},"timestamp":[1704205800,1704205860],"indicators":{{"quote":[{{"volume":[100,200.5],"low":[9,10],"open":[10,11],"high":[12,13],"close":[11,12.5]}}]}}}}"#
        )
    };
    let split = r#""columns":["date","open","high","low","close","volume"],"data":[["2024-01-02",10,12,9,11,100],["2024-01-03",11,13,10,12.5,200.5]]"#;
    let influx = r#""columns":["time","open","high","low","close","volume"],"values":[["2024-01-02T00:00:00Z",10,12,9,11,100],["2024-01-03T00:00:00Z",11,13,10,12.5,200.5]]"#;
    vec![
        form(
            "fmp",
            AAPL,
            days("AAPL"),
            &format!(
                r#"{{"historicalStockList":[{{"symbol":"AAPL","historical":{DAILY}}},{{"symbol":"MSFT","historical":{DAILY}}}]}}"#
            ),
        ),
        form(
            "yahoo chart",
            CHART,
            minutes("AAPL"),
            &format!(r#"{{"chart":{{"result":[{},{}],"error":null}}}}"#, chart("AAPL"), chart("MSFT")),
        ),
        form(
            "a document a line",
            AAPL,
            days("AAPL"),
            &format!("{{\"ticker\":\"AAPL\",\"results\":{DAILY}}}\n{{\"ticker\":\"MSFT\",\"results\":{DAILY}}}\n"),
        ),
        form(
            "a document a line, each keyed by its symbol",
            AAPL,
            days("AAPL"),
            &format!("{{\"bars\":{{\"AAPL\":{DAILY}}}}}\n{{\"bars\":{{\"MSFT\":{DAILY}}}}}\n"),
        ),
        form(
            "bars by symbol in an array",
            AAPL,
            days("AAPL"),
            &format!(r#"{{"data":[{{"symbol":"AAPL","bars":{DAILY}}},{{"symbol":"MSFT","bars":{DAILY}}}]}}"#),
        ),
        form(
            "bars that name their symbols by a word of their own",
            AAPL,
            days("AAPL")[..1].to_vec(),
            r#"{"data":[{"instrument":"AAPL","date":"2024-01-02","open":10,"high":12,"low":9,"close":11,"volume":100},{"instrument":"MSFT","date":"2024-01-03","open":10,"high":12,"low":9,"close":11,"volume":100}]}"#,
        ),
        form(
            "by key, with their symbols",
            AAPL,
            days("AAPL"),
            &format!(r#"{{"a":{{"symbol":"AAPL","bars":{DAILY}}},"b":{{"symbol":"MSFT","bars":{DAILY}}}}}"#),
        ),
        form(
            "names beside arrays",
            AAPL,
            days("AAPL"),
            &format!(r#"[{{"symbol":"AAPL",{split}}},{{"symbol":"MSFT",{split}}}]"#),
        ),
        form(
            "influx",
            AAPL,
            days("AAPL"),
            &format!(
                r#"{{"results":[{{"series":[{{"tags":{{"symbol":"AAPL"}},{influx}}},{{"tags":{{"symbol":"MSFT"}},{influx}}}]}}]}}"#
            ),
        ),
        form(
            "timeframes in an array",
            TIMEFRAME,
            days("ES"),
            &format!(r#"{{"data":[{{"interval":"1d","bars":{DAILY}}},{{"interval":"1w","bars":{DAILY}}}]}}"#),
        ),
        form(
            "timeframes, a document a line",
            TIMEFRAME,
            days("ES"),
            &format!("{{\"interval\":\"1d\",\"bars\":{DAILY}}}\n{{\"interval\":\"1w\",\"bars\":{DAILY}}}\n"),
        ),
    ]
}

/// What is stored, a line a bar: symbol, timeframe, time, open, high, low, close, volume.
fn bars(dir: &Path) -> Vec<String> {
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    let mut rows = store
        .prepare("SELECT symbol, timeframe, ts, open, high, low, close, volume FROM bars_readable ORDER BY symbol, timeframe, ts")
        .unwrap();
    let line = |row: &rusqlite::Row<'_>| {
        let texts = (0..3).map(|at| row.get::<_, String>(at)).collect::<Result<Vec<_>, _>>()?;
        let numbers = (3..8).map(|at| Ok(row.get::<_, Option<f64>>(at)?.map_or("-".to_owned(), |n| n.to_string())));
        let numbers = numbers.collect::<Result<Vec<_>, rusqlite::Error>>()?;
        Ok(format!("{} {}", texts.join(" "), numbers.join(" ")))
    };
    rows.query_map([], line).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The first line of the error with which a file is refused whole.
fn refusal(dir: &Path, typed: &[&str], file: &str) -> String {
    let output = run(dir, &[typed, &[file]].concat());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!dir.join("market_data.db").exists(), "something was stored: {text}");
    text.lines().next().unwrap().to_owned()
}

/// The commands that an error proposes.
fn proposed(error: &str) -> Vec<&str> {
    error.split('`').skip(1).step_by(2).collect()
}

/// Runs a proposed command: what was typed stands for its dots, and this binary for `mds`.
fn run_proposed(dir: &Path, command: &str, typed: &[&str]) -> Output {
    let typed: Vec<String> = typed.iter().map(|word| format!("'{word}'")).collect();
    let (before, after) = command.split_once("mds ingest").unwrap_or_else(|| panic!("no mds in {command}"));
    let line = format!("{before}'{}' ingest{}", env!("CARGO_BIN_EXE_mds"), after.replace("...", &typed.join(" ")));
    let mut shell = in_dir(Command::new("sh"), dir);
    shell.args(["-c", &line]).output().unwrap()
}

/// Asserts that each file is refused with one command, which ends with this code and stores the bars of the form.
fn assert_loaded_as_proposed(forms: Vec<Form>, code: i32) {
    let mut wrong = Vec::new();
    for Form { name, typed, text, bars: expected } in forms {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.json"), text).unwrap();
        let error = refusal(dir.path(), typed, "in.json");
        let [command] = proposed(&error)[..] else {
            wrong.push(format!("{name}: {error}"));
            continue;
        };
        let output = run_proposed(dir.path(), command, typed);
        let stored = if output.status.code() == Some(code) { bars(dir.path()) } else { Vec::new() };
        if stored != expected {
            wrong.push(format!("{name}: {command}\n{stored:#?}{}", stderr(&output)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

// Red if a filter drops a symbol, a timeframe or a zone, takes one price for another, or is no jq.
#[test]
fn what_an_error_proposes_loads_the_rows_of_the_file_that_caused_it() {
    let forms: Vec<Form> = [columns(), pandas(), keyed(), with_gaps(), arrays()].into_iter().flatten().collect();
    assert!(forms.len() >= 55, "{}", forms.len());
    assert_loaded_as_proposed(forms, 0);
}

// Red if a symbol or a timeframe that was typed is left out where the file has others too: theirs would be stored as its.
#[test]
fn what_was_typed_is_kept_in_the_rows_of_a_file_of_several() {
    assert_loaded_as_proposed(of_several(), 65);
}

// Red if the size of a file, its lines or its container decide whether there is a command, or the command forgets them.
#[test]
fn a_long_or_packed_file_has_a_command_that_fits_it() {
    let dir = tempfile::tempdir().unwrap();
    // Its first column alone is longer than what is looked at.
    let rows = 200_000;
    let column = |name: &str, value: &dyn Fn(usize) -> usize| {
        let values: Vec<String> = (0..rows).map(|row| value(row).to_string()).collect();
        format!("\"{name}\":[{}]", values.join(","))
    };
    let text = format!(
        "{{{},{},{},{},\"s\":\"ok\",{},{}}}",
        column("c", &|row| 1_000_011 + row % 7),
        column("h", &|row| 1_000_020 + row % 7),
        column("l", &|row| 1_000_001 + row % 7),
        column("o", &|row| 1_000_010 + row % 7),
        column("t", &|row| 1_704_205_800 + 60 * row),
        column("v", &|row| row)
    );
    assert!(text.find("\"h\"").unwrap() > 1 << 20);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    fs::write(dir.path().join("ES-1m-2024-01.json.gz"), gzip.finish().unwrap()).unwrap();
    // The name says symbol and timeframe, which a pipe has not.
    let error = refusal(dir.path(), &[], "ES-1m-2024-01.json.gz");
    let command = proposed(&error)[0];
    assert!(command.starts_with("gzip -dc ES-1m-2024-01.json.gz | jq"), "{command}");
    assert!(command.ends_with("| mds ingest --symbol ES --timeframe 1m ... -"), "{command}");
    // jq takes a while for all of it.
    let command = command.replace("range(.c | length)", "range(3)");
    let output = run_proposed(dir.path(), &command, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let bars = bars(dir.path());
    assert_eq!(bars.len(), 3);
    assert_eq!(bars[2], "ES 1m 2024-01-02T14:32:00Z 1000012 1000022 1000003 1000013 2");
}

// Red if a form that is not certain gets a command all the same.
#[test]
fn what_is_not_certain_has_no_command() {
    for (typed, text, expected) in [
        (
            MINUTES,
            "[[1704205800000,10,12,9,11,100]]",
            "do not prove which of them are open, high, low and close: give --map",
        ),
        // Open, close, low, high, volume: the volume below the price is no low.
        (
            MINUTES,
            r#"{"data":[[1704171660,2410.17,2409.4,2409.4,2411.98,450.1848],[1704171600,2410.91,2410.17,2409.27,2410.97,253.6434]]}"#,
            "do not prove which of them are open, high, low and close: give --map",
        ),
        // Nor is one near the price.
        (
            MINUTES,
            r#"{"data":[[1704171660,2410.17,2409.4,2409.4,2411.98,1450.1848],[1704171600,2410.91,2410.17,2409.27,2410.97,1253.6434]]}"#,
            "do not prove which of them are open, high, low and close: give --map",
        ),
        (DAYS, "[[10,12,9,11,100],[11,13,10,12.5,200]]", "none of them is a time"),
        (MINUTES, r#"{"open":{"0":10},"high":{"0":12},"low":{"0":9},"close":{"0":11}}"#, "no time is known among them"),
        (
            MINUTES,
            r#"{"candles":[{"time":1704205800,"bid":{"o":1,"h":2,"l":1,"c":2},"ask":{"o":1,"h":2,"l":1,"c":2}}]}"#,
            "prices in both \"bid\" and \"ask\"",
        ),
        (
            &["--symbol", "ES", "--timeframe", "1m", "--tz", "Europe/Berlin"],
            r#"{"meta":{"timezone":"US/Eastern"},"values":[{"datetime":"2024-01-02 09:30","open":1,"high":1,"low":1,"close":1}]}"#,
            "expected --tz US/Eastern as the file says, got Europe/Berlin",
        ),
        (
            MINUTES,
            r#"{"meta":{"timezone":"Eastern Time"},"values":[{"datetime":"2024-01-02 09:30","open":1,"high":1,"low":1,"close":1}]}"#,
            "its times are those of \"Eastern Time\"",
        ),
        (
            MINUTES,
            r#"{"fast":[{"t":1704205800,"o":1,"h":1,"l":1,"c":1}],"slow":[{"t":1704205800,"o":1,"h":1,"l":1,"c":1}]}"#,
            "bars in several places (\"fast\", \"slow\")",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.json"), text).unwrap();
        let error = refusal(dir.path(), typed, "in.json");
        assert!(error.contains(expected) && proposed(&error).is_empty(), "{error}");
    }
}

// Red if days that are moments get a command without a word of their zone, though it stores nothing without it.
#[test]
fn days_that_are_moments_are_asked_for_their_zone() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"candles":[{"open":10,"high":12,"low":9,"close":11,"volume":100,"datetime":1704175200000},
        {"open":11,"high":13,"low":10,"close":12.5,"volume":200.5,"datetime":1704261600000}],"symbol":"ES"}"#;
    fs::write(dir.path().join("in.json"), text).unwrap();
    let error = refusal(dir.path(), DAYS, "in.json");
    assert!(error.ends_with(
        "; \"1704175200000\" is no midnight in UTC: give the zone of its day too, as in --tz America/New_York"
    ));
    let command = proposed(&error)[0];
    assert_eq!(run_proposed(dir.path(), command, DAYS).status.code(), Some(2));
    let output = run_proposed(dir.path(), command, &[DAYS, &["--tz", "America/Chicago"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bars(dir.path()), days("ES"));
}

// Red if the zone that was typed is given twice, or one that is the same by another name is refused.
#[test]
fn a_zone_that_was_typed_is_not_proposed_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"meta":{"symbol":"ES","interval":"1m","timezone":"US/Eastern"},"values":[
        {"datetime":"2024-01-02 09:30","open":10,"high":12,"low":9,"close":11,"volume":100}]}"#;
    fs::write(dir.path().join("in.json"), text).unwrap();
    let typed = ["--tz", "America/New_York"];
    let error = refusal(dir.path(), &typed, "in.json");
    let output = run_proposed(dir.path(), proposed(&error)[0], &typed);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bars(dir.path()), minutes("ES")[..1]);
}

// Red if a document of bars is held back or refused for what stands in it beside them.
#[test]
fn lines_and_arrays_of_bars_are_read_as_before() {
    let bar = r#"{"ts":1704205800,"open":10,"high":12,"low":9,"close":11,"volume":100,"more":[{"a":1}],"zone":{"b":[[1,2,3,4,5]]}}"#;
    let next = r#"{"ts":1704205860,"open":11,"high":13,"low":10,"close":12.5,"volume":200.5}"#;
    for (text, rejected) in [
        (format!("{bar}\n{next}\n"), false),
        (format!("[{bar},\n{next}]"), false),
        (format!("[\n  {},\n{next}]", bar.replace(',', ",\n")), false),
        // One that is broken costs only itself.
        (format!("{{\"ts\":\n{bar}\n{next}\n"), true),
        (format!("{{\"n\":[1]}}\n{bar}\n{next}\n"), true),
        (format!("[{{}},{bar},{next}]"), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.json"), &text).unwrap();
        let output = run(dir.path(), &[MINUTES, &["in.json"]].concat());
        assert_eq!(output.status.code(), Some(if rejected { 65 } else { 0 }), "{text}: {}", stderr(&output));
        assert_eq!(bars(dir.path()), minutes("ES"), "{text}");
    }
}
