//! Who gets in: tokens, hosts, origins, and where the service listens at all.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use super::{Client, Service};
use crate::mds::{mds, stderr};

const WRITE: &str = "write-0123456789";
const READ: &str = "read-0123456789a";
const ADMIN: &str = "admin-0123456789";

fn guarded(dir: &std::path::Path) -> Service {
    Service::start(
        dir,
        &[
            ("MDS_HTTP_TOKEN", &format!("{WRITE},write-new-0123456")),
            ("MDS_HTTP_READ_TOKEN", READ),
            ("MDS_HTTP_ADMIN_TOKEN", ADMIN),
        ],
    )
}

/// What `/openapi.json` lists, with the method: all but what is open to anyone.
const ROUTES: [&str; 11] = [
    "GET /v1/coordinators",
    "GET /v1/coordinators/bars",
    "GET /v1/feedback",
    "GET /v1/feedback/stream",
    "GET /v1/webhooks",
    "GET /v1/records/bars",
    "POST /v1/records/bars",
    "GET /v1/dead-letters",
    "POST /v1/dead-letters/replay",
    "GET /openapi.json",
    "GET /metrics",
];

/// Red when a route is open without a token, or the answer waits for the body.
#[test]
fn a_bad_token_is_refused_before_any_of_the_body_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let service = guarded(dir.path());
    let bad = [
        String::new(),
        "Authorization: \r\n".to_owned(),
        format!("Authorization: Bearer {WRITE}x\r\n"),
        format!("Authorization: Basic {WRITE}\r\n"),
        format!("Authorization: {WRITE}\r\n"),
        format!("Authorization: Bearer {WRITE}\r\nAuthorization: Bearer {WRITE}\r\n"),
    ];
    for route in ROUTES {
        for authorization in &bad {
            // The length promises a body that never comes.
            let head = format!("{route} HTTP/1.1\r\nContent-Type: text/csv\r\n{authorization}");
            let client = Client::new(service.address, &head, Some(1_000_000_000));
            let answer = client.answer();
            assert_eq!(answer.status, 401, "{route} {authorization:?}: {answer:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert!(answer.json()["error"].is_string() && answer.headers.contains_key("mds-level"), "{answer:?}");
        }
    }
    // Open, so that a supervisor needs no token.
    for path in ["/livez", "/readyz"] {
        assert_eq!(service.get(path).status, 200);
    }
    assert!(!service.log().contains("0123456789"), "a token is in the log");
}

/// Red when a token may do what it is not for, or not what it is for.
#[test]
fn a_token_may_do_what_its_role_says() {
    let dir = tempfile::tempdir().unwrap();
    let service = guarded(dir.path());
    let ask = |route: &str, token: &str| {
        service.send(&format!("{route} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"), b"").status
    };
    for (route, [read, write, admin]) in [
        ("GET /v1/coordinators", [200, 200, 200]),
        ("GET /v1/records/bars", [503, 503, 503]),
        ("POST /v1/records/bars", [403, 200, 200]),
        ("POST /v1/dead-letters/replay", [403, 403, 200]),
    ] {
        let asked = [READ, WRITE, ADMIN].map(|token| ask(route, token));
        // What was never written to has no table to read from.
        let expected = if route.starts_with("GET /v1/records") { asked } else { [read, write, admin] };
        assert_eq!(asked, expected, "{route}");
        assert!(!asked.contains(&401));
    }
    assert_eq!(ask("POST /v1/records/bars", "write-new-0123456"), 200);
    // Letters that the router takes for others change nothing about the role.
    assert_eq!(ask("POST /v1/dead%2Dletters/replay", WRITE), 403);
}

/// Red when a token that is not known may do what all may, or a list without a token opens the service without a word.
#[test]
fn a_token_that_is_not_known_and_a_list_without_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_HTTP_ADMIN_TOKEN", ADMIN)]);
    let post = |headers: &str| service.send(&format!("POST /v1/records/bars HTTP/1.1\r\n{headers}"), b"").status;
    assert_eq!(post(""), 200);
    assert_eq!(post(&format!("Authorization: Bearer {ADMIN}\r\n")), 200);
    assert_eq!(post(&format!("Authorization: Bearer {WRITE}\r\n")), 401);
    let file = dir.path().join("tokens");
    std::fs::write(&file, " , \n").unwrap();
    for (variable, value) in
        [("MDS_HTTP_TOKEN", ","), ("MDS_HTTP_READ_TOKEN", " , ,"), ("MDS_HTTP_TOKEN_FILE", file.to_str().unwrap())]
    {
        let refused = mds(dir.path()).arg("serve").env(variable, value).output().unwrap();
        assert_eq!(refused.status.code(), Some(78), "{variable}");
        assert!(stderr(&refused).contains(&format!("{variable} is ")), "{}", stderr(&refused));
    }
}

