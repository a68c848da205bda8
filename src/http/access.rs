//! Who may do what: tokens, their roles, and which origins reach a service on this machine.

use std::net::SocketAddr;

use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::settings::{HttpServerSettings, Secret};

/// What a route asks for, from the least. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Nothing: anyone who reaches the service may.
    Anyone,
    Read,
    Write,
    Admin,
}

/// Why a request may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It has no token that is known here.
    Unknown,
    /// Its token is for less.
    Role,
}

/// The tokens of a service, as digests: they are compared in a time that says nothing of them.
pub(super) struct Access {
    tokens: Vec<(Role, [u8; 32])>,
    /// What a request without a token may; none where each needs one.
    anonymous: Option<Role>,
    /// Whether only this machine reaches the service: then a browser on it must not be made to.
    is_local: bool,
}

impl Access {
    /// Lets all do all: the service around the routes decides.
    pub(super) fn open() -> Self {
        Self { tokens: Vec::new(), anonymous: Some(Role::Admin), is_local: false }
    }

    /// Goes by the settings.
    pub(super) fn of_settings(settings: &HttpServerSettings) -> Self {
        let digests = |role: Role, tokens: &[Secret]| -> Vec<_> {
            tokens.iter().map(|token| (role, digest(token.expose().as_bytes()))).collect()
        };
        let mut tokens = digests(Role::Admin, &settings.admin_tokens);
        tokens.extend(digests(Role::Write, &settings.tokens));
        tokens.extend(digests(Role::Read, &settings.read_tokens));
        // One for administration alone closes nothing that was open.
        let is_open = settings.tokens.is_empty() && settings.read_tokens.is_empty();
        Self { tokens, anonymous: is_open.then_some(Role::Write), is_local: is_loopback(settings.bind) }
    }

    /// Decides by the head of a request alone.
    pub(super) fn check(&self, needed: Role, headers: &HeaderMap) -> Result<(), Denied> {
        if needed == Role::Anyone {
            return Ok(());
        }
        let role = match self.role_of(headers) {
            Some(role) => role,
            // Who shows one that is not known here takes it for one that is: it may have been withdrawn.
            None if !self.tokens.is_empty() && headers.contains_key(AUTHORIZATION) => return Err(Denied::Unknown),
            None => self.anonymous.ok_or(Denied::Unknown)?,
        };
        if role >= needed { Ok(()) } else { Err(Denied::Role) }
    }

    /// Returns the role of the token that a request has; none if it has none that is known. Each token is compared whole.
    fn role_of(&self, headers: &HeaderMap) -> Option<Role> {
        let mut all = headers.get_all(AUTHORIZATION);
        let (Some(value), None) = (all.next(), all.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let digest = digest(token.trim_matches(' ').as_bytes());
        let mut found = None;
        for (role, known) in &self.tokens {
            if bool::from(known.ct_eq(&digest)) {
                found = found.max(Some(*role));
            }
        }
        found
    }

    /// Says what is wrong with the host or the origin of a request to a service on this machine: a page of another site
    /// can make a browser post here, and have its own name lead here.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if !self.is_local {
            return Ok(());
        }
        let host = match only(headers, HOST).map(HeaderValue::to_str) {
            Some(Ok(host)) if is_local_host(host) => host,
            _ => return Err("expected one Host header that names this machine, such as localhost:8080"),
        };
        if !headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let origin = only(headers, ORIGIN).and_then(|origin| origin.to_str().ok());
        match origin.and_then(|origin| origin.strip_prefix("http://")) {
            Some(origin) if origin.eq_ignore_ascii_case(host) => Ok(()),
            _ => Err("expected no Origin header, or that of this service: pages of other origins are kept out"),
        }
    }
}

fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name);
    all.next().filter(|_| all.next().is_none())
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Returns whether only this machine reaches an address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Returns whether a host, with a port or without, is this machine by its name or its address.
fn is_local_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => name,
        _ => host,
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = "write-0123456789";
    const READ: &str = "read-0123456789a";
    const ADMIN: &str = "admin-0123456789";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn access(write: &[&str], read: &[&str], admin: &[&str]) -> Access {
        let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect();
        Access::of_settings(&HttpServerSettings {
            tokens: secrets(write),
            read_tokens: secrets(read),
            admin_tokens: secrets(admin),
            ..HttpServerSettings::default()
        })
    }

    // Red when a role includes one above it, a token that is not known passes, or one list closes too little.
    #[test]
    fn a_token_has_its_role_and_those_below_it() {
        let all = access(&["other-0123456789", WRITE], &[READ], &[ADMIN]);
        let with = |token: &str| headers(&[(AUTHORIZATION, &format!("Bearer {token}"))]);
        for (token, most) in [(READ, Role::Read), (WRITE, Role::Write), (ADMIN, Role::Admin)] {
            for needed in [Role::Anyone, Role::Read, Role::Write, Role::Admin] {
                let expected = if needed <= most { Ok(()) } else { Err(Denied::Role) };
                assert_eq!(all.check(needed, &with(token)), expected, "{token} {needed:?}");
            }
        }
        let none = headers(&[]);
        assert_eq!(all.check(Role::Read, &none), Err(Denied::Unknown));
        assert_eq!(all.check(Role::Anyone, &none), Ok(()));
        // Without tokens this machine reads and writes, and no request administrates.
        let open = access(&[], &[], &[]);
        assert_eq!(open.check(Role::Write, &none), Ok(()));
        assert_eq!(open.check(Role::Admin, &none), Err(Denied::Role));
        let admin = access(&[], &[], &[ADMIN]);
        assert_eq!(admin.check(Role::Write, &none), Ok(()));
        // A token that is not known is for nothing, not for what all may.
        assert_eq!(admin.check(Role::Read, &with(WRITE)), Err(Denied::Unknown));
        assert_eq!(admin.check(Role::Admin, &with(ADMIN)), Ok(()));
        let reads = access(&[], &[READ], &[]);
        assert_eq!(reads.check(Role::Write, &none), Err(Denied::Unknown));
        assert_eq!(reads.check(Role::Write, &with(READ)), Err(Denied::Role));
    }

    // Red when one of the ways to send a token wrongly counts as one that is known.
    #[test]
    fn a_token_that_is_not_sent_as_it_has_to_be_is_unknown() {
        let access = access(&[WRITE], &[], &[]);
        let good = format!("Bearer {WRITE}");
        for bad in [
            headers(&[(AUTHORIZATION, "")]),
            headers(&[(AUTHORIZATION, "Bearer ")]),
            headers(&[(AUTHORIZATION, WRITE)]),
            headers(&[(AUTHORIZATION, &format!("Basic {WRITE}"))]),
            headers(&[(AUTHORIZATION, &format!("Bearer {WRITE}0"))]),
            headers(&[(AUTHORIZATION, &format!("Bearer {}", &WRITE[1..]))]),
            headers(&[(AUTHORIZATION, &format!("Bearer {WRITE},{WRITE}"))]),
            headers(&[(AUTHORIZATION, &good), (AUTHORIZATION, &good)]),
            headers(&[(AUTHORIZATION, "Bearer \u{e4}")]),
        ] {
            assert_eq!(access.check(Role::Read, &bad), Err(Denied::Unknown), "{bad:?}");
        }
        for sent in [&*good, &format!("bearer {WRITE}"), &format!("Bearer  {WRITE} ")] {
            assert_eq!(access.check(Role::Write, &headers(&[(AUTHORIZATION, sent)])), Ok(()), "{sent}");
        }
    }

    // Red when a name that leads here by the DNS of others, or a page of another site, passes; or our own page does not.
    #[test]
    fn a_service_on_this_machine_keeps_pages_of_others_out() {
        let local = access(&[], &[], &[]);
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::ffff:127.0.0.1]"] {
            assert_eq!(local.check_origin(&headers(&[(HOST, host)])), Ok(()), "{host}");
            let own = headers(&[(HOST, host), (ORIGIN, &format!("http://{host}"))]);
            assert_eq!(local.check_origin(&own), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "", ":8080", "::1"]
        {
            let is_address = host == "::1";
            assert_eq!(local.check_origin(&headers(&[(HOST, host)])).is_err(), !is_address, "{host}");
        }
        let with = |origin| local.check_origin(&headers(&[(HOST, "localhost:8080"), (ORIGIN, origin)]));
        for origin in
            ["http://evil.example", "null", "https://localhost:8080", "http://localhost:3000", "http://localhost"]
        {
            assert!(with(origin).is_err(), "{origin}");
        }
        assert!(local.check_origin(&headers(&[])).is_err());
        assert!(local.check_origin(&headers(&[(HOST, "localhost"), (HOST, "localhost")])).is_err());
        let settings = HttpServerSettings { bind: "0.0.0.0:80".parse().unwrap(), ..HttpServerSettings::default() };
        assert_eq!(Access::of_settings(&settings).check_origin(&headers(&[(HOST, "mds.example")])), Ok(()));
    }
}
