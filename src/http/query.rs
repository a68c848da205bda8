//! The query of a URL, name by name.

use std::{fmt::Display, str::FromStr};

use super::error::{Error, echoed};

/// The parameters of a request that were not taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// 400: it is none.
    pub(super) fn read(query: &str) -> Result<Self, Error> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                let expected = "expected NAME=VALUE pairs of UTF-8 with & between, and % as %25";
                return Err(Error::bad_request(format!("{expected}, got {}", echoed(pair))));
            };
            Ok((name, value))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// Reads a query that has no parameters.
    ///
    /// # Errors
    /// 400: it has one.
    pub(super) fn none(query: &str) -> Result<(), Error> {
        match Self::read(query)?.0.first() {
            Some((name, _)) => Err(Error::bad_request(format!("expected no parameters, got {}", echoed(name)))),
            None => Ok(()),
        }
    }

    /// Takes a parameter that comes once at most.
    ///
    /// # Errors
    /// 400: it comes twice.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut all = self.take_all(name);
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(Error::bad_request(format!("{name}: expected it once"))),
        }
    }

    /// Takes a parameter that comes once at most, and reads its value.
    ///
    /// # Errors
    /// 400: it comes twice, or its value is not what is expected.
    pub(super) fn take_as<T: FromStr>(&mut self, name: &str, expected: impl Display) -> Result<Option<T>, Error> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let wrong = |_| Error::bad_request(format!("{name}: expected {expected}, got {}", echoed(&text)));
        text.parse().map(Some).map_err(wrong)
    }

    /// Takes a parameter as often as it comes.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(other, _)| other == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Says that no other parameter is known.
    ///
    /// # Errors
    /// 400: there is one.
    pub(super) fn end(self, known: &str) -> Result<(), Error> {
        match self.0.first() {
            Some((name, _)) => {
                Err(Error::bad_request(format!("expected the parameters {known}, got {}", echoed(name))))
            }
            None => Ok(()),
        }
    }
}

/// Reads a name or a value. What is no UTF-8, and a `%` without two digits, make none: what were put in their place would be
/// stored as if it had been sent.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
                bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
                rest = &behind[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when what is no UTF-8 is replaced by something, or a name or a value is read otherwise than it was written.
    #[test]
    fn a_query_is_read_as_it_was_written_or_not_at_all() {
        let mut query = Query::read("&a=%C3%A4+%2B%25&b%3D=c=d&&e").unwrap();
        for (name, value) in [("a", "\u{e4} +%"), ("b=", "c=d"), ("e", "")] {
            assert_eq!(query.take(name).unwrap().as_deref(), Some(value));
        }
        query.end("none").unwrap();
        for wrong in ["symbol=A%ffB", "%ff=1", "a=%", "a=%2", "a=%zz", "a=%+1", "a=1&b=%C3"] {
            let error = Query::read(wrong).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("UTF-8")), "{wrong}");
        }
        assert!(Query::none("").is_ok() && Query::none("x=1").is_err());
    }
}
