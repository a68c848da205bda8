//! Times that would be stored as others than they are.

use super::*;

fn with_timeframe(timeframe: Timeframe) -> ReadOptions {
    ReadOptions { symbol: Some("AAA".into()), timeframe: Some(timeframe), ..ReadOptions::default() }
}

fn minutes() -> ReadOptions {
    with_timeframe(Timeframe::MINUTE)
}

fn days() -> ReadOptions {
    with_timeframe(Timeframe::DAY)
}

/// Days that are written with a time of day, whose date counts.
fn days_with_clocks() -> ReadOptions {
    let (zone, session_start) = (Some("America/New_York".parse().unwrap()), Some("00:00".parse().unwrap()));
    ReadOptions { zone, session_start, ..days() }
}

// Red if rows of one day overwrite each other because only their date is stored under a timeframe of a day.
#[test]
fn rows_of_one_day_at_two_times_are_no_days() {
    let advice = "give the timeframe of the rows, such as --timeframe 1m";
    let refusal = |text: &str, options| read_with(text, options).expect_err(text).to_string();
    for (text, options) in [
        ("time,open,high,low,close\n2024-01-02 09:30,1,2,0.5,1.5\n2024-01-02 09:31,2,3,1.5,2.5\n", days_with_clocks()),
        (
            "Date,Time,Open,High,Low,Close\n2024-01-02,09:30,1,2,0.5,1.5\n2024-01-02,09:31,2,3,1.5,2.5\n",
            days_with_clocks(),
        ),
        // As Polygon writes them, in nanoseconds.
        (
            "window_start,open,high,low,close\n1704205800000000000,1,2,0.5,1.5\n1704205860000000000,2,3,1.5,2.5\n",
            days_with_clocks(),
        ),
        // Known only once the order is: 2 January, or 1 February.
        ("time,open,high,low,close\n1/1/2024 09:30,1,2,0.5,1.5\n1/1/2024 09:31,2,3,1.5,2.5\n", days_with_clocks()),
    ] {
        let day = if text.contains("1/1/2024") { "2024-01-01" } else { "2024-01-02" };
        assert_eq!(
            refusal(text, options),
            format!(
                "line 3: time: expected one row of AAA for {day} as 1d says, got two, at 09:30:00 and 09:31:00: {advice}"
            ),
        );
    }
    // Two symbols in turn, and a first day that has only its last row.
    let text = "symbol,time,open,high,low,close\nAAA,2024-01-01 15:59,1,2,0.5,1.5\nBBB,2024-01-02 09:30,1,2,0.5,1.5\n\
                AAA,2024-01-02 09:30,1,2,0.5,1.5\nBBB,2024-01-02 09:31,2,3,1.5,2.5\nAAA,2024-01-02 09:31,2,3,1.5,2.5\n";
    let error = refusal(text, ReadOptions { symbol: None, ..days_with_clocks() });
    assert!(error.starts_with("line 6: time: expected one row of AAA for 2024-01-02 "), "{error}");
    let named = ReadOptions { name: "AAA-1d-2024-01.csv".into(), symbol: None, timeframe: None, ..days_with_clocks() };
    let error =
        refusal("time,open,high,low,close\n2024-01-02 09:30,1,2,0.5,1.5\n2024-01-02 09:31,2,3,1.5,2.5\n", named);
    assert!(error.ends_with(advice), "{error}");
}

// Red if a file of days is refused for one row, or two rows of one day and time no longer mean the later.
#[test]
fn a_day_that_comes_again_costs_only_its_row_and_the_same_time_is_a_correction() {
    let text = "time,open,high,low,close\n2024-01-02 00:00,1,2,0.5,1.5\n2024-01-03 00:00,1,2,0.5,1.5\n\
                2024-01-04 00:00,1,2,0.5,1.5\n2024-01-04 00:00,1,2,0.5,1.75\n2024-01-04 15:31,1,2,0.5,1.25\n";
    let all = read_with(text, days_with_clocks()).unwrap();
    assert_eq!((all.bars.len(), all.replaced), (4, 1));
    assert_eq!(all.bars[3].close, 1.75);
    assert_eq!(
        rejections(&all),
        [(6, "time: expected one row of AAA for 2024-01-04 as 1d says, got two, at 00:00:00 and 15:31:00")]
    );
    // What two vendors call a day are two bars.
    let text = "vendor,time,open,high,low,close\na,2024-01-02 00:00,1,2,0.5,1.5\nb,2024-01-02 05:00,1,2,0.5,1.5\n";
    assert_eq!(read_with(text, days_with_clocks()).unwrap().bars.len(), 2);
}

