//! The signatures of webhooks, by the scheme of Standard Webhooks: what one side [signs](sign), the other
//! [verifies](verify).
//!
//! A request carries three headers: [`webhook-id`](SignedHeaders::ID), which is the same whenever the message is sent
//! again,
//! [`webhook-timestamp`](SignedHeaders::TIMESTAMP), the seconds from the Unix epoch to this attempt, and
//! [`webhook-signature`](SignedHeaders::SIGNATURE): `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. There may be
//! several signatures with spaces between, so that a secret can be replaced: the sender signs with both, and a receiver
//! takes either.
//!
//! The crate `standardwebhooks` does the same for one secret. It takes keys of any length, the empty one too, accepts
//! an id with a full stop, which makes the signed text ambiguous, and reads the clock itself, so that the age cannot be
//! tested; and it would bring a second HMAC, base64 and clock. So the forty lines are here, and the tests hold them
//! against the official Python package.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit, Mac, digest::CtOutput};
use sha2::Sha256;

pub(crate) const ID: &str = SignedHeaders::ID;
pub(crate) const TIMESTAMP: &str = SignedHeaders::TIMESTAMP;
pub(crate) const SIGNATURE: &str = SignedHeaders::SIGNATURE;
pub(crate) const TOLERANCE: Duration = SignedHeaders::TOLERANCE;
pub(crate) const CONFLICT: &str = SignedHeaders::CONFLICT;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Secrets are handed around with and without the padding. A signature has one form.
const OF_SECRETS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that sender and receiver share: `whsec_` and the base64 of 24 to 64 random bytes, as
/// `echo "whsec_$(openssl rand -base64 32)"` makes it.
///
/// It shows itself nowhere: not in `Debug`, not in the error of a text that is none.
#[derive(Clone)]
pub struct WebhookSecret {
    /// Ready for a message: the key itself is not kept.
    keyed: Hmac<Sha256>,
}

/// Returned for a text that is no [`WebhookSecret`]. Says what is wrong with it, and nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// It begins with something else.
    #[error("expected a secret that begins with `whsec_`")]
    Prefix,
    /// What follows the prefix is not base64.
    #[error("expected standard base64 behind `whsec_`")]
    Base64,
    /// The key is too short to be safe, or longer than the scheme allows.
    #[error("expected a key of 24 to 64 bytes in base64 behind `whsec_`, got {0} bytes")]
    KeyLength(usize),
}

impl FromStr for WebhookSecret {
    type Err = InvalidSecret;

    /// Reads `whsec_<base64>`.
    ///
    /// # Errors
    /// When the prefix is missing, the rest is not base64, or the key has less than 24 or more than 64 bytes.
    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::Prefix)?;
        // The decoder's own error would show a byte of the secret and its place.
        let key = OF_SECRETS.decode(encoded).map_err(|_| InvalidSecret::Base64)?;
        if !KEY_LENGTHS.contains(&key.len()) {
            return Err(InvalidSecret::KeyLength(key.len()));
        }
        let keyed = Hmac::new_from_slice(&key).map_err(|_| InvalidSecret::KeyLength(key.len()))?;
        Ok(Self { keyed })
    }
}

impl WebhookSecret {
    /// What it makes of a message. Comparing two of these takes the same time wherever they differ.
    fn over(&self, id: &str, timestamp: &str, body: &[u8]) -> CtOutput<Hmac<Sha256>> {
        let mut keyed = self.keyed.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            keyed.update(part);
        }
        keyed.finalize()
    }
}

impl PartialEq for WebhookSecret {
    /// Takes as long for any two secrets.
    fn eq(&self, other: &Self) -> bool {
        self.over("", "", b"") == other.over("", "", b"")
    }
}

impl Eq for WebhookSecret {}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

