//! Values that never show.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands where a secret would.
const HIDDEN: &str = "***";

/// A text that never shows: `Debug`, `Display` and JSON are `***`. Only [`expose`](Self::expose) returns it.
///
/// ```
/// use market_data_store::settings::Secret;
///
/// let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
/// assert_eq!(format!("{secret} {secret:?}"), "*** ***");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself: for what has to use it, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An error of the format would show what it found instead of a text.
        String::deserialize(deserializer).map(Self).map_err(|_| de::Error::custom("expected a secret as text"))
    }
}

/// Returns a URL as it may be shown: with `***` for the passwords in it.
pub fn masked(url: &str) -> String {
    // Everything behind `sqlite://` is a path and may hold any character.
    if url.starts_with("sqlite://") {
        return url.to_owned();
    }
    // First, for an `@` or a colon in a value is none of the host's.
    let url = &without_values(url);
    let start = url.find("://").map_or(0, |scheme| scheme + "://".len());
    match url.rfind('@').filter(|at| *at >= start) {
        Some(at) => match url[start..at].find(':') {
            Some(colon) => format!("{}:{HIDDEN}{}", &url[..start + colon], &url[at..]),
            None => url.to_owned(),
        },
        // Without a host what follows the colon is a password, unless it is the number of a port.
        None if start > 0 => match url[start..].split_once(':') {
            Some((_, rest)) if !starts_with_port(rest) => {
                format!("{}{HIDDEN}", &url[..url.len() - rest.len()])
            }
            _ => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

/// Hides the values of keys that may be secrets: `key=value` or, as libpq takes it, `key = 'value'`.
fn without_values(url: &str) -> String {
    let mut shown = url.to_owned();
    for key in ["password", "passwd", "pass", "pwd", "secret", "token", "key"] {
        let mut from = 0;
        while let Some(found) = shown[from..].to_ascii_lowercase().find(key) {
            from += found + key.len();
            let Some(value) = shown[from..].trim_start().strip_prefix('=').map(str::trim_start) else { continue };
            let start = shown.len() - value.len();
            let len = match value.strip_prefix('\'') {
                Some(quoted) => end_of(quoted, &['\'']).map_or(value.len(), |end| end + 2),
                None => end_of(value, &['&', ' ']).unwrap_or(value.len()),
            };
            shown.replace_range(start..start + len, HIDDEN);
            from = start;
        }
    }
    shown
}

/// Returns where the first of these stands that has no backslash before it.
fn end_of(value: &str, ends: &[char]) -> Option<usize> {
    let mut is_escaped = false;
    value.char_indices().find_map(|(at, char)| {
        let is_end = !is_escaped && ends.contains(&char);
        is_escaped = !is_escaped && char == '\\';
        is_end.then_some(at)
    })
}

fn starts_with_port(text: &str) -> bool {
    text.split(['/', '?']).next().is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a password gets through, or what is none is hidden.
    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            ("postgres://ann:pa55@db:5432/bars", "postgres://ann:***@db:5432/bars"),
            ("postgres://ann:pa55/w@rd?#@db/bars", "postgres://ann:***@db/bars"),
            ("postgres://ann@db/bars", "postgres://ann@db/bars"),
            ("postgres://db:5432/bars", "postgres://db:5432/bars"),
            ("postgres://db:5432", "postgres://db:5432"),
            ("postgres://ann:pa55/bars", "postgres://ann:***"),
            ("postgres://ann:pa55", "postgres://ann:***"),
            ("postgres://db/bars?user=ann&password=pa55&x=1", "postgres://db/bars?user=ann&password=***&x=1"),
            ("host=db Password=pa55 user=ann", "host=db Password=*** user=ann"),
            ("host=db password = 'pa 55' user=ann", "host=db password = *** user=ann"),
            ("password='pa 55", "password=***"),
            (r"password='pa\' 55' user=ann", "password=*** user=ann"),
            (r"password=pa\ 55 user=ann", "password=*** user=ann"),
            ("postgres://ann@db:5432/bars?password=x@pa55", "postgres://ann@db:5432/bars?password=***"),
            ("postgres://ann:pa55@db/bars?password=x:@pa55&x=1", "postgres://ann:***@db/bars?password=***&x=1"),
            ("postgres://ann:password=pa55&b@db/bars", "postgres://ann:***@db/bars"),
            ("ann:pa55@db", "ann:***@db"),
            ("a@b://c", "a@b://c"),
            ("sqlite://runs/a:b@home.db", "sqlite://runs/a:b@home.db"),
            ("postgres://db/bars?pass=pa55&apikey=pa55", "postgres://db/bars?pass=***&apikey=***"),
            ("bars.db", "bars.db"),
            ("", ""),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    // Red when one of the ways to write a secret writes the text.
    #[test]
    fn a_secret_is_read_and_never_written() {
        let secret: Secret = serde_json::from_str(r#""pa55""#).unwrap();
        assert_eq!(secret.expose(), "pa55");
        let shown = format!("{secret} {secret:?} {:#?} {}", Some(&secret), serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("pa55") && shown.contains(HIDDEN), "{shown}");
        let error = serde_json::from_str::<Secret>("5555").unwrap_err().to_string();
        assert!(!error.contains("5555"), "{error}");
    }
}
