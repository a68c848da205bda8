//! The query of a URL, name by name.

use std::{fmt::Display, str::FromStr};

use actix_web::web;

use super::error::{Error, echoed};

/// The parameters of a request that were not taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// 400: it is none.
    pub(super) fn read(query: &str) -> Result<Self, Error> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query);
        let pairs = pairs.map_err(|_| Error::bad_request("expected a query of NAME=VALUE pairs with & between"))?;
        Ok(Self(pairs.into_inner()))
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