/// Returns the value of the header [`webhook-signature`](SignedHeaders::SIGNATURE): one signature a secret, in their
/// order. It is empty without a secret: send no such header then.
///
/// `id` is what the header [`webhook-id`](SignedHeaders::ID) says and holds no full stop, or [`verify`] refuses it;
/// `timestamp`, in seconds since the Unix epoch, is what [`webhook-timestamp`](SignedHeaders::TIMESTAMP) says, in
/// decimal.
pub fn sign(secrets: &[WebhookSecret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let mut signatures = String::new();
    for secret in secrets {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str(VERSION);
        signatures.push(',');
        STANDARD.encode_string(secret.over(id, &timestamp, body).into_bytes(), &mut signatures);
    }
    signatures
}

/// The three headers of a signed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHeaders<'a> {
    /// The value of [`webhook-id`](SignedHeaders::ID).
    pub id: &'a str,
    /// The value of [`webhook-timestamp`](SignedHeaders::TIMESTAMP).
    pub timestamp: &'a str,
    /// The value of [`webhook-signature`](SignedHeaders::SIGNATURE).
    pub signature: &'a str,
}

impl SignedHeaders<'_> {
    /// The header that names the message.
    pub const ID: &'static str = "webhook-id";
    /// The header that says when the message was sent, in whole seconds since the Unix epoch.
    pub const TIMESTAMP: &'static str = "webhook-timestamp";
    /// The header that carries the signatures.
    pub const SIGNATURE: &'static str = "webhook-signature";
    /// The header of an answer that says how many processes of one name the receiver hears, where there are several.
    pub const CONFLICT: &'static str = "mds-conflict";
    /// How far the time in a request may be from the receiver's clock, both ways: it bounds how long a request that was
    /// recorded can be sent again.
    pub const TOLERANCE: Duration = Duration::from_secs(300);
}

impl<'a> SignedHeaders<'a> {
    /// Collects the headers by name, whatever the HTTP library: `header` returns the value of one, or none if it is
    /// missing or not text.
    ///
    /// # Errors
    /// When one is missing.
    pub fn collect(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SignatureError> {
        let value = |name| header(name).ok_or(SignatureError::MissingHeader(name));
        Ok(Self { id: value(ID)?, timestamp: value(TIMESTAMP)?, signature: value(SIGNATURE)? })
    }

    /// Checks id and time, for which no body is needed. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When either is not as the scheme has it, or the time is too far from `now`.
    pub fn check_time(&self, now: u64) -> Result<(), SignatureError> {
        if self.id.is_empty() || self.id.contains('.') {
            return Err(SignatureError::InvalidId);
        }
        // A sign would parse too.
        if !self.timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SignatureError::InvalidTimestamp);
        }
        let sent: u64 = self.timestamp.parse().map_err(|_| SignatureError::InvalidTimestamp)?;
        if now.saturating_sub(sent) > TOLERANCE.as_secs() {
            return Err(SignatureError::TooOld(now - sent));
        }
        if sent.saturating_sub(now) > TOLERANCE.as_secs() {
            return Err(SignatureError::TooNew(sent - now));
        }
        Ok(())
    }
}

/// Why [`verify`] refuses a request. The sender need not be told which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A header is missing, or is not text.
    #[error("the header {0} is missing or not text")]
    MissingHeader(&'static str),
    /// The id is empty or holds a full stop, which separates the parts of the signed text.
    #[error("expected an id without a full stop in {ID}")]
    InvalidId,
    /// The timestamp is not a number.
    #[error("expected whole seconds since the Unix epoch in {TIMESTAMP}")]
    InvalidTimestamp,
    /// The request was sent longer than [`SignedHeaders::TOLERANCE`] ago: it may have been recorded and sent again.
    #[error("{TIMESTAMP} is {0} s old, more than 300 s")]
    TooOld(u64),
    /// The request comes from the future: one of the clocks is wrong by more than [`SignedHeaders::TOLERANCE`].
    #[error("{TIMESTAMP} is {0} s in the future, more than 300 s")]
    TooNew(u64),
    /// No signature is one that a secret makes of this id, timestamp and body.
    #[error("no signature in {SIGNATURE} is by a known secret")]
    NoMatch,
}