// Red if a row with a time of day is taken for a day.
#[test]
fn one_row_shows_that_it_is_a_day_only_without_a_time_of_day() {
    for (time, expected) in [
        ("2024-01-02", "1d"),
        ("2024-01-02 00:00:00-05:00", "1d"),
        ("1704153600", "1d"),
        ("2024-01-02 09:30", "TIMEFRAME"),
        ("1/2/2024 9:30", "TIMEFRAME"),
        ("1704205800", "TIMEFRAME"),
    ] {
        let text = format!("time,open,high,low,close\n{time},1,2,0.5,1.5\n");
        match read_with(&text, ReadOptions { timeframe: None, ..days() }) {
            Err(ReadError::Missing(missing)) => assert_eq!(missing.timeframe.as_deref(), Some(expected), "{time}"),
            other => panic!("{time}: {other:?}"),
        }
    }
}

// Red if an empty time of day is midnight, a bar that the file does not have; or if a day needs a time of day.
#[test]
fn an_empty_time_of_day_is_midnight_only_for_days() {
    let message = r#"time: expected a time of day beside "2024-01-02", got none"#;
    let csv = "Date,Time,Open,High,Low,Close\n2024-01-02,09:30,3,4,2.5,3.5\n2024-01-02,,3,4,2.5,3.5\n";
    let all = read_with(csv, minutes()).unwrap();
    assert_eq!((all.bars.len(), rejections(&all)), (1, vec![(3, message)]));
    for time in ["null", r#""""#, r#"" ""#] {
        let json = format!(r#"{{"date":"2024-01-02","time":{time},"open":3,"high":4,"low":2.5,"close":3.5}}"#);
        let all = read_with(&json, minutes()).unwrap();
        assert_eq!((all.bars.len(), rejections(&all)), (0, vec![(1, message)]), "{time}");
        assert_eq!(read_with(&json, days()).unwrap().bars.len(), 1, "{time}");
    }
    let stooq = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n\
                 AAA,5,20240102,,3,4,2.5,3.5,1,0\nAAA,D,20240102,,3,4,2.5,3.5,1,0\n";
    let all = read_with(stooq, ReadOptions::default()).unwrap();
    assert_eq!(lines(&all), ["AAA 1d 2024-01-02T00:00:00Z 3 4 2.5 3.5 1"]);
    assert_eq!(rejections(&all), [(2, r#"time: expected a time of day beside "20240102", got none"#)]);
    // A date without such a column is what it was.
    assert_eq!(read_with("date,open,high,low,close\n2024-01-02,3,4,2.5,3.5\n", minutes()).unwrap().bars.len(), 1);
}

// Red if the fraction is dropped, so that two bars have one time.
#[test]
fn the_fraction_of_an_epoch_counts() {
    let options = || ReadOptions {
        ts_format: Some("%s%.f".parse().unwrap()),
        as_written: true,
        ..with_timeframe("1s".parse().unwrap())
    };
    let text = "ts,open,high,low,close\n1704153600.25,3,4,2.5,3.5\n1704153600.75,3,4,2.5,3.5\n\
                1704153600.123456789,3,4,2.5,3.5\n-1704153600.25,3,4,2.5,3.5\n";
    let all = read_with(text, options()).unwrap();
    let times: Vec<_> = all.bars.iter().map(|bar| bar.ts.to_string()).collect();
    assert_eq!(times, ["2024-01-02T00:00:00.25Z", "2024-01-02T00:00:00.75Z"]);
    let rejected = rejections(&all);
    assert!(rejected[0].1.starts_with("time: expected whole microseconds"), "{rejected:?}");
    assert!(rejected[1].1.ends_with("seconds before 1970 must be whole"), "{rejected:?}");
    assert_eq!(rejected.len(), 2);
}

// Red if the option that reads a time of twelve hours is not named, or does not read it.
#[test]
fn a_time_of_twelve_hours_is_refused_with_the_format_that_reads_it() {
    for (time, format) in [
        ("01/13/2024 01:30 PM", "%m/%d/%Y %I:%M %p"),
        ("13.01.2024 1:30:00 pm", "%d.%m.%Y %I:%M:%S %p"),
        ("2024-01-13 01:30PM", "%Y-%m-%d %I:%M%p"),
        ("\"01/13/2024, 1:30 PM\"", "%m/%d/%Y, %I:%M %p"),
        ("01-13-2024, 1:30:00 PM", "%m-%d-%Y, %I:%M:%S %p"),
        ("Jan 13, 2024 1:30 PM", "%b %d, %Y %I:%M %p"),
        ("13-Jan-2024 13:30", "%d-%b-%Y %H:%M"),
        ("13 January 2024 13:30:00", "%d %B %Y %H:%M:%S"),
        ("01/13/24 13:30", "%m/%d/%y %H:%M"),
        ("13.01.24 13:30", "%d.%m.%y %H:%M"),
        // As Dukascopy writes local times.
        ("13.01.2024 14:30:00.000 GMT+0100", "%d.%m.%Y %H:%M:%S%.f GMT%z"),
        ("01/13/2024 08:30:00 US/Eastern", "%m/%d/%Y %H:%M:%S %Q"),
    ] {
        let time = if time.contains(',') && !time.contains('"') { format!("\"{time}\"") } else { time.to_owned() };
        let time = time.as_str();
        let text = format!("ts,open,high,low,close\n{time},3,4,2.5,3.5\n");
        let error = read_with(&text, minutes()).expect_err(time).to_string();
        assert!(error.ends_with(&format!(": give --ts-format '{format}'")), "{error}");
        let all = read_with(&text, ReadOptions { ts_format: Some(format.parse().unwrap()), ..minutes() }).unwrap();
        assert_eq!(all.bars[0].ts.to_string(), "2024-01-13T13:30:00Z", "{time}");
    }
    // Without minutes.
    for (time, format, hour) in [
        ("2020-04-10 11-PM", "%Y-%m-%d %I-%p", 23),
        ("01/13/2024 9 AM", "%m/%d/%Y %I %p", 9),
        ("2024-01-13 9AM", "%Y-%m-%d %I%p", 9),
    ] {
        let text = format!("ts,open,high,low,close\n{time},3,4,2.5,3.5\n");
        let error = read_with(&text, minutes()).expect_err(time).to_string();
        assert!(error.ends_with(&format!(": give --ts-format '{format}'")), "{error}");
        let all = read_with(&text, ReadOptions { ts_format: Some(format.parse().unwrap()), ..minutes() }).unwrap();
        assert!(all.bars[0].ts.to_string().contains(&format!("T{hour:02}:00:00Z")), "{time}");
    }
    let error = read_with("ts,open,high,low,close\n02/01/24,3,4,2.5,3.5\n", days()).unwrap_err().to_string();
    assert!(error.ends_with(": give --ts-format %m/%d/%y or --ts-format %d/%m/%y"), "{error}");
    let all =
        read_with("ts,open,high,low,close\n01/13/2024 13:30,3,4,2.5,3.5\n01/13/2024 noon,3,4,2.5,3.5\n", minutes());
    assert!(rejections(&all.unwrap())[0].1.ends_with("; --ts-format reads other forms"));
}

// Sabotage: reject a thousand rows for one reason, or refuse a file for one row among good ones.
#[test]
fn a_file_whose_times_are_all_written_in_an_unknown_way_is_refused_in_one_line() {
    let text = "ts,open,high,low,close\n1.58656E+12,3,4,2.5,3.5\n";
    let error = read_with(text, minutes()).unwrap_err().to_string();
    assert!(error.ends_with(": a spreadsheet has cut its digits off, so take the file as it was before"), "{error}");
    for time in ["noon", "01/13/2024 noon", "1.5E"] {
        let row = format!("{time},3,4,2.5,3.5\n");
        let error = read_with(format!("ts,open,high,low,close\n{}", row.repeat(30)), minutes()).expect_err(time);
        assert_eq!(
            error.to_string(),
            format!(
                "line 2: time: expected a time such as 2024-01-02, 2024-01-02T14:30:00Z or an epoch, got \"{time}\"; \
                 --ts-format reads other forms"
            )
        );
        let all = read_with(format!("ts,open,high,low,close\n2024-01-02,3,4,2.5,3.5\n{row}"), minutes()).unwrap();
        assert_eq!((all.bars.len(), all.rejected.len()), (1, 1), "{time}");
    }
}

// Sabotage: take rows that have only a date in a column that is known for bars of midnight: the last would be left.
#[test]
fn rows_of_less_than_a_day_that_share_a_date_are_no_bars_of_midnight() {
    let row = |cells: &str| format!("{cells},3,4,2.5,3.5\n");
    let header = |columns: &str| format!("{columns},open,high,low,close\n");
    let two = |columns: &str, one: &str, other: &str| header(columns) + &row(one) + &row(other);
    let json = r#"{"date":"2024-01-02","minute":"09:30","open":3,"high":4,"low":2.5,"close":3.5}
{"date":"2024-01-02","minute":"09:31","open":3,"high":4,"low":2.5,"close":3.5}"#;
    let said = "time: expected a time of day in rows of 1m, got two of AAA on one date without one: say where it is, \
                as in --map date=COLUMN,time=COLUMN (ignored columns: ";
    for (text, line, ignored) in [
        (two("Date,Time (UTC)", "2024-01-02,09:30", "2024-01-02,09:31"), 3, "Time (UTC)"),
        (two("ts,Hour", "20240102,9", "20240102,10"), 3, "Hour"),
        (two("date,minute", "1/2/2024,09:30", "1/2/2024,09:31") + &row("1/13/2024,09:30"), 3, "minute"),
        (json.to_owned(), 2, "minute"),
    ] {
        let error = read_with(&text, minutes()).expect_err(&text).to_string();
        assert_eq!(error, format!("line {line}: {said}{ignored})"));
    }
    let text = two("when,clock", "02-Jan-2024,09:30", "02-Jan-2024,09:31");
    let options =
        ReadOptions { ts_format: Some("%d-%b-%Y".parse().unwrap()), map: "ts=when".parse().unwrap(), ..minutes() };
    assert!(read_with(text, options).unwrap_err().to_string().ends_with("(ignored columns: clock)"));
    // What is said loads it.
    let text = two("Date,Time (UTC)", "2024-01-02,09:30", "2024-01-02,09:31");
    let map = "date=Date,time=Time (UTC)".parse().unwrap();
    assert_eq!(
        read_with(&text, ReadOptions { map, ..minutes() }).unwrap().bars[1].ts.to_string(),
        "2024-01-02T09:31:00Z"
    );
    // It is not proposed to be one of days.
    let error = read_with(&text, ReadOptions { timeframe: None, ..minutes() }).unwrap_err().to_string();
    assert_eq!(
        error,
        "expected a timeframe, and one row a date or a time of day, got several rows of \"2024-01-02\" without one: say where \
         the time of day is, as in --map date=COLUMN,time=COLUMN, or give --timeframe 1d if the last row of a date counts \
         (ignored columns: Time (UTC))"
    );
    // Or several symbols, where none is known.
    let text = two("date,who", "2024-01-02,1", "2024-01-02,2");
    let error = read_with(&text, ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("as in --map date=COLUMN,time=COLUMN, or the symbol, as in --map symbol=COLUMN, or "),
        "{error}"
    );
    // A date of two series, or of a day that comes again, or beside times of day, is what it was.
    for (text, options) in [
        (two("date,symbol", "2024-01-02,AAA", "2024-01-02,BBB"), ReadOptions { symbol: None, ..minutes() }),
        (two("date,vendor", "2024-01-02,a", "2024-01-02,b"), minutes()),
        (two("date,timeframe", "2024-01-02,1m", "2024-01-02,5m"), ReadOptions { timeframe: None, ..minutes() }),
        (two("date", "2024-01-02", "2024-01-02"), days()),
        (two("date", "2024-01-02", "2024-01-03"), minutes()),
        (two("ts", "2024-01-02T00:00", "2024-01-02 00:00"), minutes()),
        // R leaves midnight off.
        (header("ts") + &row("2024-01-01 23:59") + &row("2024-01-02").repeat(2), minutes()),
    ] {
        let all = read_with(&text, options).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((all.bars.len(), all.rejected.len()), (text.lines().count() - 1, 0), "{text}");
    }
}

// Sabotage: read ten digits as seconds, or fourteen without a word about the option: an hour of 2024 is one of 2034.
#[test]
fn digits_that_may_be_a_date_and_a_time_are_refused_with_the_format_that_reads_them() {
    for (time, format, otherwise, read) in [
        ("2024010214", "%Y%m%d%H", ", or --ts-format %s if it is in seconds", "2024-01-02T14:00:00Z"),
        ("1999123123", "%Y%m%d%H", ", or --ts-format %s if it is in seconds", "1999-12-31T23:00:00Z"),
        // Where hours are counted from 1.
        ("2024010224", "%Y%m%d%H", ", or --ts-format %s if it is in seconds", ""),
        ("202401021405", "%Y%m%d%H%M", "", "2024-01-02T14:05:00Z"),
    ] {
        let text = format!("ts,open,high,low,close\n{time},3,4,2.5,3.5\n");
        assert_eq!(
            read_with(&text, minutes()).expect_err(time).to_string(),
            format!(
                "line 2: time: expected a date or an epoch, got \"{time}\", which may be either: give --ts-format {format} \
                 if it is a date and a time{otherwise}"
            )
        );
        let all = read_with(&text, ReadOptions { ts_format: Some(format.parse().unwrap()), ..minutes() }).unwrap();
        assert_eq!(all.bars.first().map(|bar| bar.ts.to_string()).unwrap_or_default(), read);
    }
    let text = "ts,open,high,low,close\n20240102140506,3,4,2.5,3.5\n";
    let error = read_with(text, minutes()).unwrap_err().to_string();
    assert!(error.ends_with("with 14: give --ts-format %Y%m%d%H%M%S"), "{error}");
    // Written by a program that knows no integers.
    for time in ["1704205800.0", "1704205800000.0", "1704205800.000"] {
        let all = read_with(format!("ts,open,high,low,close\n{time},3,4,2.5,3.5\n"), minutes()).unwrap();
        assert_eq!(all.bars[0].ts.to_string(), "2024-01-02T14:30:00Z", "{time}");
    }
    let text = "ts,open,high,low,close\n1704205800.5,3,4,2.5,3.5\n";
    let error = read_with(text, minutes()).unwrap_err().to_string();
    assert!(error.ends_with("--ts-format reads other forms: give --ts-format %s%.f if it is in seconds"), "{error}");
    let as_written = || ReadOptions { as_written: true, ..minutes() };
    let decimal = ReadOptions { ts_format: Some("%s%.f".parse().unwrap()), ..as_written() };
    assert_eq!(read_with(text, decimal).unwrap().bars[0].ts.to_string(), "2024-01-02T14:30:00.5Z");
    let text = "ts,open,high,low,close\n2024010214,3,4,2.5,3.5\n";
    let seconds = ReadOptions { ts_format: Some("%s".parse().unwrap()), ..as_written() };
    assert_eq!(read_with(text, seconds).unwrap().bars[0].ts.to_string(), "2034-02-20T01:03:34Z");
    // No month, day or hour: seconds, and one of the years of which there are bars is never anything else.
    for (time, read) in [
        ("2024130214", "2034-02-21T10:23:34Z"),
        ("2024013200", "2034-02-20T01:53:20Z"),
        ("2024010225", "2034-02-20T01:03:45Z"),
        ("1899123123", "2030-03-07T14:12:03Z"),
        ("1767225600", "2026-01-01T00:00:00Z"),
    ] {
        let all = read_with(format!("ts,open,high,low,close\n{time},3,4,2.5,3.5\n"), as_written()).unwrap();
        assert_eq!(all.bars[0].ts.to_string(), read, "{time}");
    }
}

// Sabotage: take the first of two times whatever the other says, or compare only those of the first row.
#[test]
fn two_times_of_one_row_name_one_moment_or_the_row_is_rejected() {
    let header = "timestamp,datetime,open,high,low,close\n";
    let bar = ",3,4,2.5,3.5\n";
    let advice = "give --map ts=COLUMN with the one that counts, or --tz";
    let text = format!("{header}1704205800,2024-01-02 09:30:00{bar}");
    assert_eq!(
        read_with(&text, minutes()).unwrap_err().to_string(),
        format!(
            "line 2: time: expected one moment in both columns of a time, got \"1704205800\", which is 2024-01-02T14:30:00Z, \
             and \"2024-01-02 09:30:00\", which is 2024-01-02T09:30:00Z: {advice}"
        )
    );
    for options in [
        ReadOptions { zone: Some("America/New_York".parse().unwrap()), ..minutes() },
        ReadOptions { map: "ts=timestamp".parse().unwrap(), ..minutes() },
    ] {
        let all = read_with(&text, options).unwrap();
        assert_eq!((lines(&all), rejections(&all)), (vec!["AAA 1m 2024-01-02T14:30:00Z 3 4 2.5 3.5 -".into()], vec![]));
        assert_eq!(all.notes, ["ignored columns: datetime"]);
    }
    // The clocks of a text beside an epoch may be those of UTC; where the text counts they are those of --tz.
    for (header, cells, agrees) in [
        ("timestamp,datetime", "1704205800,2024-01-02 14:30:00", true),
        ("datetime,timestamp", "2024-01-02 14:30:00,1704205800", false),
        ("timestamp,datetime", "1704171600,2024-01-02 00:00:00", true),
        ("timestamp,datetime", "1704171660,2024-01-02 00:00:00", false),
        // Dates that have two readings: one of them has to be it.
        ("timestamp,datetime", "1704205800,1/2/2024 14:30", true),
        ("timestamp,datetime", "1704205800,2/1/2024 9:30", true),
        ("timestamp,datetime", "1704205800,1/2/2024 9:31", false),
        ("timestamp,datetime", "1704205800,1/2/2023 9:30", false),
        ("ts,timestamp", "1/2/2024 9:30,2/1/2024 9:30", false),
        ("ts,timestamp", "1/2/2024 9:30,1/2/2024 9:30", true),
        ("ts,timestamp", "1/2/2024 9:30,1/2/2024 9:31", false),
        ("ts,timestamp", "1/2/2024 9:30,3/2/2024 9:30", false),
    ] {
        let zone = Some("America/New_York".parse().unwrap());
        let text = format!("{header},open,high,low,close\n{cells}{bar}");
        match read_with(&text, ReadOptions { zone, ..minutes() }) {
            Err(error) if error.to_string().contains("time: expected one moment") => assert!(!agrees, "{text}"),
            Ok(all) => assert!(agrees && all.bars.len() == 1, "{text}"),
            // Agreed upon or not, nothing shows which number is the month.
            Err(error) => assert!(agrees && error.to_string().contains("shows which number is the month"), "{error}"),
        }
    }
    // And so does a third.
    let third = |date: &str| format!("ts,datetime,date,open,high,low,close\n1704205800,2024-01-02T14:30Z,{date}{bar}");
    assert_eq!(read_with(third("2024-01-02"), minutes()).unwrap().bars.len(), 1);
    assert!(read_with(third("2024-06-02"), minutes()).unwrap_err().to_string().ends_with(advice));
    // The beginning of a candle, and when it was sent.
    let candle = r#"{"start":1704205800000,"open":"3","high":"4","low":"2.5","close":"3.5","timestamp":1704205840123}"#;
    assert_eq!(read_with(candle, minutes()).unwrap().bars[0].ts.to_string(), "2024-01-02T14:30:00Z");
    let both = "give --map ts=start or --map ts=timestamp with the one that counts, or --tz";
    assert!(
        read_with(candle.replace("1704205840123", "1704215840123"), minutes()).unwrap_err().to_string().ends_with(both)
    );
    // Among rows that agree it costs only itself, and what is empty or cannot be read says nothing.
    let text = format!(
        "{header}1704205800,2024-01-02T14:30Z{bar}1704205860,2024-01-02T14:30Z{bar}1704205920,{bar}1704205980,soon{bar}"
    );
    let all = read_with(&text, minutes()).unwrap();
    assert_eq!(all.bars.len(), 3);
    let (line, said) = rejections(&all)[0];
    assert!(line == 3 && said.starts_with("time: expected one moment") && said.ends_with(advice), "{said}");
    // What may be read in two ways is settled by the other.
    let all = read_with(format!("datetime,timestamp,open,high,low,close\n1/4/1999 09:30,922959000{bar}"), minutes());
    assert_eq!(all.unwrap().bars[0].ts.to_string(), "1999-04-01T09:30:00Z");
}

// Sabotage: compare a date alone to the minute, or not at all.
#[test]
fn a_date_beside_a_whole_time_has_to_be_its_day() {
    for (options, time, date, clock, agrees) in [
        // As exchanges write them, with a date of their own: evening in New York, morning in Tokyo.
        (minutes(), "2024-01-03T00:30:00Z", "2024-01-02", "", true),
        (minutes(), "2024-01-01T23:30:00Z", "2024-01-02", "", true),
        (minutes(), "1704205800", "1/2/2024", "", true),
        // The night before a trading day: of Friday for Monday, and before a week of holidays.
        (minutes(), "2024-01-05 21:00:00", "2024-01-08", "", true),
        (minutes(), "2024-01-25 21:00:00", "2/5/2024", "", true),
        (minutes(), "2024-01-05 21:00:00", "2024-01-18", "", false),
        (days(), "2024-01-05 00:00:00", "2024-01-08", "", false),
        // When it was fetched.
        (minutes(), "2024-06-01T12:00:00Z", "2024-01-02", "", false),
        (minutes(), "2024-06-01T12:00:00Z", "1/2/2024", "", false),
        (days(), "2024-06-01T00:00:00Z", "2024-01-02", "", false),
        (days(), "1704153600", "2024-01-02", "", true),
        (days(), "1704153600", "2024-01-03", "", false),
        (minutes(), "1704205800", "2024-01-02", "14:30", true),
        (minutes(), "1704205800", "2024-01-02", "09:30", false),
        (minutes(), "1546300800", "2019-01-01 12-AM", "", true),
    ] {
        let columns = if clock.is_empty() { ("", String::new()) } else { ("time,", format!("{clock},")) };
        let text = format!("timestamp,date,{}open,high,low,close\n{time},{date},{}3,4,2.5,3.5\n", columns.0, columns.1);
        let json_clock = if clock.is_empty() { String::new() } else { format!(r#""time":"{clock}","#) };
        let json =
            format!(r#"{{"date":"{date}",{json_clock}"timestamp":"{time}","open":3,"high":4,"low":2.5,"close":3.5}}"#);
        for text in [&text, &json] {
            match read_with(text, options.clone()) {
                Ok(all) => assert!(agrees && all.bars.len() == 1 && all.rejected.is_empty(), "{text}: {all:?}"),
                Err(error) => {
                    let said = error.to_string();
                    assert!(!agrees && said.contains("time: expected one moment in both columns"), "{text}: {said}");
                }
            }
        }
    }
}

// Sabotage: take a row without the time of day that the others have for one of midnight.
#[test]
fn an_object_without_the_time_of_day_that_others_have_is_rejected() {
    let row = |time: &str| format!("{{{time},\"open\":3,\"high\":4,\"low\":2.5,\"close\":3.5}}\n");
    let [clock, bare, whole] =
        [r#""date":"2024-01-02","time":"09:30""#, r#""date":"2024-01-02""#, r#""ts":1704205800"#];
    for first in [clock, whole] {
        let all = read_with(row(first) + &row(bare) + &row(first), minutes()).unwrap();
        let message = r#"time: expected a time of day beside "2024-01-02" as on line 1, got none"#;
        assert_eq!((all.bars.len(), rejections(&all)), (2, vec![(2, message)]));
        let error = read_with(row(bare) + &row(first), minutes()).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: time: expected only a date as on line 1, got a time of day too: "),
            "{error}"
        );
    }
    let next = row(r#""date":"2024-01-03""#);
    assert_eq!(read_with(row(clock) + &next, days_with_clocks()).unwrap().bars.len(), 2, "a day has no time of day");
    // Alone it is what it was, and so is a date with its time of day in one.
    assert_eq!(read_with(row(bare), minutes()).unwrap().bars.len(), 1);
    let whole_date = r#""date":"2024-01-02 09:31""#;
    assert_eq!(read_with(row(clock) + &row(whole_date), minutes()).unwrap().bars.len(), 2);
}
