//! What is sent to break the service costs its sender an answer, and nobody else anything.

use std::io::{Read, Write};

use super::{Answer, Service, bar};
use crate::mds::TOO_LONG;

fn resident_kib(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn packed(program: &str, bytes: usize) -> Vec<u8> {
    // A record, and then blank lines, which are none.
    let text = format!("{{ printf '%s' \"$RECORD\"; head -c {bytes} /dev/zero | tr '\\0' '\\n'; }} | {program}");
    let output = std::process::Command::new("sh").args(["-c", &text]).env("RECORD", bar(1)).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Red when one of these is taken, ends the process, panics, or is kept in memory; the limit of lines, of nesting or of
/// what a body unpacks to is turned off.
#[test]
fn bombs_and_rubbish_are_refused_with_flat_memory() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    assert_eq!(service.post("/v1/records/bars", bar(1).as_bytes()).status, 200);
    let before = resident_kib(&service);
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(100_000);
    let long = vec![b'x'; 8 << 20];
    let mut invalid = bar(2).into_bytes();
    invalid[30] = 0xff;
    let nul = bar(3).replace("test", "te\\u0000st");
    let newline = bar(4).replace("\"S4\"", "\"S\\r\\n4\"");
    let bodies: [(&str, &str, Vec<u8>); 10] = [
        ("deep array", "application/json", deep.into_bytes()),
        ("deep object", "application/x-ndjson", deep_object.into_bytes()),
        ("long line", "application/x-ndjson", [b"{\"a\":\"", &*long].concat()),
        ("long CSV", "text/csv", long.clone()),
        ("invalid UTF-8", "application/x-ndjson", invalid),
        ("NUL", "application/x-ndjson", nul.into_bytes()),
        ("line end in a symbol", "application/x-ndjson", newline.into_bytes()),
        ("bytes", "application/octet-stream", (0..=255).cycle().take(100_000).collect()),
        ("gzip bomb", "application/gzip", packed("gzip -9c", 1 << 30)),
        ("damaged gzip", "application/gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03rubbish".to_vec()),
    ];
    for (what, content, body) in bodies {
        let head = format!("POST /v1/records/bars?symbol=A&timeframe=1m HTTP/1.1\r\nContent-Type: {content}\r\n");
        let answer = service.send(&head, &body);
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        let error = answer.json().to_string();
        assert!(error.len() < 40_000 && !error.contains("\\u0000") && !error.contains("\\r"), "{what}: {error}");
        assert_eq!(service.get("/livez").status, 200, "{what}");
    }
    assert_eq!(service.ids(), [1]);
    let after = resident_kib(&service);
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    let log = service.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Red when two readers of one connection can take one request for two.
#[test]
fn ambiguous_framing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let body = bar(1);
    let length = body.len();
    for head in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 1x\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
    ] {
        let mut stream = std::net::TcpStream::connect(service.address).unwrap();
        stream.set_read_timeout(Some(TOO_LONG)).unwrap();
        let text =
            format!("POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\n{head}Connection: close\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = Answer::parse(&answer);
        assert!((400..500).contains(&answer.status) || answer.status == 501, "{head:?}: {answer:?}");
    }
    assert_eq!(service.get("/livez").status, 200);
    assert!(!service.log().contains("ERROR"), "{}", service.log());
}
