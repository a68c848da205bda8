use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use super::SqliteOpenError;

/// Where a [`SqliteSink`](super::SqliteSink) stores, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The file. A relative path is taken once, from the working directory when the sink is made or the reader is
    /// opened; the sink opens that file also after the directory has changed.
    pub path: PathBuf,
    /// What an acknowledged record survives.
    pub synchronous: Synchronous,
    /// How long SQLite itself waits for a lock, at most and by default 250 ms. The writer thread stands still
    /// meanwhile; longer waits are the business of the retry policy.
    pub busy_timeout: Duration,
    /// The most batches that are committed together, by default 64.
    pub group_limit: NonZeroUsize,
    /// The most pages that the file may grow to, usually of 4 KiB; by default as many as SQLite can. A file that is
    /// full fails writes as transient, like a full disk.
    pub max_pages: Option<NonZeroU32>,
}

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Synchronous {
    /// The loss of power: every batch waits for the disk, though the next ones are written meanwhile. Choose it unless
    /// the records can be loaded again.
    #[default]
    Full,
    /// A crash of the process, but not always one of the machine, which can take the last commits with it. The file
    /// stays sound either way. Much faster where one producer writes small batches.
    Normal,
}

impl SqliteOptions {
    /// The longest [`busy_timeout`](Self::busy_timeout).
    pub const MAX_BUSY_TIMEOUT: Duration = Duration::from_millis(250);

    /// Makes the default options for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::default(),
            busy_timeout: Self::MAX_BUSY_TIMEOUT,
            group_limit: NonZeroUsize::new(64).expect("64 is not zero"),
            max_pages: None,
        }
    }

    /// Makes the default options for a URL: everything after `sqlite://` is the path, as it stands, relative to the
    /// working directory; `sqlite:///var/lib/bars.db` is absolute. A file whose name holds a question mark has no URL.
    ///
    /// # Errors
    /// For another scheme, a query (`?mode=ro`), an empty path, and `:memory:`. The error never shows another scheme's
    /// URL or a query, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, SqliteOpenError> {
        match url.strip_prefix("sqlite://") {
            Some(rest) => match rest.split_once('?') {
                None => Self::new(rest).checked(),
                // To take it for a part of the name would make a new file beside the one that is meant.
                Some((path, _)) => Err(SqliteOpenError::Url {
                    problem: "has a query, which begins with `?`".to_owned(),
                    expected: format!("the path alone, `sqlite://{path}`"),
                }),
            },
            None => {
                let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
                let problem = format!("has the scheme `{scheme}`");
                Err(SqliteOpenError::Url { problem, expected: "`sqlite://` and a path".to_owned() })
            }
        }
    }

    /// Refuses what cannot be meant.
    pub(super) fn checked(self) -> Result<Self, SqliteOpenError> {
        if self.path.as_os_str().is_empty() || self.path == Path::new(":memory:") {
            return Err(SqliteOpenError::InMemory { path: self.path });
        }
        if self.busy_timeout > Self::MAX_BUSY_TIMEOUT {
            return Err(SqliteOpenError::BusyTimeout { found: self.busy_timeout, most: Self::MAX_BUSY_TIMEOUT });
        }
        Ok(self)
    }
}

impl<P: Into<PathBuf>> From<P> for SqliteOptions {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sabotage: decode or normalise the path, or treat the third slash as part of the prefix: red.
    #[test]
    fn everything_after_the_scheme_is_the_path() {
        for (url, path) in [
            ("sqlite://market_data.db", "market_data.db"),
            ("sqlite://./data/a b.db", "./data/a b.db"),
            ("sqlite:///var/lib/bars.db", "/var/lib/bars.db"),
            ("sqlite://50%20.db", "50%20.db"),
        ] {
            assert_eq!(SqliteOptions::from_url(url).unwrap().path, Path::new(path), "{url}");
        }
    }

    // Sabotage: let any of the checks pass, or put the URL into the message: red.
    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let refused = |url| SqliteOptions::from_url(url).unwrap_err().to_string();
        assert_eq!(
            refused("sqlite://"),
            "the database path is empty, and data kept in memory would be lost: expected the path of a file"
        );
        assert_eq!(
            refused("sqlite://:memory:"),
            "the database path is `:memory:`, and data kept in memory would be lost: expected the path of a file"
        );
        assert_eq!(
            refused("postgres://me:secret@host/db"),
            "the database URL has the scheme `postgres`: expected `sqlite://` and a path"
        );
        assert_eq!(
            refused("market_data.db"),
            "the database URL has the scheme `no scheme`: expected `sqlite://` and a path"
        );
        assert_eq!(
            refused("sqlite:///var/bars.db?mode=ro&key=secret"),
            "the database URL has a query, which begins with `?`: expected the path alone, `sqlite:///var/bars.db`"
        );

        let mut options = SqliteOptions::new("bars.db");
        options.busy_timeout = Duration::from_millis(251);
        assert_eq!(
            options.checked().unwrap_err().to_string(),
            "the busy timeout is 251ms: expected at most 250ms, as longer waits belong to the retry policy"
        );
    }
}
