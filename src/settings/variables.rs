//! The table of variables.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    CoordinatorOverrides, Problem, Secret, Settings,
    coordinator::in_variables,
    endpoint::Endpoint,
    feedback::listed,
    masked,
    names::{SOURCE_RULE, is_source},
};
use crate::policy::Overflow;

pub(super) const CAPACITY: &str = "MDS_COORDINATOR_CAPACITY";
pub(super) const HIGH_WATERMARK: &str = "MDS_COORDINATOR_HIGH_WATERMARK";
pub(super) const LOW_WATERMARK: &str = "MDS_COORDINATOR_LOW_WATERMARK";
pub(super) const INITIAL_BACKOFF: &str = "MDS_RETRY_INITIAL_BACKOFF_MS";
pub(super) const MAX_BACKOFF: &str = "MDS_RETRY_MAX_BACKOFF_MS";
pub(super) const ENABLE_FEEDBACK: &str = "MDS_FB_ENABLE_FEEDBACK";
pub(super) const ENABLE_HTTP: &str = "MDS_FB_ENABLE_HTTP_BROADCAST";
pub(super) const HTTP_ENDPOINT: &str = "MDS_FB_HTTP_ENDPOINT";

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
    /// The field that it is read into, under its name in a file of settings.
    field: (Group, &'static str),
    kind: Kind,
}

/// The fields that are read together: those of one struct that are no structs themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Of [`Settings`].
    Store,
    Coordinator,
    Retry,
    Circuit,
    Feedback,
    Http,
    Scales,
}

