//! The HTTP service.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::{duration, feedback::list, secret::Secret};

/// What a token has to be, to follow the word `expected`.
pub(super) const TOKEN_RULE: &str =
    "16 to 256 letters, digits and -._~+/=, or several of these with commas while one replaces another";

/// The HTTP service, as `mds serve` runs it; the library ignores it. All fields can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpServerSettings {
    /// The address and port that it listens on; port 0: any that is free.
    pub bind: SocketAddr,
    /// The tokens of those who write; they can read too. In a file they are a list, or a text with commas between.
    #[serde(deserialize_with = "list")]
    pub tokens: Vec<Secret>,
    /// The tokens of those who only read.
    #[serde(deserialize_with = "list")]
    pub read_tokens: Vec<Secret>,
    /// The tokens of those who administrate; they can read and write too.
    #[serde(deserialize_with = "list")]
    pub admin_tokens: Vec<Secret>,
    /// Whether an address that others can reach may be listened on without a token.
    pub allow_anonymous: bool,
    /// How long a request waits for the queue to take a record.
    #[serde(deserialize_with = "duration::deserialize")]
    pub submit_timeout: Duration,
    /// How long a request waits for a record to be settled.
    #[serde(deserialize_with = "duration::deserialize")]
    pub ack_timeout: Duration,
}

impl Default for HttpServerSettings {
    fn default() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, 8080).into(),
            tokens: Vec::new(),
            read_tokens: Vec::new(),
            admin_tokens: Vec::new(),
            allow_anonymous: false,
            submit_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(25),
        }
    }
}

/// Returns whether a text can be a token: one that a header carries as it is, and that is not guessed at once.
pub(super) fn is_token(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (16..=256).contains(&text.len()) && text.bytes().all(is_sign)
}