/// Checks that one who knows one of the secrets sent this body, with this id, within
/// [`SignedHeaders::TOLERANCE`] of `now`, which is in seconds since the Unix epoch.
///
/// A signature says nothing of repeats: a request can be sent again within the tolerance, so remember the ids.
/// The comparison takes as long for any wrong signature.
///
/// # Errors
/// When a header is not as the scheme has it, the timestamp is too far from `now`, or no signature matches. Without
/// secrets none does.
pub fn verify(
    secrets: &[WebhookSecret],
    headers: SignedHeaders<'_>,
    body: &[u8],
    now: u64,
) -> Result<(), SignatureError> {
    headers.check_time(now)?;
    let SignedHeaders { id, timestamp, signature } = headers;
    // Only now, since it costs a pass over the body a secret. What is signed is the header as it was sent.
    let expected: Vec<_> = secrets.iter().map(|secret| secret.over(id, timestamp, body)).collect();
    for tag in signature.split(' ').filter_map(read_signature) {
        let tag = CtOutput::new(tag.into());
        if expected.contains(&tag) {
            return Ok(());
        }
    }
    Err(SignatureError::NoMatch)
}

/// Reads `v1,<base64>`; none if it is of another version, or no signature at all.
fn read_signature(text: &str) -> Option<[u8; 32]> {
    let (VERSION, encoded) = text.split_once(',')? else { return None };
    // The decoder asks for room in multiples of three.
    let mut tag = [0; 33];
    let length = STANDARD.decode_slice(encoded, &mut tag).ok()?;
    tag[..length].try_into().ok()
}