/// What a variable holds: its range, and where it lies in the settings.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Count(usize, usize, fn(&Settings) -> usize),
    /// Bounds in seconds.
    Seconds(f64, f64, fn(&Settings) -> Duration),
    /// Written without a unit. Bounds in milliseconds.
    Millis(u64, u64, fn(&Settings) -> Duration),
    /// Written without a unit. Bounds in seconds.
    WholeSeconds(u64, u64, fn(&Settings) -> Duration),
    Factor(f64, f64, fn(&Settings) -> f64),
    Switch(fn(&Settings) -> bool),
    Choice(&'static str, fn(&Settings) -> &'static str),
    Text(&'static str, fn(&Settings) -> &str, fn(&str) -> bool),
    /// Like text, but it may hold a password.
    Url(&'static str, fn(&Settings) -> &str, fn(&str) -> bool),
    /// URLs with commas between, which may hold secrets anywhere but in scheme, host and port.
    Endpoints(fn(&Settings) -> &[Endpoint]),
    /// Secrets with commas between.
    Secrets(fn(&Settings) -> &[Secret]),
}

/// The most records that any number of records may be; with it no bound in memory or arithmetic is near.
const MOST: usize = 100_000_000;

/// Every variable that is read, in the order in which they are documented.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "MDS_DATABASE_URL",
        field: (Group::Store, "database_url"),
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
        field: (Group::Store, "source"),
        default: "host:program, host:mds-command in `mds`",
        unit: "",
        about: "names this process in events: different for processes that run at once, the same after a restart \
                (set it in containers)",
        kind: Kind::Text(SOURCE_RULE, |s| &s.source, is_source),
    },
    Variable {
        name: CAPACITY,
        field: (Group::Coordinator, "capacity"),
        default: "10000",
        unit: "records",
        about: "how many records wait in the queue at most",
        kind: Kind::Count(1, MOST, |s| s.coordinator.capacity),
    },
    Variable {
        name: HIGH_WATERMARK,
        field: (Group::Coordinator, "high_watermark"),
        default: "80 % of capacity",
        unit: "records",
        about: "queue size from which the level is hard; at most the capacity",
        kind: Kind::Count(1, MOST, |s| s.coordinator.high()),
    },
    Variable {
        name: LOW_WATERMARK,
        field: (Group::Coordinator, "low_watermark"),
        default: "50 % of capacity",
        unit: "records",
        about: "queue size down to which the level returns to ok; below the high watermark",
        kind: Kind::Count(0, MOST, |s| s.coordinator.low()),
    },
    Variable {
        name: "MDS_COORDINATOR_WORKERS",
        field: (Group::Coordinator, "workers"),
        default: "4",
        unit: "workers",
        about: "how many batches are written at once",
        kind: Kind::Count(1, 1024, |s| s.coordinator.workers),
    },
    Variable {
        name: "MDS_COORDINATOR_BATCH_SIZE",
        field: (Group::Coordinator, "batch_size"),
        default: "500",
        unit: "records",
        about: "how many records are written together at most",
        kind: Kind::Count(1, 1_000_000, |s| s.coordinator.batch_size),
    },
    Variable {
        name: "MDS_COORDINATOR_FLUSH_INTERVAL",
        field: (Group::Coordinator, "flush_interval"),
        default: "0.25",
        unit: "seconds",
        about: "how long a record waits for its batch to fill",
        kind: Kind::Seconds(0.001, 86_400.0, |s| s.coordinator.flush_interval),
    },
    Variable {
        name: "MDS_COORDINATOR_OVERFLOW_STRATEGY",
        field: (Group::Coordinator, "overflow"),
        default: "block",
        unit: "",
        about: "what happens when the queue is full: the producer waits (`block`), the oldest record is dropped \
                (`drop_oldest`), or the new one is refused (`error`)",
        kind: Kind::Choice("block, drop_oldest or error", |s| overflow(s.coordinator.overflow)),
    },
    Variable {
        name: INITIAL_BACKOFF,
        field: (Group::Retry, "initial_backoff"),
        default: "50",
        unit: "milliseconds",
        about: "the wait before a failed write is tried again for the first time",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.initial_backoff),
    },
    Variable {
        name: MAX_BACKOFF,
        field: (Group::Retry, "max_backoff"),
        default: "2000",
        unit: "milliseconds",
        about: "the longest wait between attempts; at least the initial one",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.max_backoff),
    },
    Variable {
        name: "MDS_RETRY_BACKOFF_MULTIPLIER",
        field: (Group::Retry, "multiplier"),
        default: "2.0",
        unit: "",
        about: "what each further failure multiplies the wait by",
        kind: Kind::Factor(1.0, 1000.0, |s| s.retry.multiplier),
    },
    Variable {
        name: "MDS_RETRY_JITTER",
        field: (Group::Retry, "jitter"),
        default: "true",
        unit: "",
        about: "waits a random 50 to 100 % of each wait, so that workers do not retry in step",
        kind: Kind::Switch(|s| s.retry.jitter),
    },
    Variable {
        name: "MDS_RETRY_MAX_ATTEMPTS",
        field: (Group::Retry, "max_attempts"),
        default: "5",
        unit: "attempts",
        about: "a batch that failed transiently so many times, three at least, is given up; all failures between which \
                the store answered no whole write of another batch are one time; without a circuit so many failures are enough",
        kind: Kind::Count(1, 1_000_000, |s| s.retry.max_attempts.get() as usize),
    },
    Variable {
        name: "MDS_CB_FAILURE_THRESHOLD",
        field: (Group::Circuit, "failure_threshold"),
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
        field: (Group::Circuit, "half_open_after"),
        default: "10",
        unit: "seconds",
        about: "how long an open circuit leaves the store alone before it tries one batch",
        kind: Kind::WholeSeconds(0, 86_400, |s| s.circuit.half_open_after),
    },
    Variable {
        name: "MDS_DLQ_PATH",
        field: (Group::Store, "dlq_path"),
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
        field: (Group::Store, "shutdown_timeout"),
        default: "30",
        unit: "seconds",
        about: "how long a shutdown may take to store what was accepted",
        kind: Kind::Seconds(0.0, 86_400.0, |s| s.shutdown_timeout),
    },
    Variable {
        name: "MDS_LOG",
        field: (Group::Store, "log"),
        default: "info",
        unit: "",
        about: "what `mds` logs to standard error: a level, or a filter such as `warn,market_data_store=debug`",
        kind: Kind::Text("a level or a filter such as warn,market_data_store=debug", |s| &s.log, |_| true),
    },
    Variable {
        name: "MDS_LOG_FORMAT",
        field: (Group::Store, "log_format"),
        default: "text",
        unit: "",
        about: "the form of `mds`'s log: `text` or `json`",
        kind: Kind::Choice("text or json", |s| s.log_format.as_str()),
    },
    Variable {
        name: ENABLE_FEEDBACK,
        field: (Group::Feedback, "enabled"),
        default: "true",
        unit: "",
        about: "publishes level changes to subscribers; when false they stay in health and metrics",
        kind: Kind::Switch(|s| s.feedback.enabled),
    },
    Variable {
        name: ENABLE_HTTP,
        field: (Group::Http, "enabled"),
        default: "false",
        unit: "",
        about: "sends level changes to URLs, as webhooks",
        kind: Kind::Switch(|s| s.feedback.http.enabled),
    },
    Variable {
        name: HTTP_ENDPOINT,
        field: (Group::Http, "endpoints"),
        default: "none",
        unit: "",
        about: "the URL that level changes are sent to, or several with commas; a comma in a URL is written `%2C`",
        kind: Kind::Endpoints(|s| &s.feedback.http.endpoints),
    },
    Variable {
        name: "MDS_FB_HTTP_TIMEOUT",
        field: (Group::Http, "timeout"),
        default: "2.5",
        unit: "seconds",
        about: "how long one attempt may take, from the connection to the end of the answer",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.timeout),
    },
    Variable {
        name: "MDS_FB_HTTP_MAX_RETRIES",
        field: (Group::Http, "max_attempts"),
        default: "3",
        unit: "attempts",
        about: "attempts in all: after so many that failed in a row a URL is tried every 10 seconds, until the latest \
                event of each coordinator has arrived",
        kind: Kind::Count(1, 1_000_000, |s| s.feedback.http.max_attempts.get() as usize),
    },
    Variable {
        name: "MDS_FB_HTTP_BACKOFF",
        field: (Group::Http, "backoff"),
        default: "0.5",
        unit: "seconds",
        about: "the wait after the first failure; it doubles from one to the next, up to 10 seconds, and is shortened \
                to a random 50 to 100 %",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.backoff),
    },
    Variable {
        name: "MDS_FB_HTTP_SECRET",
        field: (Group::Http, "secrets"),
        default: "none",
        unit: "",
        about: "signs webhooks: `whsec_` and the base64 of 24 to 64 bytes, or several with commas while one replaces \
                another",
        kind: Kind::Secrets(|s| &s.feedback.http.secrets),
    },
    Variable {
        name: "MDS_FB_HTTP_CA_FILE",
        field: (Group::Http, "ca_file"),
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
        field: (Group::Scales, "ok"),
        default: "1.0",
        unit: "",
        about: "what a producer that follows the level multiplies its rate by at ok",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.ok),
    },
    Variable {
        name: "MDS_FB_SCALE_SOFT",
        field: (Group::Scales, "soft"),
        default: "0.5",
        unit: "",
        about: "the same at soft",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.soft),
    },
    Variable {
        name: "MDS_FB_SCALE_HARD",
        field: (Group::Scales, "hard"),
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

    /// Returns whether its value is a secret, which never shows.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secrets(_))
    }

    /// Returns the value in `settings` as the environment would write it, without secrets: a password is `***`, and a URL
    /// of webhooks its scheme, host and port.
    pub fn value(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::Count(_, _, get) => get(settings).to_string(),
            Kind::Seconds(_, _, get) | Kind::WholeSeconds(_, _, get) => get(settings).as_secs_f64().to_string(),
            Kind::Millis(_, _, get) => (get(settings).as_secs_f64() * 1000.0).to_string(),
            // With a full stop, so that it is seen to be no whole number.
            Kind::Factor(_, _, get) => format!("{:?}", get(settings)),
            Kind::Switch(get) => get(settings).to_string(),
            Kind::Choice(_, get) => get(settings).to_owned(),
            Kind::Text(_, get, _) => get(settings).to_owned(),
            Kind::Url(_, get, _) => masked(get(settings)),
            Kind::Endpoints(get) => joined(get(settings)),
            Kind::Secrets(get) => joined(get(settings)),
        }
    }

    /// Returns what a value has to be, to follow the word `expected`.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::WholeSeconds(min, max, _) => format!("a whole number from {min} to {max}"),
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

    /// Says that `text` is no value for this variable, and what one would be; secrets in it are hidden.
    pub fn problem(&self, name: &str, text: &str) -> Problem {
        let text = match self.kind {
            Kind::Url(..) => masked(text),
            Kind::Endpoints(_) => {
                let shown =
                    |part: &str| part.parse().map_or_else(|e| format!("<{e}>"), |url: Endpoint| url.to_string());
                joined(listed(text).map(shown))
            }
            Kind::Secrets(_) => joined(listed(text).map(Secret::from)),
            _ => text.to_owned(),
        };
        Problem { variable: name.to_owned(), message: format!("{name} is {text:?}, expected {}", self.expected()) }
    }

    pub(super) fn field(&self) -> &'static str {
        self.field.1
    }

    /// Returns a value as its field is read; none where the variable takes no unit and it is no whole number.
    pub(super) fn in_field(&self, text: &str) -> Option<String> {
        let unit = match self.kind {
            Kind::Millis(..) => "ms",
            Kind::WholeSeconds(..) => "s",
            _ => return Some(text.to_owned()),
        };
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{text}{unit}"))
    }

    pub(super) fn accepts(&self, settings: &Settings) -> bool {
        match self.kind {
            Kind::Count(min, max, get) => (min..=max).contains(&get(settings)),
            Kind::Seconds(min, max, get) => within(min..=max, get(settings).as_secs_f64()),
            Kind::Millis(min, max, get) => {
                (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&get(settings))
            }
            Kind::WholeSeconds(min, max, get) => {
                (Duration::from_secs(min)..=Duration::from_secs(max)).contains(&get(settings))
            }
            Kind::Factor(min, max, get) => within(min..=max, get(settings)),
            Kind::Switch(_) | Kind::Choice(..) | Kind::Endpoints(_) => true,
            Kind::Text(_, get, check) | Kind::Url(_, get, check) => check(get(settings)),
            Kind::Secrets(get) => get(settings).iter().all(|secret| is_webhook_secret(secret.expose())),
        }
    }
}