/// Red when a page of another site can post here through the browser of this machine's user.
#[test]
fn a_service_on_this_machine_refuses_hosts_and_origins_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    for head in [
        "GET /v1/coordinators HTTP/1.1\r\nHost: evil.example\r\n",
        "GET /livez HTTP/1.1\r\nHost: evil.example:8080\r\n",
        "POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n",
        "POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n",
    ] {
        assert_eq!(service.send(head, b"").status, 403, "{head}");
    }
    let own = "POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n";
    assert_eq!(service.send(own, b"").status, 200);
    let answer = service.get("/livez");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].contains("frame-ancestors 'none'"), "{answer:?}");
    // Without an admin token nobody replays.
    assert_eq!(service.send("POST /v1/dead-letters/replay HTTP/1.1\r\n", b"").status, 403);
}

/// Red when others can write because a token was forgotten.
#[test]
fn an_address_that_others_reach_needs_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let refused = mds(dir.path()).arg("serve").env("MDS_HTTP_BIND", "0.0.0.0:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    assert!(stderr(&refused).contains("MDS_HTTP_TOKEN is not set"), "{}", stderr(&refused));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taken = mds(dir.path()).arg("serve").env("MDS_HTTP_BIND", &address).output().unwrap();
    assert_eq!(taken.status.code(), Some(78));
    assert!(stderr(&taken).contains(&format!("MDS_HTTP_BIND is {address}")), "{}", stderr(&taken));
    for (variable, value) in [("MDS_HTTP_TOKEN", WRITE), ("MDS_HTTP_ALLOW_ANONYMOUS", "true")] {
        let service = Service::start(dir.path(), &[("MDS_HTTP_BIND", "0.0.0.0:0"), (variable, value)]);
        service.wait_for("have TLS terminated in front of it");
    }
}

/// Red when a probe has to wait for the store, or readiness is told before it is there.
#[cfg(feature = "postgres")]
#[test]
fn probes_are_answered_while_the_database_is_not_there() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://mds@{}/mds?sslmode=disable", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let service = Service::listening(dir.path(), &[("MDS_DATABASE_URL", &url)]);
    assert_eq!(service.get("/livez").status, 200);
    let readiness = service.get("/readyz");
    assert_eq!((readiness.status, readiness.json()["status"].as_str()), (503, Some("starting")));
    let refused = service.post("/v1/records/bars", b"{}");
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true));
    // A database that is away is an outage: the store starts, and the queue takes records.
    service.wait_for("ready address=");
    assert_eq!(service.get("/readyz").status, 200);
    drop(silent);
}

/// Red when a request that waits at its head or its body holds its connection without end.
#[test]
fn a_head_without_an_end_is_answered_408() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let mut client = Client(std::net::TcpStream::connect(service.address).unwrap());
    client.0.set_read_timeout(Some(crate::mds::TOO_LONG)).unwrap();
    client.0.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    assert_eq!(client.answer().status, 408);
}

/// Red when a body is asked for that is refused, or one that is taken is not.
#[test]
fn a_client_that_waits_for_continue_is_refused_before_it_sends() {
    let dir = tempfile::tempdir().unwrap();
    let service = guarded(dir.path());
    let ask = |token: &str| {
        let head = format!(
            "POST /v1/records/bars HTTP/1.1\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\n\
             Authorization: Bearer {token}\r\n"
        );
        let body = super::bar(1);
        let mut client = Client::new(service.address, &head, Some(body.len()));
        let mut first = [0; 12];
        client.0.read_exact(&mut first).unwrap();
        (String::from_utf8_lossy(&first).into_owned(), client)
    };
    let (first, mut client) = ask(WRITE);
    assert_eq!(first, "HTTP/1.1 100");
    client.0.read_exact(&mut [0; 13]).unwrap();
    client.write(super::bar(1).as_bytes());
    assert_eq!(client.answer().status, 200);
    for (token, expected) in [("unknown-01234567", "HTTP/1.1 401"), (READ, "HTTP/1.1 403")] {
        assert_eq!(ask(token).0, expected);
    }
}

/// Red when a client without a token can send without end behind its refusal.
#[test]
fn a_refused_body_without_an_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let service = guarded(dir.path());
    for route in ["POST /v1/records/bars", "GET /v1/coordinators", "POST /nothing", "PUT /livez", "GET /livez"] {
        let mut client = Client::new(service.address, &format!("{route} HTTP/1.1\r\n"), None);
        let (began, piece) = (std::time::Instant::now(), [b"1000\r\n", &[b'x'; 4096][..], b"\r\n"].concat());
        // It ends with an error: the connection is closed.
        while client.0.write_all(&piece).is_ok() {
            assert!(began.elapsed() < crate::mds::TOO_LONG, "{route} is read without end");
        }
    }
}