/// Returns the seconds since the Unix epoch by the clock of this machine.
pub fn unix_now() -> u64 {
    // A clock before 1970 has no signature that is young enough, which is all that follows from 0.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secret(text: &str) -> WebhookSecret {
        text.parse().unwrap()
    }

    fn signed<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> SignedHeaders<'a> {
        SignedHeaders { id, timestamp, signature }
    }

    // The first is the example of the scheme's own libraries, the second was made by the Python package
    // `standardwebhooks` 1.1.0 of an event. Red when any part of the signed text, the key or the form differs.
    #[test]
    fn signatures_are_those_of_the_scheme() {
        let event = r#"{"id":"evt_85944171f73967e8_1ab_7","level":"hard","source":"büro/1"}"#;
        let known = [
            (
                ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, r#"{"test": 2432232314}"#),
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (("evt_85944171f73967e8_1ab_7", 1700000000, event), "v1,lU2a/Za/Quali9zfXD7iuItBWrLHlx3m95uxHyWSzhM="),
        ];
        for ((id, timestamp, body), signature) in known {
            assert_eq!(sign(&[secret(ONE)], id, timestamp, body.as_bytes()), signature);
            let sent = timestamp.to_string();
            let headers = signed(id, &sent, signature);
            assert_eq!(verify(&[secret(ONE)], headers, body.as_bytes(), timestamp), Ok(()));
            assert_eq!(verify(&[secret(OTHER)], headers, body.as_bytes(), timestamp), Err(SignatureError::NoMatch));
        }
    }

    // Red when only the first secret or the first signature counts.
    #[test]
    fn while_rotating_any_known_secret_will_do() {
        let (old, new) = (secret(ONE), secret(OTHER));
        let both = sign(&[new.clone(), old.clone()], "evt_1", 1_000, b"{}");
        assert_eq!(both.split(' ').count(), 2);
        for receiver in [vec![old.clone()], vec![new.clone()], vec![old.clone(), new.clone()]] {
            assert_eq!(verify(&receiver, signed("evt_1", "1000", &both), b"{}", 1_000), Ok(()));
        }
        let by_old = sign(std::slice::from_ref(&old), "evt_1", 1_000, b"{}");
        assert_eq!(verify(&[new.clone(), old.clone()], signed("evt_1", "1000", &by_old), b"{}", 1_000), Ok(()));
        assert_eq!(verify(&[new], signed("evt_1", "1000", &by_old), b"{}", 1_000), Err(SignatureError::NoMatch));
        assert_eq!(verify(&[], signed("evt_1", "1000", &by_old), b"{}", 1_000), Err(SignatureError::NoMatch));
        assert_eq!(sign(&[], "evt_1", 1_000, b"{}"), "");
    }

    // Red when the tolerance is another, holds in one direction only, or a time that is none passes.
    #[test]
    fn a_request_is_good_for_five_minutes_either_way() {
        let secrets = [secret(ONE)];
        let at = |sent: &str, now| {
            let signature = sign(&secrets, "evt_1", sent.parse().unwrap_or_default(), b"{}");
            verify(&secrets, signed("evt_1", sent, &signature), b"{}", now)
        };
        assert_eq!(at("1000", 1_300), Ok(()));
        assert_eq!(at("1000", 1_301), Err(SignatureError::TooOld(301)));
        assert_eq!(at("1000", 700), Ok(()));
        assert_eq!(at("1000", 699), Err(SignatureError::TooNew(301)));
        assert_eq!(at("18446744073709551615", 0), Err(SignatureError::TooNew(u64::MAX)));
        for wrong in ["", "+1000", "-1000", "1000.5", "1e3", "18446744073709551616", "1000 "] {
            assert_eq!(at(wrong, 1_000), Err(SignatureError::InvalidTimestamp), "{wrong:?}");
        }
        // The same number in another form is another text, and was not signed.
        assert_eq!(at("01000", 1_000), Err(SignatureError::NoMatch));
    }

    // Red when an id with a full stop passes: `a` with the body `1.{}` and `a.1` with the body `{}` are the same text.
    #[test]
    fn an_id_has_no_full_stop() {
        let secrets = [secret(ONE)];
        for id in ["", "evt.1"] {
            let signature = sign(&secrets, id, 1_000, b"{}");
            let verified = verify(&secrets, signed(id, "1000", &signature), b"{}", 1_000);
            assert_eq!(verified, Err(SignatureError::InvalidId));
        }
    }

    // Red when a header that is missing counts as an empty one.
    #[test]
    fn all_three_headers_are_needed() {
        for missing in [ID, TIMESTAMP, SIGNATURE] {
            let collected = SignedHeaders::collect(|name| (name != missing).then_some("1"));
            assert_eq!(collected, Err(SignatureError::MissingHeader(missing)));
        }
        assert_eq!(SignedHeaders::collect(Some), Ok(signed(ID, TIMESTAMP, SIGNATURE)));
    }

    // Red when what is no signature counts as one, or hides the good one beside it.
    #[test]
    fn what_is_no_signature_is_passed_over() {
        let secrets = [secret(ONE)];
        let good = sign(&secrets, "evt_1", 1_000, b"{}");
        let of_v1 = good.strip_prefix("v1,").unwrap();
        let longer = format!("{good}AAAA");
        for other in ["", "v1", "v1,", "v1a,abcd", "v1,AAAA", "v1,!", &good[..good.len() - 1], &longer, "v1,ä"] {
            let verify = |signature: &str| verify(&secrets, signed("evt_1", "1000", signature), b"{}", 1_000);
            assert_eq!(verify(other), Err(SignatureError::NoMatch), "{other:?}");
            assert_eq!(verify(&format!("{other} {good}")), Ok(()), "{other:?}");
            assert_eq!(verify(&format!("{good} {other}")), Ok(()), "{other:?}");
            // The right bytes under another version were made in another way.
            assert_eq!(verify(&format!("v2,{of_v1}")), Err(SignatureError::NoMatch));
        }
    }

    // Red when a text passes that is no secret, or its error or `Debug` shows anything of it.
    #[test]
    fn a_secret_is_checked_and_never_shown() {
        let key = |length: usize| format!("whsec_{}", STANDARD.encode(vec![b'k'; length]));
        for good in [key(24), key(32), key(64), key(32).trim_end_matches('=').to_owned()] {
            let secret: WebhookSecret = good.parse().unwrap();
            assert_eq!(format!("{secret:?}"), "WebhookSecret(***)");
        }
        let refused = [
            (key(23), InvalidSecret::KeyLength(23)),
            (key(65), InvalidSecret::KeyLength(65)),
            ("whsec_".to_owned(), InvalidSecret::KeyLength(0)),
            (key(32).replace("whsec_", ""), InvalidSecret::Prefix),
            (format!(" {}", key(32)), InvalidSecret::Prefix),
            (key(32).replace("a2", "-_"), InvalidSecret::Base64),
            (format!("{}\n", key(32)), InvalidSecret::Base64),
        ];
        for (text, expected) in refused {
            let error = text.parse::<WebhookSecret>().unwrap_err();
            assert_eq!(error, expected);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("a2tra2"), "{shown}");
        }
    }

    // Red when two secrets count as equal, or one is not equal to itself: a changed setting would not be seen.
    #[test]
    fn secrets_are_equal_by_their_keys() {
        assert_eq!(secret(ONE), secret(ONE));
        assert_ne!(secret(ONE), secret(OTHER));
    }
}