impl Settings {
    /// Returns every variable with the value in effect as the environment would write it, without secrets; behind those of
    /// all coordinators the ones that single coordinators have.
    pub fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        for (at, variable) in VARIABLES.iter().enumerate() {
            values.push(Value { name: variable.name.to_owned(), value: variable.value(self), unit: variable.unit });
            let is_last = VARIABLES.get(at + 1).is_none_or(|next| next.field.0 != Group::Coordinator);
            if variable.field.0 == Group::Coordinator && is_last {
                for (key, own) in &self.coordinators {
                    let effective = Self { coordinator: own.over(&self.coordinator), ..self.clone() };
                    let value = |(name, variable): (String, &Variable)| Value {
                        name,
                        value: variable.value(&effective),
                        unit: variable.unit,
                    };
                    values.extend(of_coordinator(key, own).map(value));
                }
            }
        }
        values
    }
}

/// A variable and its value, as [`Settings::values`] lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// The variable.
    pub name: String,
    /// The value as the environment would write it, without secrets.
    pub value: String,
    /// What its number counts; empty where it is no number.
    pub unit: &'static str,
}

/// Returns the variables of a group by their names; those of one coordinator if one is named, as its variables write it.
pub(super) fn of_group(group: Group, coordinator: Option<&str>) -> impl Iterator<Item = (String, &'static Variable)> {
    let name = move |variable: &'static Variable| match coordinator {
        Some(id) => (variable.name.replacen("MDS_", &format!("MDS_{id}_"), 1), variable),
        None => (variable.name.to_owned(), variable),
    };
    VARIABLES.iter().filter(move |variable| variable.field.0 == group).map(name)
}

