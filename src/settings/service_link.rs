//! The variables that Kubernetes sets in a container for each service of its namespace.

/// Returns whether Kubernetes sets a variable of this name and value for a service `mds`, or one whose name begins with
/// `mds-`: it is no setting then, though it looks like one.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let parts: Vec<&str> = name.split('_').skip(1).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_protocol = |text: &str| ["TCP", "UDP", "SCTP"].contains(&text);
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let rest_of = |words: &[&str]| {
        let at = parts.windows(words.len()).position(|window| window == words)?;
        Some(&parts[at + words.len()..])
    };
    match (rest_of(&["SERVICE", "HOST"]), rest_of(&["SERVICE", "PORT"]), rest_of(&["PORT"])) {
        (Some([]), ..) => true,
        // A port may have a name.
        (_, Some(_), _) => is_number(value),
        (_, _, Some([])) => is_url,
        (_, _, Some([port, protocol])) => is_number(port) && is_protocol(protocol) && is_url,
        (_, _, Some([port, protocol, "PROTO" | "PORT" | "ADDR"])) => is_number(port) && is_protocol(protocol),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a name that Kubernetes sets counts as a setting that is not known, or a setting that is not known as one
    // that Kubernetes sets.
    #[test]
    fn service_links_are_told_from_settings() {
        for (name, value) in [
            ("MDS_PORT", "tcp://10.0.0.1:8080"),
            ("MDS_SERVICE_HOST", "10.0.0.1"),
            ("MDS_SERVICE_PORT", "8080"),
            ("MDS_SERVICE_PORT_HTTP", "8080"),
            ("MDS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("MDS_PORT_8080_TCP_PROTO", "tcp"),
            ("MDS_PORT_8080_TCP_PORT", "8080"),
            ("MDS_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("MDS_STORE_RECEIVER_SERVICE_HOST", "fd00::1"),
            ("MDS_STORE_RECEIVER_SERVICE_PORT_WEB_HOOKS", "443"),
            ("MDS_STORE_RECEIVER_PORT", "udp://[fd00::1]:53"),
            ("MDS_STORE_RECEIVER_PORT_53_UDP", "udp://[fd00::1]:53"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [
            ("MDS_PORT", "8080"),
            ("MDS_HTTP_PORT", "8080"),
            ("MDS_SERVICE_PORT", "http"),
            ("MDS_PORT_8080", "tcp://10.0.0.1:8080"),
            ("MDS_PORT_WEB_TCP_ADDR", "10.0.0.1"),
            ("MDS_SERVICE_HOSTS", "10.0.0.1"),
            ("MDS_SUPPORT", "tcp://10.0.0.1:8080"),
            ("MDS_", ""),
        ] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
