//! What a variable is: how it is named, shown and checked. [`Variable::ALL`] holds one row for each.

mod table;

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

pub(super) use self::table::VARIABLES;
pub(super) use self::table::{
    CAPACITY, ENABLE_FEEDBACK, ENABLE_HTTP, HIGH_WATERMARK, HTTP_ENDPOINT, HTTP_REFRESH, INITIAL_BACKOFF,
    LOW_WATERMARK, MAX_BACKOFF, OVERFLOW,
};
use super::{
    CoordinatorOverrides, Problem, Secret, Settings,
    coordinator::in_variables,
    endpoint::Endpoint,
    feedback::listed,
    http_server::{TOKEN_RULE, is_token},
    masked, size,
};

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
    Postgres,
    HttpServer,
    Feedback,
    Http,
    Scales,
}

/// What a variable holds: its range, and where it lies in the settings.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Count(usize, usize, fn(&Settings) -> usize),
    /// A number of bytes, with or without a unit. The most is what arithmetic is far from.
    Bytes(usize, fn(&Settings) -> usize),
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
    /// Names of kinds with commas between.
    Kinds(fn(&Settings) -> &[String]),
    /// Secrets with commas between.
    Secrets(fn(&Settings) -> &[Secret]),
    /// Tokens with commas between.
    Tokens(fn(&Settings) -> &[Secret]),
    /// An address and a port to listen on.
    Address(fn(&Settings) -> SocketAddr),
}

impl Variable {
    /// Every variable that is read, in the order in which they are documented.
    pub const ALL: &[Self] = VARIABLES;

    /// Returns the table's entry of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|variable| variable.name == name)
    }

    /// Returns whether its value is a secret, which never shows.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secrets(_) | Kind::Tokens(_))
    }

    /// Returns the variable that names a file with the value instead, for each that may hold a secret:
    /// `MDS_DATABASE_URL_FILE`.
    pub fn file_variable(&self) -> Option<String> {
        matches!(self.kind, Kind::Url(..) | Kind::Endpoints(_) | Kind::Secrets(_) | Kind::Tokens(_))
            .then(|| format!("{}_FILE", self.name))
    }

    /// Returns the variable whose value a file holds that is named by a variable of this name.
    pub(super) fn find_by_file(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().find(|variable| variable.file_variable().is_some_and(|file| file == name))
    }

    /// Returns the value in `settings` as the environment would write it, without secrets: a password is `***`, and a
    /// URL of webhooks its scheme, host and port.
    pub fn value(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::Count(_, _, get) | Kind::Bytes(_, get) => get(settings).to_string(),
            Kind::Seconds(_, _, get) | Kind::WholeSeconds(_, _, get) => get(settings).as_secs_f64().to_string(),
            Kind::Millis(_, _, get) => (get(settings).as_secs_f64() * 1000.0).to_string(),
            // With a full stop, so that it is seen to be no whole number.
            Kind::Factor(_, _, get) => format!("{:?}", get(settings)),
            Kind::Switch(get) => get(settings).to_string(),
            Kind::Choice(_, get) => get(settings).to_owned(),
            Kind::Text(_, get, _) => get(settings).to_owned(),
            Kind::Url(_, get, _) => masked(get(settings)),
            Kind::Endpoints(get) => joined(get(settings)),
            Kind::Kinds(get) => joined(get(settings)),
            Kind::Secrets(get) | Kind::Tokens(get) => joined(get(settings)),
            Kind::Address(get) => get(settings).to_string(),
        }
    }

    /// Returns what a value has to be, to follow the word `expected`.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Bytes(max, _) => format!("{}, at most {max}", size::EXPECTED),
            Kind::WholeSeconds(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Seconds(min, max, _) => {
                format!("seconds from {min} to {max}, as a number (0.25) or with a unit (250ms, 2s, 1m)")
            }
            Kind::Millis(min, max, _) => format!("a whole number of milliseconds from {min} to {max}"),
            Kind::Factor(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Switch(_) => "true or false".to_owned(),
            Kind::Choice(expected, _) | Kind::Text(expected, ..) | Kind::Url(expected, ..) => expected.to_owned(),
            Kind::Endpoints(_) => "http:// or https:// and a host, or several of these with commas".to_owned(),
            Kind::Kinds(_) => "names of kinds such as bars, each once, with commas between".to_owned(),
            Kind::Secrets(_) => "whsec_ and the base64 of 24 to 64 bytes, or several of these with commas".to_owned(),
            Kind::Tokens(_) => TOKEN_RULE.to_owned(),
            Kind::Address(_) => "an address and a port such as 127.0.0.1:8080 or [::1]:8080".to_owned(),
        }
    }

    /// Says that `text` is no value for this variable, and what one would be; secrets in it are hidden.
    pub fn problem(&self, text: &str) -> Problem {
        self.problem_of(self.name, text)
    }

    /// Says the same of the variable of one coordinator, by its name.
    pub(super) fn problem_of(&self, name: &str, text: &str) -> Problem {
        let text = match self.kind {
            Kind::Url(..) => masked(text),
            Kind::Endpoints(_) => {
                let shown =
                    |part: &str| part.parse().map_or_else(|e| format!("<{e}>"), |url: Endpoint| url.to_string());
                joined(listed(text).map(shown))
            }
            Kind::Secrets(_) | Kind::Tokens(_) => joined(listed(text).map(Secret::from)),
            _ => text.to_owned(),
        };
        Problem { variable: name.to_owned(), message: format!("{name} is {text:?}, expected {}", self.expected()) }
    }

    pub(super) fn field(&self) -> &'static str {
        self.field.1
    }

    /// Returns a value as its field is read; none where the variable takes no unit and it is no whole number, or where a
    /// list of secrets has none: it would protect nothing, without a word.
    pub(super) fn in_field(&self, text: &str) -> Option<String> {
        let unit = match self.kind {
            Kind::Millis(..) => "ms",
            Kind::WholeSeconds(..) => "s",
            Kind::Secrets(_) | Kind::Tokens(_) if listed(text).next().is_none() => return None,
            _ => return Some(text.to_owned()),
        };
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{text}{unit}"))
    }

    pub(super) fn accepts(&self, settings: &Settings) -> bool {
        match self.kind {
            Kind::Count(min, max, get) => (min..=max).contains(&get(settings)),
            Kind::Bytes(max, get) => get(settings) <= max,
            Kind::Seconds(min, max, get) => within(min..=max, get(settings).as_secs_f64()),
            Kind::Millis(min, max, get) => {
                (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&get(settings))
            }
            Kind::WholeSeconds(min, max, get) => {
                (Duration::from_secs(min)..=Duration::from_secs(max)).contains(&get(settings))
            }
            Kind::Factor(min, max, get) => within(min..=max, get(settings)),
            Kind::Switch(_) | Kind::Choice(..) | Kind::Endpoints(_) | Kind::Address(_) => true,
            Kind::Text(_, get, check) | Kind::Url(_, get, check) => check(get(settings)),
            Kind::Kinds(get) => are_kinds(get(settings)),
            Kind::Secrets(get) => get(settings).iter().all(|secret| is_webhook_secret(secret.expose())),
            Kind::Tokens(get) => get(settings).iter().all(|token| is_token(token.expose())),
        }
    }
}