/// Returns the variables that one coordinator has of its own, by their names.
pub(super) fn of_coordinator(
    id: &str,
    own: &CoordinatorOverrides,
) -> impl Iterator<Item = (String, &'static Variable)> {
    let all: Vec<_> = of_group(Group::Coordinator, Some(&in_variables(id))).collect();
    all.into_iter().filter(|(_, variable)| own.sets(variable.field()))
}

/// Returns the variable that a name means, and the coordinator that it is for, as the name writes it.
pub(super) fn named(name: &str) -> Option<(&'static Variable, Option<&str>)> {
    if let Some(variable) = Variable::find(name) {
        return Some((variable, None));
    }
    let rest = name.strip_prefix("MDS_")?;
    VARIABLES.iter().filter(|variable| variable.field.0 == Group::Coordinator).find_map(|variable| {
        let id = rest.strip_suffix(&variable.name["MDS".len()..])?;
        (!id.is_empty() && in_variables(id) == id).then_some((variable, Some(id)))
    })
}

fn joined(parts: impl IntoIterator<Item = impl ToString>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(",")
}

const fn overflow(strategy: Overflow) -> &'static str {
    match strategy {
        Overflow::Block => "block",
        Overflow::DropOldest => "drop_oldest",
        Overflow::Error => "error",
    }
}

/// Whether a text has the form of a secret of webhooks: what reads it is not in every build.
fn is_webhook_secret(text: &str) -> bool {
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
        // Red if a variable is in the table with a field that no struct has, or is read into another field than it shows.
        for variable in VARIABLES {
            let other = match variable.kind {
                Kind::Count(_, max, _) => max.min(9_000).to_string(),
                Kind::Seconds(..) => "7.5".to_owned(),
                Kind::Millis(..) | Kind::WholeSeconds(..) => "1234".to_owned(),
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
            if variable.field.0 == Group::Coordinator {
                let name = variable.name.replacen("MDS_", "MDS_NEWS_", 1);
                let own = Settings::load([(&name, &other)]).unwrap().settings;
                assert_eq!(variable.value(&own), variable.value(&Settings::default()), "{name}");
                let news = Settings { coordinator: own.coordinator_settings("news"), ..Settings::default() };
                assert_eq!(variable.value(&news), other, "{name}");
                assert!(own.values().iter().any(|value| value.name == name), "{name}");
            }
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
            prop_assert_eq!(is_webhook_secret(&text), is_read, "{}", text);
        });
        assert!(accepted.get() > 20, "only {} were secrets", accepted.get());
    }
}
