//! The table of variables.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    CAPACITY, ENABLE_FEEDBACK, ENABLE_HTTP, HIGH_WATERMARK, HTTP_ENDPOINT, INITIAL_BACKOFF, LOW_WATERMARK, MAX_BACKOFF,
    Problem, Settings, hidden, listed, masked, shown_endpoints,
};
use crate::{policy::Overflow, settings::endpoint::Endpoint};

/// One variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default as a reader should see it: the value itself, or how it is found.
    pub default: &'static str,
    /// What its number counts; empty where it is no number.
    pub unit: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    kind: Kind,
}

/// What a variable holds: its range, and where it lies in the settings.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Count(usize, usize, fn(&Settings) -> usize),
    /// Bounds in seconds.
    Seconds(f64, f64, fn(&Settings) -> Duration),
    /// Bounds in milliseconds.
    Millis(u64, u64, fn(&Settings) -> Duration),
    Factor(f64, f64, fn(&Settings) -> f64),
    Switch(fn(&Settings) -> bool),
    Choice(&'static str, fn(&Settings) -> &'static str),
    Text(&'static str, fn(&Settings) -> &str, fn(&str) -> bool),
    /// Like text, but it may hold a password.
    Url(&'static str, fn(&Settings) -> &str, fn(&str) -> bool),
    /// URLs with commas between, which may hold secrets anywhere but in scheme, host and port.
    Endpoints(fn(&Settings) -> &str),
    /// Secrets with commas between.
    Secrets(fn(&Settings) -> &str),
}

/// The most records that any number of records may be; with it no bound in memory or arithmetic is near.
const MOST: usize = 100_000_000;

/// Every variable that is read, in the order in which they are documented.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "MDS_DATABASE_URL",
        default: "sqlite://market_data.db",
        unit: "",
        about: "where records are stored; what follows `sqlite://` is a path, relative to the working directory",
        kind: Kind::Url(
            "sqlite://PATH",
            |s| &s.database_url,
            |url| url.strip_prefix("sqlite://").is_some_and(|path| !path.is_empty()),
        ),
    },
    Variable {
        name: "MDS_SOURCE",
        default: "host:program, host:mds-command in `mds`",
        unit: "",
        about: "names this process in events: different for processes that run at once, the same after a restart \
                (set it in containers)",
        kind: Kind::Text(
            "1 to 255 bytes without control characters",
            |s| &s.source,
            |source| (1..=255).contains(&source.len()) && !source.contains(char::is_control),
        ),
    },
    Variable {
        name: CAPACITY,
        default: "10000",
        unit: "records",
        about: "how many records wait in the queue at most",
        kind: Kind::Count(1, MOST, |s| s.coordinator.capacity),
    },
    Variable {
        name: HIGH_WATERMARK,
        default: "80 % of capacity",
        unit: "records",
        about: "queue size from which the level is hard; at most the capacity",
        kind: Kind::Count(1, MOST, |s| s.coordinator.high()),
    },
    Variable {
        name: LOW_WATERMARK,
        default: "50 % of capacity",
        unit: "records",
        about: "queue size down to which the level returns to ok; below the high watermark",
        kind: Kind::Count(0, MOST, |s| s.coordinator.low()),
    },
    Variable {
        name: "MDS_COORDINATOR_WORKERS",
        default: "4",
        unit: "workers",
        about: "how many batches are written at once",
        kind: Kind::Count(1, 1024, |s| s.coordinator.workers),
    },
    Variable {
        name: "MDS_COORDINATOR_BATCH_SIZE",
        default: "500",
        unit: "records",
        about: "how many records are written together at most",
        kind: Kind::Count(1, 1_000_000, |s| s.coordinator.batch_size),
    },
    Variable {
        name: "MDS_COORDINATOR_FLUSH_INTERVAL",
        default: "0.25",
        unit: "seconds",
        about: "how long a record waits for its batch to fill",
        kind: Kind::Seconds(0.001, 86_400.0, |s| s.coordinator.flush_interval),
    },
    Variable {
        name: "MDS_COORDINATOR_OVERFLOW_STRATEGY",
        default: "block",
        unit: "",
        about: "what happens when the queue is full: the producer waits (`block`), the oldest record is dropped \
                (`drop_oldest`), or the new one is refused (`error`)",
        kind: Kind::Choice("block, drop_oldest or error", |s| overflow(s.coordinator.overflow)),
    },
    Variable {
        name: INITIAL_BACKOFF,
        default: "50",
        unit: "milliseconds",
        about: "the wait before a failed write is tried again for the first time",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.initial_backoff),
    },
    Variable {
        name: MAX_BACKOFF,
        default: "2000",
        unit: "milliseconds",
        about: "the longest wait between attempts; at least the initial one",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.max_backoff),
    },
    Variable {
        name: "MDS_RETRY_BACKOFF_MULTIPLIER",
        default: "2.0",
        unit: "",
        about: "what each further failure multiplies the wait by",
        kind: Kind::Factor(1.0, 1000.0, |s| s.retry.multiplier),
    },
    Variable {
        name: "MDS_RETRY_JITTER",
        default: "true",
        unit: "",
        about: "waits a random 50 to 100 % of each wait, so that workers do not retry in step",
        kind: Kind::Switch(|s| s.retry.jitter),
    },
    Variable {
        name: "MDS_RETRY_MAX_ATTEMPTS",
        default: "5",
        unit: "attempts",
        about: "a batch that failed transiently so many times, three at least, is given up; all failures between which \
                the store answered no whole write of another batch are one time; without a circuit so many failures are enough",
        kind: Kind::Count(1, 1_000_000, |s| s.retry.max_attempts.get() as usize),
    },
    Variable {
        name: "MDS_CB_FAILURE_THRESHOLD",
        default: "5",
        unit: "failures",
        about: "so many transient failures in a row, over all workers, open the circuit; 0: it never opens, and an \
                outage that the sink does not call one dead-letters records",
        kind: Kind::Count(0, 1_000_000, |s| {
            s.circuit.failure_threshold.map_or(0, |threshold| threshold.get() as usize)
        }),
    },
    Variable {
        name: "MDS_CB_HALF_OPEN_AFTER_SEC",
        default: "10",
        unit: "seconds",
        about: "how long an open circuit leaves the store alone before it tries one batch",
        kind: Kind::Count(0, 86_400, |s| s.circuit.half_open_after.as_secs() as usize),
    },
    Variable {
        name: "MDS_DLQ_PATH",
        default: "dead_letters",
        unit: "",
        about: "the directory for records that could not be stored; made when the first one comes",
        kind: Kind::Text(
            "the path of a directory",
            |s| s.dlq_path.to_str().unwrap_or_default(),
            |path| !path.is_empty(),
        ),
    },
    Variable {
        name: "MDS_SHUTDOWN_TIMEOUT",
        default: "30",
        unit: "seconds",
        about: "how long a shutdown may take to store what was accepted",
        kind: Kind::Seconds(0.0, 86_400.0, |s| s.shutdown_timeout),
    },
    Variable {
        name: "MDS_LOG",
        default: "info",
        unit: "",
        about: "what `mds` logs to standard error: a level, or a filter such as `warn,market_data_store=debug`",
        kind: Kind::Text("a level or a filter such as warn,market_data_store=debug", |s| &s.log, |_| true),
    },
    Variable {
        name: "MDS_LOG_FORMAT",
        default: "text",
        unit: "",
        about: "the form of `mds`'s log: `text` or `json`",
        kind: Kind::Choice("text or json", |s| s.log_format.as_str()),
    },
    Variable {
        name: ENABLE_FEEDBACK,
        default: "true",
        unit: "",
        about: "publishes level changes to subscribers; when false they stay in health and metrics",
        kind: Kind::Switch(|s| s.feedback.enabled),
    },
    Variable {
        name: ENABLE_HTTP,
        default: "false",
        unit: "",
        about: "sends level changes to URLs, as webhooks",
        kind: Kind::Switch(|s| s.feedback.http.enabled),
    },
    Variable {
        name: HTTP_ENDPOINT,
        default: "none",
        unit: "",
        about: "the URL that level changes are sent to, or several with commas; a comma in a URL is written `%2C`",
        kind: Kind::Endpoints(|s| &s.feedback.http.endpoint),
    },
    Variable {
        name: "MDS_FB_HTTP_TIMEOUT",
        default: "2.5",
        unit: "seconds",
        about: "how long one attempt may take, from the connection to the end of the answer",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.timeout),
    },
    Variable {
        name: "MDS_FB_HTTP_MAX_RETRIES",
        default: "3",
        unit: "attempts",
        about: "attempts in all: after so many that failed in a row a URL is tried every 10 seconds, until the latest \
                event of each coordinator has arrived",
        kind: Kind::Count(1, 1_000_000, |s| s.feedback.http.max_attempts.get() as usize),
    },
    Variable {
        name: "MDS_FB_HTTP_BACKOFF",
        default: "0.5",
        unit: "seconds",
        about: "the wait after the first failure; it doubles from one to the next, up to 10 seconds, and is shortened \
                to a random 50 to 100 %",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.backoff),
    },
    Variable {
        name: "MDS_FB_HTTP_SECRET",
        default: "none",
        unit: "",
        about: "signs webhooks: `whsec_` and the base64 of 24 to 64 bytes, or several with commas while one replaces \
                another",
        kind: Kind::Secrets(|s| &s.feedback.http.secret),
    },
    Variable {
        name: "MDS_FB_HTTP_CA_FILE",
        default: "none",
        unit: "",
        about: "a file of certificates in PEM which alone may vouch for an `https` URL, instead of those that browsers \
                trust",
        kind: Kind::Text(
            "the path of a file of certificates in PEM",
            |s| s.feedback.http.ca_file.as_deref().map_or("", |path| path.to_str().unwrap_or("?")),
            |_| true,
        ),
    },
    Variable {
        name: "MDS_FB_SCALE_OK",
        default: "1.0",
        unit: "",
        about: "what a producer that follows the level multiplies its rate by at ok",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.ok),
    },
    Variable {
        name: "MDS_FB_SCALE_SOFT",
        default: "0.5",
        unit: "",
        about: "the same at soft",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.soft),
    },
    Variable {
        name: "MDS_FB_SCALE_HARD",
        default: "0.0",
        unit: "",
        about: "the same at hard; 0 stops it",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.hard),
    },
];