impl Settings {
    /// Returns every variable with the value in effect as the environment would write it, without secrets; behind those
    /// of all coordinators the ones that single coordinators have.
    #[doc(hidden)]
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

/// Returns the variables of a group by their names; those of one coordinator if one is named, as its variables write
/// it.
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

/// Whether these can be names of kinds. Which there are the store knows, and says so at its start.
fn are_kinds(names: &[String]) -> bool {
    let is_name =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_new = |at: usize| !names[..at].contains(&names[at]);
    !names.is_empty() && (0..names.len()).all(|at| is_name(&names[at]) && is_new(at))
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
                HTTP_ENDPOINT
                | "MDS_PG_SCHEMA"
                | "MDS_FB_HTTP_SECRET"
                | "MDS_FB_HTTP_CA_FILE"
                | "MDS_HTTP_TOKEN"
                | "MDS_HTTP_READ_TOKEN"
                | "MDS_HTTP_ADMIN_TOKEN" => {
                    assert_eq!((variable.default, &*value), ("none", ""));
                }
                _ => assert_eq!(value, variable.default, "{}", variable.name),
            }
        }
    }

    #[test]
    fn every_variable_takes_its_own_value_back() {
        // Red if a variable is in the table with a field that no struct has, or is read into another field than it
        // shows.
        for variable in VARIABLES {
            let other = match variable.kind {
                Kind::Count(_, max, _) => max.min(9_000).to_string(),
                Kind::Bytes(..) => "65536".to_owned(),
                Kind::Seconds(..) => "7.5".to_owned(),
                Kind::Millis(..) | Kind::WholeSeconds(..) => "1234".to_owned(),
                // Written with a full stop, and unlike every default.
                Kind::Factor(_, max, _) => format!("{:?}", max / 4.0),
                Kind::Switch(_) => "false".to_owned(),
                Kind::Choice(expected, _) => expected.rsplit(' ').next().unwrap().to_owned(),
                Kind::Text(..) => "other".to_owned(),
                Kind::Url(..) => "sqlite://other.db".to_owned(),
                Kind::Endpoints(_) => "http://a:1,https://b:2".to_owned(),
                Kind::Kinds(_) => "trades,quotes".to_owned(),
                Kind::Secrets(_) => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
                Kind::Tokens(_) => "0123456789abcdef".to_owned(),
                Kind::Address(_) => "[::1]:9000".to_owned(),
            };
            let other = if variable.name == LOW_WATERMARK { "17".to_owned() } else { other };
            let loaded = Settings::load([(variable.name, &other)]).unwrap();
            let other = if variable.is_secret() { "***".to_owned() } else { other };
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
