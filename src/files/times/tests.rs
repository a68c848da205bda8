//! What times mean.

use super::*;

fn of(zone: Option<&str>, format: Option<&str>) -> Times {
    Times::new(TimeOptions {
        zone: zone.map(|zone| zone.parse().unwrap()),
        format: format.map(|format| format.parse().unwrap()),
        ..TimeOptions::default()
    })
}

fn times(zone: &str) -> Times {
    Times::new(TimeOptions { zone: Some(zone.parse().unwrap()), ..TimeOptions::default() })
}

fn known(times: &mut Times, time: &str, clock: &str, session: bool) -> Result<String, String> {
    match times.read(time, Some(clock).filter(|clock| !clock.is_empty()), session)? {
        Reading::Known(ts, _) => Ok(ts.to_string()),
        Reading::Either(either) => panic!("{either:?}"),
    }
}

#[test]
fn a_time_without_offset_is_read_in_the_zone() {
    for (zone, time, clock, expected) in [
        ("UTC", "2024-01-02 09:30", "", "2024-01-02T09:30:00Z"),
        ("America/New_York", "2024-01-02 09:30", "", "2024-01-02T14:30:00Z"),
        ("America/New_York", "2024-07-02 09:30", "", "2024-07-02T13:30:00Z"),
        ("America/New_York", "2024-07-02 09:30Z", "", "2024-07-02T09:30:00Z"),
        ("America/New_York", "1704205800", "", "2024-01-02T14:30:00Z"),
        ("UTC", "2024-01-02", "09:30:01.5", "2024-01-02T09:30:01.5Z"),
        ("UTC", "20240102", "093000", "2024-01-02T09:30:00Z"),
        ("Europe/Berlin", "2024/1/2", "9:30", "2024-01-02T08:30:00Z"),
        ("UTC", "2024.01.02 09:30", "", "2024-01-02T09:30:00Z"),
        ("UTC", "2024-1-2", "", "2024-01-02T00:00:00Z"),
        ("UTC", "20240102  09:30:00", "", "2024-01-02T09:30:00Z"),
        ("UTC", "20240702 09:30:00 US/Eastern", "", "2024-07-02T13:30:00Z"),
        ("UTC", "20240102 15:30:00 Europe/Berlin", "", "2024-01-02T14:30:00Z"),
        ("UTC", "2024-01-02 09:30:00 US/Eastern", "", "2024-01-02T14:30:00Z"),
        ("UTC", "2024/01/02 09:30:00 US/Eastern", "", "2024-01-02T14:30:00Z"),
        // As Interactive Brokers writes the zones of exchanges, and UTC.
        ("America/New_York", "20240702 15:30:00 MET", "", "2024-07-02T13:30:00Z"),
        ("America/New_York", "20240702 15:30:00 GB-Eire", "", "2024-07-02T14:30:00Z"),
        ("America/New_York", "20240702 15:30:00 Japan", "", "2024-07-02T06:30:00Z"),
        ("America/New_York", "20240702 15:30:00 Hongkong", "", "2024-07-02T07:30:00Z"),
        ("America/New_York", "20240702 15:30:00 GMT", "", "2024-07-02T15:30:00Z"),
        ("America/New_York", "20240702 15:30:00 UTC", "", "2024-07-02T15:30:00Z"),
        ("UTC", "20240702 15:30:00 EST5EDT", "", "2024-07-02T19:30:00Z"),
        ("UTC", "20240702-15:30:00", "", "2024-07-02T15:30:00Z"),
    ] {
        assert_eq!(known(&mut times(zone), time, clock, false).as_deref(), Ok(expected), "{time} {clock} {zone}");
    }
}

