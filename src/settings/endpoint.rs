//! A URL that events are sent to, which may hold secrets everywhere but in its scheme, host and port.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Serialize, Serializer};

/// An `http` or `https` URL to send events to.
///
/// A URL may hold a password, or a token in its path or query. So it shows its scheme, host and port, and nothing else:
/// by `Display`, by `Debug` and in JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    https: bool,
    /// With brackets if it is an IPv6 address.
    host: String,
    port: u16,
    /// As it was written, still encoded.
    user_info: Option<String>,
    /// From the slash on, never empty.
    path_and_query: String,
}

/// Returned for a text that is no [`Endpoint`]. Says what is wrong with it, and nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// It begins with something else.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// There is no host, or it is no name and no address.
    #[error("its host is not a name or an address")]
    Host,
    /// The port is none from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A character would have to be written as `%` and two digits.
    #[error("it holds a character that a URL cannot, or a fragment")]
    Character,
    /// A certificate cannot be checked against it by this client.
    #[error("https needs a host name or an IPv4 address")]
    HttpsToIpv6,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidEndpoint::Scheme)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(InvalidEndpoint::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user_info, host_and_port) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        if !path.bytes().all(|byte| is_plain(byte) || b":@/?%".contains(&byte))
            || !user_info.unwrap_or_default().bytes().all(|byte| is_plain(byte) || b":%".contains(&byte))
        {
            return Err(InvalidEndpoint::Character);
        }
        let (host, port) = split_port(host_and_port);
        let is_address = is_ipv6(host);
        if !is_address && (host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))) {
            return Err(InvalidEndpoint::Host);
        }
        if is_address && https {
            return Err(InvalidEndpoint::HttpsToIpv6);
        }
        let port = match port {
            // A sign would parse too.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or(InvalidEndpoint::Port)?
            }
            Some(_) => return Err(InvalidEndpoint::Port),
            None if https => 443,
            None => 80,
        };
        Ok(Self {
            https,
            host: host.to_ascii_lowercase(),
            port,
            user_info: user_info.filter(|info| !info.is_empty()).map(ToOwned::to_owned),
            path_and_query: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

/// The letters, digits and signs that stand for themselves in every part behind the host.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

fn is_ipv6(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Splits off what follows the last colon, unless that is one of an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

impl Endpoint {
    /// Returns host and port, the label of its metrics: `hooks.example:443`.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the URL to ask for, without user and password: those travel in a header.
    #[cfg(feature = "webhooks")]
    pub(crate) fn url(&self) -> String {
        format!("{self}{}", self.path_and_query)
    }

    /// Returns user and password as they stand in the URL, still encoded.
    #[cfg(feature = "webhooks")]
    pub(crate) fn user_info(&self) -> Option<&str> {
        self.user_info.as_deref()
    }
}

/// `https://hooks.example:443`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.https { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a port by default is another, or case and an empty path count.
    #[test]
    fn a_url_is_read_and_shows_scheme_host_and_port_alone() {
        for (text, shown) in [
            ("http://hooks.example", "http://hooks.example:80"),
            ("HTTPS://Hooks.Example/T0KEN/x?key=S3CRET&a=1", "https://hooks.example:443"),
            ("https://ann:pa55%40@hooks.example:8443?key=S3CRET", "https://hooks.example:8443"),
            ("http://[::1]:9000/T0KEN", "http://[::1]:9000"),
            ("http://[2001:db8::7]", "http://[2001:db8::7]:80"),
            ("https://10.0.0.7:1/", "https://10.0.0.7:1"),
            ("http://under_score.internal:65535", "http://under_score.internal:65535"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown, "{text}");
            assert_eq!(format!("{endpoint:?}"), format!("Endpoint({shown})"));
            assert_eq!(serde_json::to_string(&endpoint).unwrap(), format!("{shown:?}"));
            assert!(shown.ends_with(&endpoint.host_and_port()));
        }
    }

    #[cfg(feature = "webhooks")]
    #[test]
    fn what_is_asked_for_is_the_whole_url_but_for_user_and_password() {
        for (text, url, user_info) in [
            ("http://h", "http://h:80/", None),
            ("http://h?a=b", "http://h:80/?a=b", None),
            ("https://a:b@h/T0KEN/x?key=1", "https://h:443/T0KEN/x?key=1", Some("a:b")),
            ("http://@h/x/@y", "http://h:80/x/@y", None),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.url().as_str(), endpoint.user_info()), (url, user_info));
        }
    }

    // Red when one of these gets as far as a request.
    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for (text, problem) in [
            ("", InvalidEndpoint::Scheme),
            ("hooks.example/x", InvalidEndpoint::Scheme),
            ("ftp://hooks.example", InvalidEndpoint::Scheme),
            ("http:/hooks.example", InvalidEndpoint::Scheme),
            ("http://", InvalidEndpoint::Host),
            ("http:///x", InvalidEndpoint::Host),
            ("http://:80/x", InvalidEndpoint::Host),
            ("http://a:b@/x", InvalidEndpoint::Host),
            ("http://ho st/", InvalidEndpoint::Host),
            ("http://höst/", InvalidEndpoint::Host),
            ("http://::1/", InvalidEndpoint::Host),
            ("http://[::g]/", InvalidEndpoint::Host),
            ("http://h:/x", InvalidEndpoint::Port),
            ("http://h:0/", InvalidEndpoint::Port),
            ("http://h:+80/", InvalidEndpoint::Port),
            ("http://h:65536/", InvalidEndpoint::Port),
            ("http://h/a b", InvalidEndpoint::Character),
            ("http://h/a\nb", InvalidEndpoint::Character),
            ("http://h/ä", InvalidEndpoint::Character),
            ("http://h/x#part", InvalidEndpoint::Character),
            ("http://a@b@h/x", InvalidEndpoint::Character),
            ("https://[::1]/", InvalidEndpoint::HttpsToIpv6),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(problem), "{text:?}");
        }
    }
}
