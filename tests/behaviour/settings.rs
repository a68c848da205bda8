//! Settings: what is read from variables and files, what is refused and how, and that documentation and code agree.

use std::{ffi::OsString, num::NonZeroU32, os::unix::ffi::OsStringExt, time::Duration};

use market_data_store::{
    CoordinatorSettings, Overflow, Scales, Settings,
    settings::{BreakerConfig, RetryPolicy},
    settings::{FeedbackSettings, HttpSettings, Loaded, LogFormat, Problem, SettingsError, Variable},
};

fn load(vars: &[(&str, &str)]) -> Result<Settings, String> {
    Settings::from_vars(vars.iter().copied()).map_err(|error| error.to_string())
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    assert_eq!(load(&[]), Ok(Settings::default()));
}

#[test]
fn every_value_arrives_in_its_field() {
    let mut expected = Settings::default();
    expected.database_url = "sqlite:///var/lib/bars.db".to_owned();
    expected.source = "db1:feed".to_owned();
    expected.coordinator.capacity = 200;
    expected.coordinator.high_watermark = Some(150);
    expected.coordinator.low_watermark = Some(0);
    expected.coordinator.workers = 2;
    expected.coordinator.batch_size = 10;
    expected.coordinator.flush_interval = Duration::from_millis(20);
    expected.coordinator.overflow = Overflow::DropOldest;
    expected.retry.initial_backoff = Duration::from_millis(5);
    expected.retry.max_backoff = Duration::from_millis(6);
    expected.retry.multiplier = 1.0;
    expected.retry.jitter = false;
    expected.shutdown_timeout = Duration::from_secs(90);
    expected.log = "warn".to_owned();
    expected.log_format = LogFormat::Json;
    let http = &mut expected.feedback.http;
    http.enabled = true;
    http.endpoints =
        ["https://ann:pa55@hooks.example/T0KEN?x=1", "http://[::1]:9000"].map(|url| url.parse().unwrap()).into();
    http.timeout = Duration::from_millis(700);
    http.max_attempts = NonZeroU32::new(7).unwrap();
    http.backoff = Duration::from_millis(40);
    http.secrets = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()];
    http.ca_file = Some("ca.pem".into());
    let vars = [
        ("MDS_DATABASE_URL", "sqlite:///var/lib/bars.db"),
        ("MDS_SOURCE", "db1:feed"),
        ("MDS_COORDINATOR_CAPACITY", "200"),
        ("MDS_COORDINATOR_HIGH_WATERMARK", "150"),
        ("MDS_COORDINATOR_LOW_WATERMARK", "0"),
        ("MDS_COORDINATOR_WORKERS", "2"),
        ("MDS_COORDINATOR_BATCH_SIZE", "10"),
        ("MDS_COORDINATOR_FLUSH_INTERVAL", "20ms"),
        ("MDS_COORDINATOR_OVERFLOW_STRATEGY", "drop_oldest"),
        ("MDS_RETRY_INITIAL_BACKOFF_MS", "5"),
        ("MDS_RETRY_MAX_BACKOFF_MS", "6"),
        ("MDS_RETRY_BACKOFF_MULTIPLIER", "1"),
        ("MDS_RETRY_JITTER", "false"),
        ("MDS_SHUTDOWN_TIMEOUT", "1.5m"),
        ("MDS_LOG", "warn"),
        ("MDS_LOG_FORMAT", "json"),
        ("MDS_FB_ENABLE_FEEDBACK", "true"),
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", "https://ann:pa55@hooks.example/T0KEN?x=1, http://[::1]:9000"),
        ("MDS_FB_HTTP_TIMEOUT", "700ms"),
        ("MDS_FB_HTTP_MAX_RETRIES", "7"),
        ("MDS_FB_HTTP_BACKOFF", "0.04"),
        ("MDS_FB_HTTP_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("MDS_FB_HTTP_CA_FILE", "ca.pem"),
    ];
    assert_eq!(load(&vars), Ok(expected));
    // Webhooks need feedback, so this one comes alone.
    assert!(!load(&[("MDS_FB_ENABLE_FEEDBACK", "false")]).unwrap().feedback.enabled);
}

#[test]
fn an_empty_value_is_no_value_and_spaces_around_one_do_not_count() {
    // Red if empty values reach envy: an empty number is an error there.
    let settings = load(&[("MDS_COORDINATOR_CAPACITY", ""), ("MDS_SOURCE", "  "), ("MDS_COORDINATOR_WORKERS", " 2\n")]);
    let mut expected = Settings::default();
    expected.coordinator.workers = 2;
    assert_eq!(settings, Ok(expected));
}

#[test]
fn capacity_alone_moves_both_default_watermarks() {
    let coordinator = load(&[("MDS_COORDINATOR_CAPACITY", "200")]).unwrap().coordinator;
    assert_eq!((coordinator.high(), coordinator.low()), (160, 100));
    let marks = coordinator.checked_watermarks().unwrap();
    assert_eq!((marks.high(), marks.low()), (160, 100));
}