impl Variable {
    /// Returns the table's entry of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|variable| variable.name == name)
    }

    /// Returns the value in `settings` as the environment would write it, a password masked.
    pub fn value(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::Count(_, _, get) => get(settings).to_string(),
            Kind::Seconds(_, _, get) => get(settings).as_secs_f64().to_string(),
            Kind::Millis(_, _, get) => (get(settings).as_secs_f64() * 1000.0).to_string(),
            // With a full stop, so that it is seen to be no whole number.
            Kind::Factor(_, _, get) => format!("{:?}", get(settings)),
            Kind::Switch(get) => get(settings).to_string(),
            Kind::Choice(_, get) => get(settings).to_owned(),
            Kind::Text(_, get, _) => get(settings).to_owned(),
            Kind::Url(_, get, _) => masked(get(settings)),
            Kind::Endpoints(get) => shown_endpoints(get(settings)),
            Kind::Secrets(get) => hidden(get(settings)),
        }
    }

    /// Returns what a value has to be, to follow the word `expected`.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Seconds(min, max, _) => {
                format!("seconds from {min} to {max}, as a number (0.25) or with a unit (250ms, 2s, 1m)")
            }
            Kind::Millis(min, max, _) => format!("a whole number of milliseconds from {min} to {max}"),
            Kind::Factor(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Switch(_) => "true or false".to_owned(),
            Kind::Choice(expected, _) | Kind::Text(expected, ..) | Kind::Url(expected, ..) => expected.to_owned(),
            Kind::Endpoints(_) => "http:// or https:// and a host, or several of these with commas".to_owned(),
            Kind::Secrets(_) => "whsec_ and the base64 of 24 to 64 bytes, or several of these with commas".to_owned(),
        }
    }

    pub(super) fn accepts(&self, settings: &Settings) -> bool {
        match self.kind {
            Kind::Count(min, max, get) => (min..=max).contains(&get(settings)),
            Kind::Seconds(min, max, get) => within(min..=max, get(settings).as_secs_f64()),
            Kind::Millis(min, max, get) => {
                (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&get(settings))
            }
            Kind::Factor(min, max, get) => within(min..=max, get(settings)),
            Kind::Switch(_) | Kind::Choice(..) => true,
            Kind::Text(_, get, check) | Kind::Url(_, get, check) => check(get(settings)),
            Kind::Endpoints(get) => listed(get(settings)).all(|url| url.parse::<Endpoint>().is_ok()),
            Kind::Secrets(get) => listed(get(settings)).all(is_secret),
        }
    }

    /// Says that `text` is no value for this variable, and what one would be; a password in it is masked.
    pub fn problem(&self, text: &str) -> Problem {
        let text = match self.kind {
            Kind::Url(..) => masked(text),
            Kind::Endpoints(_) => shown_endpoints(text),
            Kind::Secrets(_) => hidden(text),
            _ => text.to_owned(),
        };
        Problem { variable: self.name, message: format!("{} is {text:?}, expected {}", self.name, self.expected()) }
    }
}