#[test]
fn a_session_is_the_date_as_written_and_of_an_epoch_the_date_in_the_zone() {
    for (zone, time, expected) in [
        ("America/New_York", "2024-01-02", "2024-01-02T00:00:00Z"),
        ("UTC", "1999-01-04 00:00:00-05:00", "1999-01-04T00:00:00Z"),
        ("Asia/Tokyo", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z"),
        // The evening before, in UTC.
        ("Asia/Tokyo", "2024-01-02T23:59:59Z", "2024-01-03T00:00:00Z"),
        ("America/New_York", "1704153600", "2024-01-02T00:00:00Z"),
        // Midnight in New York, as Yahoo stamps a session.
        ("America/New_York", "1704171600", "2024-01-02T00:00:00Z"),
        ("Asia/Tokyo", "1704121200000", "2024-01-02T00:00:00Z"),
        ("UTC", "1704103200000", "2024-01-01T00:00:00Z"),
        // Skipped by the clocks of this zone, but a session has no clock.
        ("America/New_York", "2024-03-10 02:30:00", "2024-03-10T00:00:00Z"),
    ] {
        assert_eq!(known(&mut times(zone), time, "", true).as_deref(), Ok(expected), "{time} {zone}");
    }
}

// Red if a time of day beside the date of a day is passed over: its date can be that of the evening before.
#[test]
fn a_day_with_a_time_of_day_needs_a_zone_and_in_the_evening_the_start_of_its_session() {
    let with = |zone: Option<&str>, start: Option<&str>| {
        let options = TimeOptions {
            zone: zone.map(|zone| zone.parse().unwrap()),
            session_start: start.map(|start| start.parse().unwrap()),
            ..TimeOptions::default()
        };
        Times::new(options)
    };
    let new_york = Some("America/New_York");
    for (zone, start, time, expected) in [
        (None, None, "2024-02-15 22:00:00", Err("expected a date or midnight for a bar of a day or more")),
        (None, None, "2024-02-15T05:00:00Z", Err("expected --tz, since the date")),
        (None, None, "2024-02-15 09:30:00-05:00", Err("expected --tz, since the date")),
        (None, None, "2024-02-15 00:00:00-05:00", Ok("2024-02-15")),
        (Some("Australia/Sydney"), None, "2023-11-09T23:00:00.000Z", Ok("2023-11-10")),
        (Some("Australia/Sydney"), None, "2023-07-04T00:00:00.000Z", Ok("2023-07-04")),
        (new_york, None, "2024-02-15 09:30", Ok("2024-02-15")),
        (new_york, None, "2024-02-15 16:00", Err("expected --session-start for a bar of a day or more")),
        (new_york, Some("00:00"), "2024-02-15 16:00", Ok("2024-02-15")),
        (new_york, Some("17:00"), "2024-02-15 16:00", Ok("2024-02-15")),
        (new_york, Some("17:00"), "2024-02-15 17:00", Ok("2024-02-16")),
        (new_york, Some("17:00"), "2024-02-18T22:00:00Z", Ok("2024-02-19")),
        (new_york, Some("17:00"), "2024-07-18T21:00:00Z", Ok("2024-07-19")),
        (None, Some("17:00"), "2024-02-15 17:00", Err("expected a date or midnight")),
    ] {
        let read = known(&mut with(zone, start), time, "", true);
        match expected {
            Ok(date) => assert_eq!(read, Ok(format!("{date}T00:00:00Z")), "{zone:?} {start:?} {time}"),
            Err(message) => assert!(read.as_ref().is_err_and(|error| error.contains(message)), "{time}: {read:?}"),
        }
    }
    for text in ["9:30", "11:59", "24:00", "17", "17:60", "", "a:b", "017:00"] {
        let error = text.parse::<SessionStart>().expect_err(text).to_string();
        assert!(error.starts_with("expected a time from 12:00 to 23:59 such as 17:00, or 00:00"), "{error}");
    }
}

// Red if what is left of a day in floating point makes a time of its own, or a last moment is taken for that.
#[test]
fn a_time_within_a_tenth_of_a_millisecond_of_a_second_is_that_second() {
    let mut times = times("UTC");
    for (time, expected) in [
        ("2024-01-02 09:29:59.999997", "2024-01-02T09:30:00Z"),
        ("2024-01-02 09:31:00.000002", "2024-01-02T09:31:00Z"),
        ("2024-01-02 23:59:59.999994", "2024-01-03T00:00:00Z"),
        ("2024-01-02 09:29:59.999999", "2024-01-02T09:29:59.999999Z"),
        ("2024-01-02 09:29:59.999", "2024-01-02T09:29:59.999Z"),
        ("1704187800000003", "2024-01-02T09:30:00Z"),
    ] {
        assert_eq!(known(&mut times, time, "", false).as_deref(), Ok(expected), "{time}");
    }
    assert_eq!(times.rounded(), 4);
    assert_eq!(known(&mut times, "2024-01-02 23:59:59.999994", "", true).as_deref(), Ok("2024-01-03T00:00:00Z"));
    times.take_as_written();
    assert_eq!(
        known(&mut times, "2024-01-02 09:31:00.000002", "", false).as_deref(),
        Ok("2024-01-02T09:31:00.000002Z")
    );
}

// Red when the option is dropped for files of our own columns, whose times are taken as they are written.
#[test]
fn sessions_of_our_own_columns_begin_when_the_option_says() {
    for (start, expected) in [(None, "2024-01-02T23:00:00Z"), (Some("17:00"), "2024-01-03T00:00:00Z")] {
        let mut times = Times::new(TimeOptions {
            zone: Some("America/Chicago".parse().unwrap()),
            session_start: start.map(|start| start.parse().unwrap()),
            ..TimeOptions::default()
        });
        times.take_as_written();
        assert_eq!(known(&mut times, "2024-01-02T23:00:00Z", "", true).as_deref(), Ok(expected));
    }
}

// Red if the end of a bar is stored as its beginning, or its last moment is another time than its end.
#[test]
fn an_end_is_one_timeframe_behind_the_beginning() {
    let mut times = times("UTC");
    times.are_ends();
    for (timeframe, time, expected) in [
        ("1h", "2024-01-03T00:00:00Z", "2024-01-02T23:00:00Z"),
        ("1m", "2024-01-02 09:30:59", "2024-01-02T09:30:00Z"),
        ("1m", "2024-01-02 09:30:59.999", "2024-01-02T09:30:00Z"),
        ("1m", "1704187859999999", "2024-01-02T09:30:00Z"),
        ("1s", "2024-01-02 09:30:59", "2024-01-02T09:30:58Z"),
        ("1d", "2024-01-03T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("1d", "2024-01-02T23:59:59.999Z", "2024-01-02T00:00:00Z"),
        ("1d", "2024-01-02T23:59:59Z", "2024-01-02T00:00:00Z"),
    ] {
        let timeframe: Timeframe = timeframe.parse().unwrap();
        let reading = times.read(time, None, timeframe.is_day_or_more()).unwrap();
        match times.begin_of(reading, timeframe, false) {
            Ok(Reading::Known(ts, _)) => assert_eq!(ts.to_string(), expected, "{timeframe} {time}"),
            other => panic!("{timeframe} {time}: {other:?}"),
        }
    }
    // The session of a close in New York, and of one that began the evening before.
    for (start, time, expected) in [
        (None, "2024-01-02 16:00", "2024-01-02"),
        (None, "2024-01-02T21:00:00Z", "2024-01-02"),
        (Some("17:00"), "2024-01-02 17:00", "2024-01-02"),
        (Some("18:00"), "2024-01-02 17:00", "2024-01-02"),
        (None, "2024-01-03 00:00", "2024-01-02"),
    ] {
        let mut times = Times::new(TimeOptions {
            zone: Some("America/New_York".parse().unwrap()),
            session_start: start.map(|start: &str| start.parse().unwrap()),
            ts_is: Some(TsIs::End),
            ..TimeOptions::default()
        });
        let reading = times.read(time, None, true).unwrap();
        match times.begin_of(reading, Timeframe::DAY, false) {
            Ok(Reading::Known(ts, _)) => assert_eq!(ts.to_string(), format!("{expected}T00:00:00Z"), "{time}"),
            other => panic!("{time}: {other:?}"),
        }
    }
    let reading = times.read("2024-01-08T00:00:00Z", None, true).unwrap();
    assert!(times.begin_of(reading, "1w".parse().unwrap(), false).is_err());
    let reading = times.read("2024-01-02", None, true).unwrap();
    assert!(times.begin_of(reading, Timeframe::DAY, true).is_err());
}

// Red if a number that has lost its zero is read as another time.
#[test]
fn a_time_of_day_that_is_a_number_may_lack_its_first_zeros() {
    let mut times = times("UTC");
    for (clock, expected) in
        [("93003", "T09:30:03Z"), ("093003", "T09:30:03Z"), ("1430", "T00:14:30Z"), ("0", "T00:00:00Z")]
    {
        assert_eq!(known(&mut times, "20240102", clock, false), Ok(format!("2024-01-02{expected}")), "{clock}");
    }
}

// Sabotage: take them for the winter's offset that the time zone database has under such a name.
#[test]
fn an_abbreviation_that_is_used_in_summer_too_is_no_zone() {
    for name in ["EST", "MST", "HST", "est", "EDT", "Somewhere", "am"] {
        let text = format!("20240702 09:30:00 {name}");
        assert!(times("UTC").read(&text, None, false).is_err(), "{text}");
    }
    // UTC by its form, and not by the option.
    let problem = times("America/New_York").read("20240702-09:30:00", None, false).unwrap_err().into_parts();
    assert_eq!(problem.1.as_deref(), Some("give --ts-format %Y%m%d-%H:%M:%S"));
}

// Red if an epoch that is no midnight is dated in UTC because no zone is given: it would be the day before for
// all that lies east of London.
#[test]
fn a_session_s_epoch_needs_a_zone_unless_it_is_midnight_in_utc() {
    let mut times = of(None, None);
    assert_eq!(known(&mut times, "1704153600000", "", true).as_deref(), Ok("2024-01-02T00:00:00Z"));
    assert_eq!(known(&mut times, "1704171600000", "", false).as_deref(), Ok("2024-01-02T05:00:00Z"));
    for (text, message, advice) in [
        (
            "1704171600000000000",
            "time: expected --tz, since the date of a bar of a day or more depends on the zone, got \
             \"1704171600000000000\", which is 2024-01-02T05:00:00Z",
            "give --tz America/New_York, where it is midnight",
        ),
        (
            "1704121200",
            "time: expected --tz, since the date of a bar of a day or more depends on the zone, got \"1704121200\", \
             which is 2024-01-01T15:00:00Z",
            "give the zone of the exchange, as in --tz America/New_York, or --tz UTC, and --session-start 17:00 beside it if its \
             sessions begin the evening before",
        ),
    ] {
        let problem = times.read(text, None, true).unwrap_err().into_parts();
        assert_eq!(problem, (message.to_owned(), Some(advice.to_owned())));
    }
    times.days_of_utc();
    assert_eq!(known(&mut times, "1704121200", "", true).as_deref(), Ok("2024-01-01T00:00:00Z"));
}

#[test]
fn a_time_that_the_clocks_skip_or_repeat_is_refused_with_both_readings() {
    let mut times = times("America/New_York");
    assert_eq!(
        known(&mut times, "2024-03-10 02:30", "", false).unwrap_err(),
        "time: expected a time with an offset, got 2024-03-10T02:30:00, which does not exist in America/New_York, \
         where the clocks change: it is 2024-03-10T07:30:00Z at offset -05 or 2024-03-10T06:30:00Z at offset -04"
    );
    assert_eq!(
        known(&mut times, "2024-11-03 01:30", "", false).unwrap_err(),
        "time: expected a time with an offset, got 2024-11-03T01:30:00, which occurs twice in America/New_York, \
         where the clocks change: it is 2024-11-03T05:30:00Z at offset -04 or 2024-11-03T06:30:00Z at offset -05"
    );
}

#[test]
fn a_format_reads_what_is_odd() {
    for (format, text, session, expected) in [
        ("%m/%d/%Y", "1/4/1999", true, "1999-01-04T00:00:00Z"),
        ("%d/%m/%Y", "1/4/1999", true, "1999-04-01T00:00:00Z"),
        ("%d-%b-%y", "04-Jan-99", true, "1999-01-04T00:00:00Z"),
        ("%b %d, %Y", "Jan 04, 1999", true, "1999-01-04T00:00:00Z"),
        ("%m/%d/%Y %I:%M %p", "1/4/1999 9:30 PM", false, "1999-01-05T02:30:00Z"),
        ("%Y%m%d%H%M%S", "19990104093000", false, "1999-01-04T14:30:00Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "1999-01-04T09:30:00+0100", false, "1999-01-04T08:30:00Z"),
        ("%F %T %Q", "1999-01-04 09:30:00 Europe/Berlin", false, "1999-01-04T08:30:00Z"),
        ("%s", "915442200", false, "1999-01-04T09:30:00Z"),
    ] {
        let mut times = of(Some("America/New_York"), Some(format));
        assert_eq!(known(&mut times, text, "", session).as_deref(), Ok(expected), "{format}");
    }
    let mut times = of(None, Some("%m/%d/%Y"));
    let error = known(&mut times, "13/1/1999", "", true).unwrap_err();
    assert!(error.starts_with(r#"time: expected a time as --ts-format "%m/%d/%Y" says, got "13/1/1999": "#), "{error}");
    let mut times = of(None, Some("%F %T%.f"));
    let error = known(&mut times, "2024-01-02 09:30:00.123456789", "", false).unwrap_err();
    assert!(error.starts_with("time: expected whole microseconds"), "{error}");
}

#[test]
fn wrong_options_name_the_value_and_what_is_expected() {
    assert_eq!(
        "Mars/Base".parse::<Zone>().unwrap_err().to_string(),
        r#"expected a time zone by its IANA name such as America/New_York, got "Mars/Base""#
    );
    assert_eq!("utc".parse::<Zone>().unwrap().to_string(), "UTC");
    assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
    for format in ["%H:%M", "%!", "%m/%d", "%", "no format", "%c"] {
        let error = format.parse::<TimeFormat>().expect_err(format).to_string();
        assert!(error.starts_with("expected a strptime format such as "), "{error}");
    }
}

#[test]
fn a_date_with_two_readings_keeps_both_until_one_is_proven() {
    let mut times = times("UTC");
    for (text, proves, differs) in [
        ("1/4/1999", None, true),
        ("1/1/1999", None, false),
        ("1/13/1999", Some(Order::MonthFirst), true),
        ("13.1.1999", Some(Order::DayFirst), true),
        ("13-01-1999 9:30", Some(Order::DayFirst), true),
    ] {
        let Reading::Either(either) = times.read(text, None, false).unwrap() else { panic!("{text}") };
        assert_eq!((either.proves, either.differs), (proves, differs), "{text}");
    }
    for text in ["13/13/1999", "1/4/99", "1/4-1999", "1/4/1999/", "1/4/1999 noon", "1/4", "//1999", "1/0/1999"] {
        let error = times.read(text, None, false).expect_err(text).to_string();
        assert!(error.starts_with("time: expected "), "{error}");
    }
    times.settle(Order::MonthFirst);
    assert_eq!(known(&mut times, "1/4/1999", "", true).as_deref(), Ok("1999-01-04T00:00:00Z"));
    assert_eq!(
        known(&mut times, "13/1/1999", "", true).unwrap_err(),
        r#"time: expected month, day, year as elsewhere in the file, got "13/1/1999""#
    );
    times.settle(Order::DayFirst);
    assert_eq!(known(&mut times, "1/4/1999", "", true).as_deref(), Ok("1999-04-01T00:00:00Z"));
}

#[test]
fn the_proposed_format_reads_the_date_it_was_made_from() {
    for text in ["1/4/1999", "01.04.1999", "1-4-1999 9:30", "1/4/1999 09:30:00", "1/4/1999 09:30:00.5", "1/4/1999T0930"]
    {
        for (order, expected) in [(Order::MonthFirst, "1999-01-04"), (Order::DayFirst, "1999-04-01")] {
            let format = proposed_format(text, order);
            let mut times = of(None, Some(&format));
            assert_eq!(known(&mut times, text, "", false).unwrap()[..10], *expected, "{format}");
        }
    }
}