#[test]
fn a_wrong_value_is_named_with_its_variable_and_what_was_expected() {
    for (name, value, message) in [
        ("MDS_COORDINATOR_CAPACITY", "0", r#"is "0", expected a whole number from 1 to 100000000"#),
        ("MDS_COORDINATOR_CAPACITY", "-5", r#"is "-5", expected a whole number from 1 to 100000000"#),
        ("MDS_COORDINATOR_CAPACITY", "1e4", r#"is "1e4", expected a whole number from 1 to 100000000"#),
        ("MDS_COORDINATOR_CAPACITY", "100000001", r#"is "100000001", expected a whole number from 1 to 100000000"#),
        ("MDS_COORDINATOR_LOW_WATERMARK", "50%", r#"is "50%", expected a whole number from 0 to 100000000"#),
        ("MDS_COORDINATOR_WORKERS", "1025", r#"is "1025", expected a whole number from 1 to 1024"#),
        (
            "MDS_COORDINATOR_BATCH_SIZE",
            "99999999999999999999",
            r#"is "99999999999999999999", expected a whole number from 1 to 1000000"#,
        ),
        (
            "MDS_COORDINATOR_FLUSH_INTERVAL",
            "0",
            r#"is "0", expected seconds from 0.001 to 86400, as a number (0.25) or with a unit (250ms, 2s, 1m)"#,
        ),
        (
            "MDS_COORDINATOR_FLUSH_INTERVAL",
            "soon",
            r#"is "soon", expected seconds from 0.001 to 86400, as a number (0.25) or with a unit (250ms, 2s, 1m)"#,
        ),
        ("MDS_COORDINATOR_OVERFLOW_STRATEGY", "Block", r#"is "Block", expected block, drop_oldest, error or conflate"#),
        (
            "MDS_RETRY_INITIAL_BACKOFF_MS",
            "50ms",
            r#"is "50ms", expected a whole number of milliseconds from 1 to 3600000"#,
        ),
        ("MDS_RETRY_BACKOFF_MULTIPLIER", "0.5", r#"is "0.5", expected a number from 1 to 1000"#),
        ("MDS_RETRY_BACKOFF_MULTIPLIER", "NaN", r#"is "NaN", expected a number from 1 to 1000"#),
        ("MDS_RETRY_JITTER", "yes", r#"is "yes", expected true or false"#),
        (
            "MDS_SHUTDOWN_TIMEOUT",
            "2d",
            r#"is "2d", expected seconds from 0 to 86400, as a number (0.25) or with a unit (250ms, 2s, 1m)"#,
        ),
        ("MDS_LOG_FORMAT", "xml", r#"is "xml", expected text or json"#),
        ("MDS_FB_ENABLE_FEEDBACK", "1", r#"is "1", expected true or false"#),
        ("MDS_SOURCE", "a\tb", r#"is "a\tb", expected 1 to 255 bytes without control characters or other hidden ones"#),
        ("MDS_DATABASE_URL", "bars.db", r#"is "bars.db", expected sqlite://PATH or postgres://USER@HOST/DATABASE"#),
        ("MDS_DATABASE_URL", "sqlite://", r#"is "sqlite://", expected sqlite://PATH or postgres://USER@HOST/DATABASE"#),
        // Red if the password is shown.
        (
            "MDS_FB_HTTP_ENDPOINT",
            "http://ann:pa55@db/x,hooks.example/T0KEN",
            r#"is "http://db:80,<it does not begin with http:// or https://>", expected http:// or https:// and a host, or several of these with commas"#,
        ),
        (
            "MDS_FB_HTTP_SECRET",
            "pa55",
            r#"is "***", expected whsec_ and the base64 of 24 to 64 bytes, or several of these with commas"#,
        ),
        (
            "MDS_DATABASE_URL",
            "mysql://ann:pa55@db/x",
            r#"is "mysql://ann:***@db/x", expected sqlite://PATH or postgres://USER@HOST/DATABASE"#,
        ),
    ] {
        assert_eq!(load(&[(name, value)]), Err(format!("{name} {message}")));
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_both() {
    let (capacity, high, low) =
        ("MDS_COORDINATOR_CAPACITY", "MDS_COORDINATOR_HIGH_WATERMARK", "MDS_COORDINATOR_LOW_WATERMARK");
    for (vars, message) in [
        (
            vec![(capacity, "100"), (high, "60"), (low, "60")],
            "MDS_COORDINATOR_LOW_WATERMARK is 60, expected less than MDS_COORDINATOR_HIGH_WATERMARK, which is 60",
        ),
        (
            vec![(capacity, "100"), (low, "90")],
            "MDS_COORDINATOR_LOW_WATERMARK is 90, expected less than MDS_COORDINATOR_HIGH_WATERMARK, \
             which is 80 by default",
        ),
        (
            vec![(capacity, "100"), (high, "40")],
            "MDS_COORDINATOR_LOW_WATERMARK is 50 by default, expected less than MDS_COORDINATOR_HIGH_WATERMARK, \
             which is 40",
        ),
        (
            vec![(capacity, "100"), (high, "101")],
            "MDS_COORDINATOR_HIGH_WATERMARK is 101, expected at most MDS_COORDINATOR_CAPACITY, which is 100",
        ),
        (vec![("MDS_FB_HTTP_REFRESH", "0.01")], "MDS_FB_HTTP_REFRESH is 0.01, expected 0, or at least 0.1"),
        (
            vec![("MDS_RETRY_MAX_BACKOFF_MS", "49")],
            "MDS_RETRY_MAX_BACKOFF_MS is 49, expected at least MDS_RETRY_INITIAL_BACKOFF_MS, which is 50",
        ),
    ] {
        assert_eq!(load(&vars), Err(message.to_owned()));
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_nothing_that_follows_from_it() {
    // Red if reading stops at the first error, or if 20000 is compared with a capacity that was not understood.
    let error = load(&[
        ("MDS_RETRY_JITTER", "on"),
        ("MDS_COORDINATOR_CAPACITY", "many"),
        ("MDS_COORDINATOR_HIGH_WATERMARK", "20000"),
        ("MDS_COORDINATOR_WORKERS", "0"),
    ]);
    let message = "\
MDS_COORDINATOR_CAPACITY is \"many\", expected a whole number from 1 to 100000000
MDS_COORDINATOR_WORKERS is \"0\", expected a whole number from 1 to 1024
MDS_RETRY_JITTER is \"on\", expected true or false";
    assert_eq!(error, Err(message.to_owned()));
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let vars = [("MDS_COORDINATR_WORKERS", "8"), ("MDS_CAPACITY", "1"), ("MDSX_LOG", "1"), ("HOME", "/")];
    let loaded = Settings::load(vars).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    let warnings: Vec<String> = loaded.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "unknown variable MDS_CAPACITY is ignored, the nearest known name is MDS_COORDINATOR_CAPACITY",
            "unknown variable MDS_COORDINATR_WORKERS is ignored, the nearest known name is MDS_COORDINATOR_WORKERS",
        ]
    );
}

#[test]
fn a_value_that_is_not_text_is_refused_only_where_it_matters() {
    // Red if the environment is handed to envy as it is: envy panics over any variable that is not UTF-8.
    let broken = OsString::from_vec(vec![b'a', 0xff]);
    let vars = [("OTHER".into(), broken.clone()), (OsString::from_vec(vec![0xfe]), broken.clone())];
    assert_eq!(Settings::from_vars(vars), Ok(Settings::default()));
    let error = Settings::from_vars([("MDS_LOG_FORMAT", broken)]).unwrap_err();
    assert_eq!(error.to_string(), "MDS_LOG_FORMAT is not valid UTF-8, expected text or json");
}

#[test]
fn assigned_values_are_checked_like_those_of_the_environment() {
    let mut settings = Settings::default();
    settings.coordinator.high_watermark = Some(10_001);
    settings.shutdown_timeout = Duration::from_secs(1_000_000);
    settings.retry.multiplier = f64::NAN;
    let message = "\
MDS_COORDINATOR_HIGH_WATERMARK is 10001, expected at most MDS_COORDINATOR_CAPACITY, which is 10000
MDS_RETRY_BACKOFF_MULTIPLIER is \"NaN\", expected a number from 1 to 1000
MDS_SHUTDOWN_TIMEOUT is \"1000000\", expected seconds from 0 to 86400, as a number (0.25) or with a unit \
                   (250ms, 2s, 1m)";
    assert_eq!(settings.validate().unwrap_err().to_string(), message);
}

// Red when a setter writes another field, or a zero gets as far as the store's own parts.
#[test]
fn settings_of_a_coordinator_are_set_in_a_row_and_zeros_are_refused() {
    let coordinator = CoordinatorSettings::new(100)
        .watermarks(10, 20)
        .workers(3)
        .batch_size(7)
        .flush_interval(Duration::from_millis(20))
        .overflow(Overflow::Error);
    let vars = [
        ("MDS_COORDINATOR_CAPACITY", "100"),
        ("MDS_COORDINATOR_LOW_WATERMARK", "10"),
        ("MDS_COORDINATOR_HIGH_WATERMARK", "20"),
        ("MDS_COORDINATOR_WORKERS", "3"),
        ("MDS_COORDINATOR_BATCH_SIZE", "7"),
        ("MDS_COORDINATOR_FLUSH_INTERVAL", "20ms"),
        ("MDS_COORDINATOR_OVERFLOW_STRATEGY", "error"),
    ];
    assert_eq!(load(&vars).unwrap().coordinator, coordinator);

    let mut settings = Settings::default();
    settings.coordinator = CoordinatorSettings::new(0).workers(0).batch_size(0);
    let message = "\
MDS_COORDINATOR_CAPACITY is \"0\", expected a whole number from 1 to 100000000
MDS_COORDINATOR_WORKERS is \"0\", expected a whole number from 1 to 1024
MDS_COORDINATOR_BATCH_SIZE is \"0\", expected a whole number from 1 to 1000000";
    assert_eq!(settings.validate().unwrap_err().to_string(), message);
}

#[test]
fn the_default_source_names_host_and_program() {
    let source = Settings::default().source;
    let (host, program) = source.split_once(':').unwrap();
    assert!(!host.is_empty());
    assert!(program.starts_with("behaviour"), "{program}");
}

/// Variables of single coordinators beside those of all.
const OWN: [(&str, &str); 9] = [
    ("MDS_COORDINATOR_CAPACITY", "1000"),
    ("MDS_COORDINATOR_WORKERS", "2"),
    ("MDS_QUOTES_COORDINATOR_CAPACITY", "50000"),
    ("MDS_QUOTES_COORDINATOR_HIGH_WATERMARK", "40000"),
    ("MDS_QUOTES_COORDINATOR_LOW_WATERMARK", "7"),
    ("MDS_QUOTES_COORDINATOR_BATCH_SIZE", "9"),
    ("MDS_QUOTES_COORDINATOR_FLUSH_INTERVAL", "20ms"),
    ("MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY", "drop_oldest"),
    ("MDS_BARS_EU_1_COORDINATOR_WORKERS", "8"),
];

// Red when a variable of one coordinator reaches another one or another field, or loses against those of all.
#[test]
fn a_coordinator_can_have_variables_of_its_own() {
    let loaded = Settings::load(OWN).unwrap();
    let mut settings = loaded.settings.clone();
    assert_eq!(loaded.unknown, []);
    assert!(loaded.is_set("MDS_QUOTES_COORDINATOR_CAPACITY") && !loaded.is_set("MDS_QUOTES_COORDINATOR_WORKERS"));
    let common = CoordinatorSettings::new(1_000).workers(2);
    let quotes = CoordinatorSettings::new(50_000)
        .watermarks(7, 40_000)
        .workers(2)
        .batch_size(9)
        .flush_interval(Duration::from_millis(20))
        .overflow(Overflow::DropOldest);
    assert_eq!(settings.coordinator_settings("quotes"), quotes);
    assert_eq!(settings.coordinator_settings("Quotes"), quotes);
    assert_eq!(settings.coordinator_settings("bars-eu.1"), common.clone().workers(8));
    for other in ["bars", "bars-eu", "quotes_2", "coordinator", ""] {
        assert_eq!(settings.coordinator_settings(other), common, "{other:?}");
    }
    // What is assigned for all stands in the place of their variables, so a coordinator's own go over it.
    settings.coordinator = CoordinatorSettings::new(70).workers(3);
    let quotes = settings.coordinator_settings("quotes");
    assert_eq!((quotes.capacity, quotes.workers), (50_000, 3));
}

// Red when a variable that no coordinator takes up is told of nowhere.
#[test]
fn variables_of_a_coordinator_that_is_not_there_are_found() {
    let settings = Settings::from_vars(OWN).unwrap();
    assert_eq!(settings.unused_variables(["quotes", "bars-eu.1", "news"]), [""; 0]);
    assert_eq!(settings.unused_variables(["quotes"]), ["MDS_BARS_EU_1_COORDINATOR_WORKERS"]);
    assert_eq!(settings.unused_variables(["bars"]).len(), 7);
}

// Red when an error names the variable of all coordinators, or one that is right.
#[test]
fn what_is_wrong_with_a_coordinator_is_told_by_the_name_of_its_own_variable() {
    for (vars, message) in [
        (
            vec![("MDS_QUOTES_COORDINATOR_CAPACITY", "0")],
            r#"MDS_QUOTES_COORDINATOR_CAPACITY is "0", expected a whole number from 1 to 100000000"#,
        ),
        (
            vec![("MDS_QUOTES_COORDINATOR_FLUSH_INTERVAL", "soon")],
            "MDS_QUOTES_COORDINATOR_FLUSH_INTERVAL is \"soon\", expected seconds from 0.001 to 86400, as a number (0.25) \
             or with a unit (250ms, 2s, 1m)",
        ),
        (
            vec![("MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY", "drop")],
            r#"MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY is "drop", expected block, drop_oldest, error or conflate"#,
        ),
        (
            vec![("MDS_QUOTES_COORDINATOR_HIGH_WATERMARK", "20000")],
            "MDS_QUOTES_COORDINATOR_HIGH_WATERMARK is 20000, expected at most MDS_COORDINATOR_CAPACITY, which is 10000",
        ),
        (
            vec![("MDS_QUOTES_COORDINATOR_CAPACITY", "100"), ("MDS_COORDINATOR_LOW_WATERMARK", "4000")],
            "MDS_COORDINATOR_LOW_WATERMARK is 4000, expected less than MDS_COORDINATOR_HIGH_WATERMARK, which is 80 by \
             default for MDS_QUOTES_COORDINATOR_CAPACITY",
        ),
        (
            // Of what is wrong for all, a coordinator that changes none of it says nothing more.
            vec![("MDS_QUOTES_COORDINATOR_WORKERS", "3"), ("MDS_COORDINATOR_HIGH_WATERMARK", "20000")],
            "MDS_COORDINATOR_HIGH_WATERMARK is 20000, expected at most MDS_COORDINATOR_CAPACITY, which is 10000",
        ),
        (
            vec![
                ("MDS_QUOTES_COORDINATOR_WORKERS", "0"),
                ("MDS_FB_SCALE_HARD", "2"),
                ("MDS_BARS_COORDINATOR_WORKERS", "x"),
            ],
            "MDS_FB_SCALE_HARD is \"2\", expected a number from 0 to 1\n\
             MDS_BARS_COORDINATOR_WORKERS is \"x\", expected a whole number from 1 to 1024\n\
             MDS_QUOTES_COORDINATOR_WORKERS is \"0\", expected a whole number from 1 to 1024",
        ),
    ] {
        assert_eq!(load(&vars), Err(message.to_owned()));
    }
    let loaded = Settings::load([("MDS_QUOTES_COORDINATOR_CAPCITY", "1")]).unwrap();
    assert_eq!(loaded.unknown[0].nearest, "MDS_QUOTES_COORDINATOR_CAPACITY");
    assert_eq!(loaded.settings, Settings::default());
}

// Red when what a coordinator has of its own stands nowhere, or away from the variables of all.
#[test]
fn values_in_effect_are_listed_with_those_of_single_coordinators() {
    let settings = Settings::from_vars(OWN).unwrap();
    let values = settings.values();
    let listed: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    let last_of_all = listed.iter().position(|name| *name == "MDS_COORDINATOR_OVERFLOW_STRATEGY").unwrap();
    assert_eq!(&listed[last_of_all + 1..][..2], ["MDS_BARS_EU_1_COORDINATOR_WORKERS", OWN[2].0]);
    assert_eq!(values.len(), Variable::ALL.len() + 7);
    for (name, value) in OWN {
        let value = value.replace("20ms", "0.02");
        assert_eq!(values.iter().find(|row| row.name == name).map(|row| &row.value), Some(&value), "{name}");
    }
}

// Red when a field has another name in a file than in the code, or a duration is read in one form alone.
#[test]
fn a_file_of_settings_is_read_by_the_names_of_the_fields() {
    let file = r#"{
        "database_url": "sqlite://bars.db", "source": "db1:feed", "dlq_path": "letters", "shutdown_timeout": 90,
        "log": "warn", "log_format": "json",
        "coordinator": {"capacity": 100, "high_watermark": 80, "workers": 2, "batch_size": 7, "flush_interval": "20ms",
                        "overflow": "error"},
        "coordinators": {"quotes-eu": {"capacity": 200, "low_watermark": 3, "flush_interval": 0.5}},
        "retry": {"initial_backoff": 0.005, "max_backoff": "6s", "multiplier": 1.5, "jitter": false, "max_attempts": 9},
        "circuit": {"failure_threshold": 0, "half_open_after": "1m"},
        "feedback": {
            "enabled": true, "scales": {"soft": 0.25},
            "http": {"enabled": true, "endpoints": ["http://h/a,b"], "timeout": 1, "max_attempts": 4, "backoff": "40ms",
                     "secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ca_file": "ca.pem"}
        }
    }"#;
    let settings: Settings = serde_json::from_str(file).unwrap();
    let mut coordinator = CoordinatorSettings::new(100)
        .workers(2)
        .batch_size(7)
        .flush_interval(Duration::from_millis(20))
        .overflow(Overflow::Error);
    coordinator.high_watermark = Some(80);
    let scales = Scales { soft: 0.25, ..Scales::default() };
    let http = HttpSettings::to(["http://h/a,b".parse().unwrap()])
        .timeout(Duration::from_secs(1))
        .max_attempts(NonZeroU32::new(4).unwrap())
        .backoff(Duration::from_millis(40))
        .secrets(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
        .ca_file("ca.pem");
    let retry = RetryPolicy {
        initial_backoff: Duration::from_millis(5),
        max_backoff: Duration::from_secs(6),
        multiplier: 1.5,
        jitter: false,
        max_attempts: NonZeroU32::new(9).unwrap(),
    };
    let mut expected = Settings::default()
        .database_url("sqlite://bars.db")
        .source("db1:feed")
        .dlq_path("letters")
        .shutdown_timeout(Duration::from_secs(90))
        .coordinator(coordinator.clone())
        .retry(retry)
        .circuit(BreakerConfig { failure_threshold: None, half_open_after: Duration::from_secs(60) })
        .feedback(FeedbackSettings::default().enabled(true).scales(scales).http(http));
    (expected.log, expected.log_format) = ("warn".to_owned(), LogFormat::Json);
    expected.coordinators = settings.coordinators.clone();
    assert_eq!(settings, expected);
    let quotes = settings.coordinator_settings("quotes-eu");
    assert_eq!((quotes.capacity, quotes.low(), quotes.high()), (200, 3, 80));
    assert_eq!((quotes.flush_interval, quotes.workers), (Duration::from_millis(500), 2));
    assert_eq!(settings.validate(), Ok(()));
    assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
}

// Red when a name that is no setting passes in silence, or an error shows a URL or a secret.
#[test]
fn a_file_of_settings_that_is_wrong_is_refused_without_its_secrets() {
    for (file, expected) in [
        (r#"{"databse_url": "x"}"#, "unknown field `databse_url`"),
        (r#"{"coordinator": {"capcity": 1}}"#, "unknown field `capcity`"),
        (r#"{"coordinators": {"quotes": {"overflow_strategy": "block"}}}"#, "unknown field `overflow_strategy`"),
        (r#"{"retry": {"initial_backoff_ms": 5}}"#, "unknown field `initial_backoff_ms`"),
        (r#"{"circuit": {"threshold": 5}}"#, "unknown field `threshold`"),
        (r#"{"feedback": {"scales": {"mid": 1}}}"#, "unknown field `mid`"),
        (r#"{"feedback": {"http": {"endpoint": ""}}}"#, "unknown field `endpoint`"),
        (r#"{"shutdown_timeout": "soon"}"#, "expected seconds as a number (0.25) or a number with a unit"),
        (r#"{"shutdown_timeout": -1}"#, "expected seconds as a number (0.25)"),
        (r#"{"coordinator": {"flush_interval": 1e300}}"#, "expected seconds as a number (0.25)"),
        (r#"{"feedback": {"http": {"endpoints": "ftp://pa55@h"}}}"#, "it does not begin with http:// or https://"),
        (r#"{"feedback": {"http": {"endpoints": ["http://pa55 @h"]}}}"#, "it holds a character that a URL cannot"),
        (r#"{"feedback": {"http": {"secrets": [["pa55"]]}}}"#, "expected a list of texts"),
    ] {
        let error = serde_json::from_str::<Settings>(file).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("pa55"), "{file}: {error}");
    }
    // A value out of range is the store's to refuse, by the name of the variable.
    let file = r#"{"coordinators": {"quotes": {"workers": 0}}, "feedback": {"http": {"secrets": "pa55"}}}"#;
    let error = serde_json::from_str::<Settings>(file).unwrap().validate().unwrap_err().to_string();
    assert_eq!(
        error,
        "MDS_FB_HTTP_SECRET is \"***\", expected whsec_ and the base64 of 24 to 64 bytes, or several of these with commas\n\
         MDS_QUOTES_COORDINATOR_WORKERS is \"0\", expected a whole number from 1 to 1024"
    );
}

// Red when a URL that is never sent to is told of nowhere, or what is meant is warned of.
#[test]
fn a_url_without_broadcasting_is_a_warning() {
    let url = ("MDS_FB_HTTP_ENDPOINT", "http://ann:pa55@h/T0KEN");
    let warnings = Settings::from_vars([url]).unwrap().warnings();
    assert_eq!(
        warnings,
        ["MDS_FB_HTTP_ENDPOINT is set, but MDS_FB_ENABLE_HTTP_BROADCAST is false: level changes are sent to no URL"]
    );
    let on = ("MDS_FB_ENABLE_HTTP_BROADCAST", "true");
    assert_eq!(Settings::from_vars([url, on]).unwrap().warnings(), [""; 0]);
    assert_eq!(Settings::default().warnings(), [""; 0]);
}

// Red when settings show a password or a secret by `Debug`.
#[test]
fn settings_show_no_secret() {
    let settings = Settings::default().database_url("postgres://ann:pa55@db/x").feedback(
        FeedbackSettings::default().http(HttpSettings::to(["http://u:pa55@h/pa55".parse().unwrap()]).secrets(["pa55"])),
    );
    let shown = format!("{settings:?} {settings:#?} {:?}", settings.values());
    assert!(!shown.contains("pa55") && shown.contains("postgres://ann:***@db/x"), "{shown}");
    let error = settings.validate().unwrap_err().to_string();
    assert!(!error.contains("pa55") && error.contains("MDS_FB_HTTP_SECRET"), "{error}");
}

/// Settings whose secrets are in files: what each holds, by the variable that names it.
fn load_files(files: &[(&str, &str)], vars: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name.to_ascii_lowercase());
    let of_files = files.iter().map(|(name, bytes)| {
        std::fs::write(path(name), bytes).unwrap();
        (name.to_string(), path(name).into_os_string())
    });
    Settings::load(of_files.chain(vars.iter().map(|(name, value)| (name.to_string(), value.into()))))
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

// Red when a variable that may hold a secret has no file, it is read into another one, or what reads it sees a line ending.
#[test]
fn a_secret_comes_from_a_file() {
    let files = [
        ("MDS_DATABASE_URL_FILE", "postgres://ann:pa55@db/bars\n"),
        ("MDS_HTTP_TOKEN_FILE", "T0KEN-that-writes-records\n"),
        ("MDS_HTTP_READ_TOKEN_FILE", "T0KEN-that-reads-records\n"),
        ("MDS_HTTP_ADMIN_TOKEN_FILE", "T0KEN-that-replays-records"),
        ("MDS_FB_HTTP_ENDPOINT_FILE", "http://h/T0KEN,https://i\r\n"),
        ("MDS_FB_HTTP_SECRET_FILE", SECRET),
    ];
    let names: Vec<_> = Variable::ALL.iter().filter_map(Variable::file_variable).collect();
    assert_eq!(names, files.map(|(name, _)| name));
    let loaded = load_files(&files, &[]).unwrap();
    let expected = Settings::from_vars([
        ("MDS_DATABASE_URL", "postgres://ann:pa55@db/bars"),
        ("MDS_HTTP_TOKEN", "T0KEN-that-writes-records"),
        ("MDS_HTTP_READ_TOKEN", "T0KEN-that-reads-records"),
        ("MDS_HTTP_ADMIN_TOKEN", "T0KEN-that-replays-records"),
        ("MDS_FB_HTTP_ENDPOINT", "http://h/T0KEN,https://i"),
        ("MDS_FB_HTTP_SECRET", SECRET),
    ]);
    assert_eq!(loaded.settings, expected.unwrap());
    for (name, _) in files {
        let variable = name.strip_suffix("_FILE").unwrap();
        assert!(
            loaded.is_set(variable)
                && loaded.file(variable).is_some_and(|path| path.ends_with(name.to_ascii_lowercase()))
        );
    }
    assert!(loaded.unknown.is_empty() && loaded.file("MDS_SOURCE").is_none());
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(!["pa55", "T0KEN", "whsec"].iter().any(|secret| shown.contains(secret)), "{shown}");
    // An empty one counts as absent beside the variable itself.
    let vars = [("MDS_DATABASE_URL_FILE", ""), ("MDS_DATABASE_URL", "sqlite://a.d")];
    assert_eq!(Settings::from_vars(vars).unwrap().database_url, "sqlite://a.d");
    let loaded = Settings::load([("MDS_SOURCE_FILE", "x")]).unwrap();
    assert_eq!(loaded.unknown[0].nearest, "MDS_SOURCE");
    assert_eq!(Settings::load([("MDS_DATABASE_URL_FIL", "x")]).unwrap().unknown[0].nearest, "MDS_DATABASE_URL_FILE");
}

// Red when one of both is taken in silence, a file that cannot be used is passed over, the error does not say which, not
// all are told, a consequence is told beside it, or what a file holds shows.
#[test]
fn a_file_that_is_wrong_is_told_and_nothing_that_it_holds() {
    let problems = |files: &[(&str, &str)], vars: &[(&str, &str)]| {
        let error = load_files(files, vars).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!["pa55", "hunter", "T0KEN"].iter().any(|secret| text.contains(secret)), "{text}");
        // Without the path of this run.
        let short = |problem: &Problem| {
            let message = &problem.message;
            let end = message.find(&problem.variable.to_ascii_lowercase()).map(|at| at + problem.variable.len() + 1);
            end.map_or_else(|| message.clone(), |end| message[end..].to_owned())
        };
        error.problems.iter().map(|problem| (problem.variable.clone(), short(problem))).collect::<Vec<_>>()
    };
    let told = |expected: &[(&str, &str)]| -> Vec<_> {
        expected.iter().map(|(variable, text)| ((*variable).to_owned(), (*text).to_owned())).collect()
    };
    let (url, endpoint, secret) = ("MDS_DATABASE_URL_FILE", "MDS_FB_HTTP_ENDPOINT_FILE", "MDS_FB_HTTP_SECRET_FILE");
    assert_eq!(
        problems(&[(url, "postgres://ann:pa55@db/x")], &[("MDS_DATABASE_URL", "postgres://ann:pa55@db/x")]),
        told(&[(url, "MDS_DATABASE_URL and MDS_DATABASE_URL_FILE are both set, expected one of them")])
    );
    assert_eq!(
        problems(&[(secret, "hunter2\n"), (url, "hunter2"), (endpoint, "hunter2")], &[]),
        told(&[
            (url, ", expected a file that holds sqlite://PATH or postgres://USER@HOST/DATABASE"),
            (endpoint, ", expected a file that holds http:// or https:// and a host, or several of these with commas"),
            (
                secret,
                ", expected a file that holds whsec_ and the base64 of 24 to 64 bytes, or several of these with commas"
            ),
        ])
    );
    let on = ("MDS_FB_ENABLE_HTTP_BROADCAST", "true");
    assert_eq!(
        problems(&[(url, "\n"), (endpoint, "http://h/T0KEN\nhttp://i")], &[on]),
        told(&[
            (url, ", expected a file that holds the value, and it is empty"),
            (endpoint, ", expected a file of one line"),
        ])
    );
    let missing = Settings::from_vars([(url, "/no/such/file")]).unwrap_err().to_string();
    let expected = "MDS_DATABASE_URL_FILE is \"/no/such/file\", expected a file that can be read: No such file";
    assert!(missing.starts_with(expected), "{missing}");
    // The default would be a database that nobody meant, and webhooks without a signature.
    for name in [url, secret] {
        let empty = Settings::from_vars([(name, "")]).unwrap_err().to_string();
        assert_eq!(empty, format!("{name} is empty, expected the path of a file"));
    }
}

/// Every variable, each with the one that names its file behind it.
fn names() -> Vec<String> {
    Variable::ALL
        .iter()
        .flat_map(|variable| [Some(variable.name.to_owned()), variable.file_variable()])
        .flatten()
        .collect()
}

/// What config.example.env says of a variable, and of the one that names its file.
fn comments_on(variable: &Variable) -> impl Iterator<Item = String> + use<> {
    let file = variable.file_variable().map(|_| format!("A file that holds {} instead; default: none", variable.name));
    [Some(comment_on(variable)), file].into_iter().flatten()
}

fn comment_on(variable: &Variable) -> String {
    let mut comment = variable.about.replace('`', "");
    comment[..1].make_ascii_uppercase();
    if !variable.unit.is_empty() {
        comment += &format!(" ({})", variable.unit);
    }
    let in_effect = variable.value(&Settings::default());
    if variable.default != in_effect {
        comment += &format!("; default: {}", variable.default.replace('`', ""));
    }
    comment
}

#[test]
fn config_example_env_holds_every_variable_with_its_default() {
    // Red if a variable is added, removed, moved, or given another default, unit or meaning in one place alone.
    let text = include_str!("../../config.example.env");
    let vars: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("#MDS_").and_then(|_| line[1..].split_once('='))).collect();
    assert_eq!(vars.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names());

    let from_file = load(&vars).unwrap();
    let default = Settings::default();
    for variable in Variable::ALL {
        assert_eq!(variable.value(&from_file), variable.value(&default), "{}", variable.name);
    }
    let comments = text.split("\n\n").filter_map(|block| block.split_once("\n#MDS_")).map(|(comment, _)| comment);
    let comments: Vec<String> = comments
        .map(|comment| comment.lines().map(|line| line.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join(" "))
        .collect();
    let expected: Vec<String> = Variable::ALL.iter().flat_map(comments_on).collect();
    assert_eq!(comments, expected);
    let others = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0], "every line is a comment, so the file can be sourced as it is");
}

#[test]
fn the_page_lists_every_variable_with_its_default() {
    // Red if docs/CONFIGURATION.md and code disagree about a name, the order or a default.
    let rows: Vec<Vec<&str>> = include_str!("../../docs/CONFIGURATION.md")
        .lines()
        .filter(|line| line.starts_with("| `MDS_"))
        .map(|line| line.trim_matches('|').splitn(3, '|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0].trim_matches('`')).collect::<Vec<_>>(), names());
    for row in rows {
        let name = row[0].trim_matches('`');
        let is_of_file = |variable: &&Variable| variable.file_variable().is_some_and(|file| file == name);
        if let Some(variable) = Variable::ALL.iter().find(is_of_file) {
            assert_eq!(
                row[1..],
                ["none", &format!("a [file](#secrets-from-files) that holds `{}` instead", variable.name)]
            );
            continue;
        }
        let variable = Variable::find(name).unwrap();
        assert_eq!(row[1].replace('`', ""), variable.default.replace('`', ""), "{}", variable.name);
        assert!(!row[2].is_empty(), "{}", variable.name);
    }
}

// Red when a build that cannot send webhooks starts all the same, and is silent.
#[cfg(not(feature = "webhooks"))]
#[test]
fn a_build_without_webhooks_says_so() {
    let vars = [("MDS_FB_ENABLE_HTTP_BROADCAST", "true"), ("MDS_FB_HTTP_ENDPOINT", "http://127.0.0.1:9")];
    let mut settings = Settings::from_vars(vars).unwrap();
    settings.dlq_path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("dead_letters");
    let error = market_data_store::MarketDataStore::builder(settings).spawn().unwrap_err();
    let expected = "MDS_FB_ENABLE_HTTP_BROADCAST is true, expected false in a build without the feature webhooks";
    assert_eq!(error.to_string(), expected);
}

// Red when a store does not take up the variables of one coordinator, they go over its settings in code, or an id that
// a receiver refuses starts.
#[cfg(feature = "testing")]
#[actix::test]
async fn a_store_gives_a_coordinator_its_own_settings_and_a_name_that_others_take() {
    use market_data_store::{Coordinator, MarketDataStore, StartError, sink::MemorySink};

    let files = crate::support::settings();
    let vars = [("MDS_NEWS_EU_COORDINATOR_CAPACITY", "70"), ("MDS_CODE_COORDINATOR_CAPACITY", "80")];
    let settings = Settings::from_vars(vars).unwrap().dlq_path(&files.dlq_path);
    let ticks = |id: &str| Coordinator::new(MemorySink::<crate::support::Tick>::new()).id(id);
    let store = MarketDataStore::builder(settings.clone())
        .coordinator(ticks("news-eu"))
        .coordinator(ticks("code").settings(CoordinatorSettings::new(90)))
        .coordinator(ticks("other"))
        .start()
        .await
        .unwrap();
    for (id, capacity) in [("news-eu", 70), ("code", 90), ("other", 10_000)] {
        let handle = store.coordinator_named::<crate::support::Tick>(id).unwrap();
        assert_eq!(handle.health().await.capacity, capacity, "{id}");
    }
    store.shutdown(Duration::from_secs(5)).await;
    for id in ["", "a/b", "a\nb", "a\0", "a\u{202e}b", &"x".repeat(256)] {
        let refused = MarketDataStore::builder(settings.clone()).coordinator(ticks(id)).start().await.unwrap_err();
        assert!(matches!(refused, StartError::InvalidId(_)), "{id:?}: {refused}");
    }
}