const fn overflow(strategy: Overflow) -> &'static str {
    match strategy {
        Overflow::Block => "block",
        Overflow::DropOldest => "drop_oldest",
        Overflow::Error => "error",
    }
}

/// Whether a text has the form of a secret of webhooks: what reads it is not in every build.
fn is_secret(text: &str) -> bool {
    let Some(encoded) = text.strip_prefix("whsec_") else { return false };
    let digits = encoded.trim_end_matches('=');
    let padding = encoded.len() - digits.len();
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let last = digits.bytes().last().unwrap_or_default();
    // Four digits are three bytes; what is left over of the last digit is zero, and padding is optional.
    let is_whole = match digits.len() % 4 {
        0 => padding == 0,
        2 => padding <= 2 && b"AQgw".contains(&last),
        3 => padding <= 1 && b"AEIMQUYcgkosw048".contains(&last),
        _ => false,
    };
    digits.bytes().all(is_digit) && is_whole && (24..=64).contains(&(digits.len() * 3 / 4))
}

fn within(range: RangeInclusive<f64>, value: f64) -> bool {
    range.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_in_the_table_is_the_default_in_the_code() {
        // Red if either is changed alone.
        let settings = Settings::default();
        for variable in VARIABLES {
            let value = variable.value(&settings);
            match variable.name {
                "MDS_SOURCE" => assert_eq!(variable.default, "host:program, host:mds-command in `mds`"),
                HIGH_WATERMARK => assert_eq!((variable.default, &*value), ("80 % of capacity", "8000")),
                LOW_WATERMARK => assert_eq!((variable.default, &*value), ("50 % of capacity", "5000")),
                HTTP_ENDPOINT | "MDS_FB_HTTP_SECRET" | "MDS_FB_HTTP_CA_FILE" => {
                    assert_eq!((variable.default, &*value), ("none", ""));
                }
                _ => assert_eq!(value, variable.default, "{}", variable.name),
            }
        }
    }

    #[test]
    fn every_variable_takes_its_own_value_back() {
        // Red if a variable is in the table and in no struct that is read, or is assigned to another field.
        for variable in VARIABLES {
            let other = match variable.kind {
                Kind::Count(_, max, _) => max.min(9_000).to_string(),
                Kind::Seconds(..) => "7.5".to_owned(),
                Kind::Millis(..) => "1234".to_owned(),
                // Written with a full stop, and unlike every default.
                Kind::Factor(_, max, _) => format!("{:?}", max / 4.0),
                Kind::Switch(_) => "false".to_owned(),
                Kind::Choice(expected, _) => expected.rsplit(' ').next().unwrap().to_owned(),
                Kind::Text(..) => "other".to_owned(),
                Kind::Url(..) => "sqlite://other.db".to_owned(),
                Kind::Endpoints(_) => "http://a:1,https://b:2".to_owned(),
                Kind::Secrets(_) => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            };
            let other = if variable.name == LOW_WATERMARK { "17".to_owned() } else { other };
            let loaded = Settings::load([(variable.name, &other)]).unwrap();
            let other = if matches!(variable.kind, Kind::Secrets(_)) { "***".to_owned() } else { other };
            assert_eq!(variable.value(&loaded.settings), other, "{}", variable.name);
            assert!(loaded.is_set(variable.name), "{}", variable.name);
            assert!(VARIABLES.iter().all(|v| v.name == variable.name || !loaded.is_set(v.name)));
        }
    }

    // Red when a secret that is accepted here is refused where it is read, or the other way round.
    #[cfg(any(feature = "webhooks", feature = "receiver"))]
    #[test]
    fn a_secret_is_accepted_if_what_reads_it_accepts_it() {
        use proptest::prelude::*;

        let form = prop_oneof![
            "whsec_[A-Za-z0-9+/]{28,92}={0,3}",
            "whsec_([A-Za-z0-9+/]{4}){7,23}([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?",
            "(whsec)?_?[A-Za-z0-9+/=_-]{30,60}",
        ];
        let accepted = std::cell::Cell::new(0);
        proptest!(|(text in form)| {
            let is_read = text.parse::<crate::feedback::WebhookSecret>().is_ok();
            accepted.set(accepted.get() + u32::from(is_read));
            prop_assert_eq!(is_secret(&text), is_read, "{}", text);
        });
        assert!(accepted.get() > 20, "only {} were secrets", accepted.get());
    }
}
