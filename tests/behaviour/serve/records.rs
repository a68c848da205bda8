//! What is posted is stored and read back, in every form; and each route does what `/openapi.json` says.

use std::{collections::BTreeSet, io::Write};

use serde_json::{Value, json};

use super::{Service, bar, bars};
use crate::{
    mds::{SP500, count},
    support::stored_at,
};
use market_data_store::{Bar, News, Quote, Trade};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// Red when a record of the file is not in the database, is there otherwise than `mds ingest` reads it, or a page repeats
/// or leaves out one.
#[test]
fn a_file_that_is_posted_is_read_back_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let file = std::fs::read(SP500).unwrap();
    let rows = String::from_utf8_lossy(&file).lines().count() as u64 - 1;
    let head = "POST /v1/records/bars?symbol=SPX&timeframe=1d&vendor=test&ts_format=%25m/%25d/%25Y HTTP/1.1\r\n\
                Content-Type: text/csv\r\n";
    let answer = service.send(head, &file);
    assert_eq!(answer.status, 200, "{answer:?}");
    let tally = answer.json();
    let expected = json!({
        "submitted": rows, "stored": rows, "dead_lettered": 0, "dropped": 0, "skipped": 0, "rejected_count": 0,
        "rejected": [], "ignored": ["Adj Close"], "resume_at": rows, "durable": true,
    });
    assert_eq!(tally, expected);
    assert_eq!(answer.headers["mds-level"], "ok");

    let other = tempfile::tempdir().unwrap();
    let args = ["--symbol", "SPX", "--timeframe", "1d", "--vendor", "test", SP500];
    assert!(crate::mds::run(other.path(), &args).status.success());
    let url = |dir: &std::path::Path| format!("sqlite://{}", dir.join("market_data.db").display());
    let (posted, ingested) = (stored_at::<Bar>(&url(dir.path())), stored_at::<Bar>(&url(other.path())));
    assert_eq!(posted, ingested);

    let (mut read, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = service.get(&format!("/v1/records/bars?symbol=spx&limit=100{cursor}")).json();
        let records = page["records"].as_array().unwrap();
        assert!(records.len() <= 100 && page["invalid"] == json!([]), "{page}");
        read.extend(records.iter().map(|record| serde_json::from_value::<Bar>(record.clone()).unwrap()));
        pages += 1;
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(read, posted);
    assert_eq!(pages, rows.div_ceil(100));
    let some = service.get("/v1/records/bars?where=vendor%3Dtest&from=2024-01-01&to=2024-02-01&limit=3").json();
    assert!(some["records"].as_array().unwrap().len() <= 3);
    for (path, expected) in [
        ("/v1/records/bars?limit=0", "limit: expected a number from 1 to 10000"),
        ("/v1/records/bars?cursor=x", "cursor: expected one that was returned"),
        ("/v1/records/bars?from=soon", "from: "),
        ("/v1/records/bars?where=pric%3D1", "where: \"pric\": expected a column of bars"),
        ("/v1/records/bars?symbol=", "symbol: "),
        ("/v1/records/bars?sort=ts", "expected the parameters symbol, where, from, to, limit and cursor, got \"sort\""),
    ] {
        let answer = service.get(path);
        assert_eq!(answer.status, 400, "{path} {answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with(expected), "{path} {answer:?}");
    }
    assert_eq!(service.get("/v1/records/ticks").status, 404);
}

/// Red when one of the forms is read otherwise than the others, or a body that comes in small pieces otherwise than one
/// that comes whole.
#[test]
fn every_form_of_a_body_stores_the_same() {
    let lines = bars(0..300);
    let objects: Vec<Value> =
        String::from_utf8_lossy(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&String> = objects[0].as_object().unwrap().keys().collect();
    let mut csv = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",") + "\r\n";
    for object in &objects {
        let cell = |name: &&String| object[name.as_str()].to_string().trim_matches('"').to_owned();
        csv += &(names.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n");
    }
    let array = serde_json::to_vec_pretty(&objects).unwrap();
    for (form, content, body) in [
        ("ndjson", "application/x-ndjson", lines.clone()),
        ("array", "application/json", array.clone()),
        ("csv", "text/csv; charset=utf-8", csv.clone().into_bytes()),
        ("gzip", "application/x-ndjson\r\nContent-Encoding: gzip", gzip(&lines)),
        ("gzip array", "application/gzip", gzip(&array)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(dir.path(), &[]);
        let head = format!("POST /v1/records/bars HTTP/1.1\r\nContent-Type: {content}\r\n");
        let whole = service.send(&head, &body);
        assert_eq!((whole.status, count(&whole.json(), "stored")), (200, 300), "{form} {whole:?}");
        assert_eq!(service.ids(), (0..300).collect::<Vec<_>>(), "{form}");
        // The same once more, a few bytes at a time: the reader meets the end of what came in every place.
        let mut client = super::Client::new(service.address, &head, None);
        client.0.set_nodelay(true).unwrap();
        for piece in body.chunks(97) {
            client.write(format!("{:x}\r\n", piece.len()).as_bytes());
            client.write(piece);
            client.write(b"\r\n");
        }
        client.write(b"0\r\n\r\n");
        let pieces = client.answer();
        assert_eq!(pieces.json(), whole.json(), "{form}");
        assert_eq!(service.ids().len(), 300, "{form}");
    }
}

/// Red when a kind is not taken, a record gets what another one shows, or what is wrong is not named with its place.
#[test]
fn each_record_is_read_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let csv = |path: &str, body: &str| {
        service.send(&format!("POST {path} HTTP/1.1\r\nContent-Type: text/csv\r\n"), body.as_bytes())
    };
    // No row says which number is the month.
    let dates = "date,open,high,low,close\n1/13/1999,1,1,1,1\n1/4/1999,2,2,2,2\n1/5/1999,3,3,3,3\n";
    let refused = csv("/v1/records/bars?symbol=A&timeframe=1d", dates);
    let tally = refused.json();
    // What came with it in one piece is not stored either.
    assert_eq!((refused.status, &tally["stored"], &tally["resume_at"]), (422, &json!(0), &json!(0)), "{refused:?}");
    let error = tally["error"].as_str().unwrap();
    assert!(error.starts_with("line 3: ") && error.contains("ts_format='%m/%d/%Y'"), "{error}");
    let said = csv("/v1/records/bars?symbol=A&timeframe=1d&ts_format=%25m/%25d/%25Y", dates);
    assert_eq!((said.status, count(&said.json(), "stored")), (200, 3));
    let missing = csv("/v1/records/bars", "date,open,high,low,close\n2024-01-02,1,1,1,1\n2024-01-03,1,1,1,1\n");
    assert_eq!(missing.status, 422);
    assert!(missing.json()["error"].as_str().unwrap().contains("give symbol=SYMBOL and timeframe="), "{missing:?}");

    let trades = "symbol,ts,price,size,seq\nES,2024-01-02T14:30:00Z,1,1,7\nES,2024-01-02T14:30:00Z,2,1,\n";
    let trades = csv("/v1/records/trades", trades);
    let tally = trades.json();
    assert_eq!((trades.status, count(&tally, "stored"), count(&tally, "rejected_count")), (422, 1, 1), "{tally}");
    let rejected = &tally["rejected"][0];
    assert_eq!((&rejected["record"], &rejected["line"]), (&json!(1), &json!(3)), "{tally}");
    assert!(rejected["error"].as_str().unwrap().starts_with("id: expected an id or a seq"), "{tally}");

    let news = "id,ts,symbols,title\nn1,2024-01-02T14:30:00Z,\"[\"\"ES\"\"]\",\"two\nlines, and \"\"quotes\"\"\"\n";
    assert_eq!(csv("/v1/records/news", news).status, 200);
    let quote = r#"{"symbol":"ES","ts":"2024-01-02T14:30:00.123456789Z","bid":1,"ask":2}"#;
    assert_eq!(service.post("/v1/records/quotes", quote.as_bytes()).status, 200);
    // Of our own fields those that may be null may be left out; others are asked for.
    let one_side = "{\"symbol\":\"NQ\",\"ts\":\"2024-01-02T14:30:00Z\",\"bid\":1}\n{\"symbol\":\"NQ\",\"bid\":1}\n\
                    {\"symbol\":\"NQ\",\"ts\":\"2024-01-02T14:30:00Z\",\"bid\":1,\"bd_size\":1}\n";
    let sided = service.post("/v1/records/quotes", one_side.as_bytes()).json();
    assert_eq!((count(&sided, "stored"), count(&sided, "rejected_count")), (1, 2), "{sided}");
    let url = format!("sqlite://{}", dir.path().join("market_data.db").display());
    assert_eq!(stored_at::<News>(&url)[0].title, "two\nlines, and \"quotes\"");
    assert_eq!(stored_at::<Quote>(&url)[0].seq, 0);
    assert_eq!(stored_at::<Trade>(&url)[0].id, "seq:7");

    for (path, status) in [
        ("/v1/records/ticks", 404),
        ("/v1/records/bars?coordinator=other", 404),
        ("/v1/records/bars?coordinator=quotes", 404),
        ("/v1/records/bars?ack=maybe", 400),
        ("/v1/records/trades?timeframe=1m", 422),
        ("/v1/records/bars?skip=5", 400),
    ] {
        assert_eq!(service.post(path, bar(1).as_bytes()).status, status, "{path}");
    }
    let form =
        service.send("POST /v1/records/bars HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n", b"a=1");
    assert_eq!(form.status, 415);
    let packed = "POST /v1/records/bars HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Encoding: br\r\n";
    assert_eq!(service.send(packed, b"a").status, 415);
    // In the queue is enough where that is asked for; what is wrong is told all the same.
    let queued = service.post("/v1/records/bars?ack=queued", &bars(10..20));
    let tally = queued.json();
    assert_eq!((queued.status, &tally["durable"], &tally["resume_at"]), (202, &json!(false), &json!(10)), "{tally}");
    let mixed = [bar(30).as_bytes(), b"{}\n", bar(31).as_bytes()].concat();
    let mixed = service.post("/v1/records/bars", &mixed).json();
    let counts = ["submitted", "stored", "rejected_count", "resume_at"].map(|name| count(&mixed, name));
    assert_eq!((counts, &mixed["rejected"][0]["record"]), ([2, 2, 1, 3], &json!(1)), "{mixed}");
}

/// Red when a record over HTTP is another one behind others, or a zone is dropped for some of them.
#[test]
fn no_record_depends_on_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let quotes = "{\"symbol\":\"A1\",\"ts\":\"2024-01-02T14:30:00\",\"bid\":1}\n\
                  {\"symbol\":\"A2\",\"ts\":\"2024-01-02T14:30:00\",\"bid\":1,\"ask\":2,\"seq\":3}\n\
                  {\"symbol\":\"A3\",\"ts\":\"2024-01-02T14:30:00\",\"bid\":1,\"ask\":2}\n";
    let answer = service.post("/v1/records/quotes?tz=America/New_York", quotes.as_bytes());
    assert_eq!((answer.status, count(&answer.json(), "stored")), (200, 3), "{answer:?}");
    let url = format!("sqlite://{}", dir.path().join("market_data.db").display());
    for quote in stored_at::<Quote>(&url) {
        assert_eq!(quote.ts.to_string(), "2024-01-02T19:30:00Z", "{quote:?}");
    }
    assert_eq!(stored_at::<Quote>(&url).len(), 3);
}

/// Red when what is not there is answered as what may come, a text is stored otherwise than it was sent, or a refusal leaves
/// no line in the log, or one with what was sent.
#[test]
fn what_cannot_be_done_is_told_to_the_client_and_counted_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_KINDS", "bars")]);
    assert_eq!(service.get("/v1/records/bars").status, 200);
    let none = service.get("/v1/records/trades");
    assert!(none.status == 404 && none.body.contains("no table of trades"), "{none:?}");
    let csv = "ts,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n2024-01-03,x5y,1,1,1,1\n";
    let post = |symbol: &str| {
        let path = format!("/v1/records/bars?symbol={symbol}&timeframe=1d&tz=UTC");
        service.send(&format!("POST {path} HTTP/1.1\r\nContent-Type: text/csv\r\n"), csv.as_bytes())
    };
    let lossy = post("A%ffB");
    assert!(lossy.status == 400 && lossy.body.contains("UTF-8"), "{lossy:?}");
    assert!(service.ids().is_empty());
    let rejected = post("AB");
    assert_eq!((rejected.status, count(&rejected.json(), "stored")), (422, 1), "{rejected:?}");
    let line = service.wait_for("a request had records that are not stored");
    assert!(line.contains("submitted=1 rejected=1") && !service.log().contains("x5y"), "{}", service.log());
}

/// Red when a field that is misspelt is passed over without a word, or a vendor is made up without one.
#[test]
fn what_is_not_used_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[]);
    let names = ["ignored", "vendor", "stored"];
    let post = |path: &str, body: &str| {
        let tally = service.post(path, body.as_bytes()).json();
        names.map(|name| tally.get(name).cloned().unwrap_or_default())
    };
    let bar = r#"{"vender":"acme","symbol":"A","timeframe":"1m","ts":"2024-01-02T14:30:00Z","open":1,"high":1,"low":1,"close":1,"volme":5}"#;
    let told = json!(["vender", "volme"]);
    assert_eq!(post("/v1/records/bars", bar), [told.clone(), json!("unknown"), json!(1)]);
    let trade = r#"{"vender":"acme","symbol":"A","ts":"2024-01-02T14:30:00Z","price":1,"size":1,"id":"a","volme":5}"#;
    assert_eq!(post("/v1/records/trades", trade), [told, json!("unknown"), json!(1)]);
    let quote = r#"{"vendor":"acme","symbol":"A","ts":"2024-01-02T14:30:00Z","bid":1,"ask":2}"#;
    assert_eq!(post("/v1/records/quotes", quote), [Value::Null, Value::Null, json!(1)]);
    let long = format!("symbol,ts,price,size,id,{},a\u{1b}\nA,2024-01-02T14:30:00Z,1,1,a,1,1\n", "x".repeat(1_000));
    let [ignored, vendor, _] = post("/v1/records/trades?vendor=acme", &long);
    assert_eq!((ignored[0].as_str().unwrap().len(), vendor), (64, Value::Null), "{ignored}");
    assert!(!ignored[1].as_str().unwrap().contains('\u{1b}'), "{ignored}");
    let many: String = (0..50).map(|at| format!(",x{at}")).collect();
    let many = format!("symbol,ts,price,size,id{many}\nA,2024-01-02T14:30:00Z,1,1,a{}\n", ",1".repeat(50));
    assert_eq!(post("/v1/records/trades?vendor=acme", &many)[0].as_array().unwrap().len(), 20);
    service.wait_for("records of a request have no vendor");
    // The kinds of all these requests are told of once: a producer sends many.
    assert_eq!(service.log().matches("records of a request have no vendor").count(), 1, "{}", service.log());
    assert_eq!(service.post("/v1/records/bars?vendor=", bar.as_bytes()).status, 400);
}

/// Red when a dead letter is not listed, is not replayed, or the answer is sent before it is stored.
#[test]
fn dead_letters_are_listed_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let admin = "admin-0123456789";
    let service = Service::start(dir.path(), &[("MDS_HTTP_ADMIN_TOKEN", admin)]);
    assert_eq!(service.post("/v1/records/bars", bar(1).as_bytes()).status, 200);
    service
        .database()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.volume = 13 BEGIN SELECT RAISE(ABORT, 'unlucky'); END",
        )
        .unwrap();
    let answer = service.post("/v1/records/bars", &bars(10..20));
    let tally = answer.json();
    assert_eq!((answer.status, count(&tally, "stored"), count(&tally, "dead_lettered")), (422, 9, 1), "{tally}");
    let list = service.get("/v1/dead-letters").json();
    assert_eq!(list["dead_letters"][0]["entry"]["record"]["volume"], json!(13.0), "{list}");
    assert_eq!(list["more"], json!(false));
    service.database().execute_batch("DROP TRIGGER refuse").unwrap();
    let head = format!("POST /v1/dead-letters/replay HTTP/1.1\r\nAuthorization: Bearer {admin}\r\n");
    let replayed = service.send(&head, b"");
    assert_eq!((replayed.status, count(&replayed.json(), "stored")), (200, 1), "{replayed:?}");
    assert!(service.ids().contains(&13));
    assert_eq!(service.get("/v1/dead-letters").json()["dead_letters"], json!([]));
}

/// Red when a route is in the document and not in the service, or answers with a status that the document does not have.
#[test]
fn the_document_says_what_the_service_does() {
    let dir = tempfile::tempdir().unwrap();
    let admin = "admin-0123456789";
    let service = Service::start(dir.path(), &[("MDS_HTTP_ADMIN_TOKEN", admin)]);
    assert_eq!(service.post("/v1/records/bars", bar(1).as_bytes()).status, 200);
    let document = service.get("/openapi.json").json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut seen = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = path.replace("{kind}", "bars").replace("{id}", "bars");
        for (method, operation) in methods.as_object().unwrap() {
            seen.insert(format!("{} {path}", method.to_uppercase()));
            // A stream has no end; its refusals are tried.
            let is_stream = path.ends_with("/stream");
            let queries = if is_stream { &["?x=1"][..] } else { &["", "?x=1", "?limit=x", "?level=x", "?skip=x"] };
            for query in queries {
                let (method, token) = (method.to_uppercase(), format!("Authorization: Bearer {admin}\r\n"));
                let answer = service.send(&format!("{method} {filled}{query} HTTP/1.1\r\n{token}"), b"");
                let documented = &operation["responses"][answer.status.to_string()];
                assert!(documented.is_object(), "{method} {filled}{query}: {answer:?}");
            }
            let head = format!("PUT {filled} HTTP/1.1\r\nAuthorization: Bearer {admin}\r\n");
            let wrong = service.send(&head, b"");
            assert_eq!(wrong.status, 405, "{path}");
            assert!(wrong.headers["allow"].contains(&method.to_uppercase()), "{path} {wrong:?}");
        }
    }
    assert!(seen.len() >= 11 && seen.contains("POST /v1/records/{kind}"), "{seen:?}");
    assert_eq!(service.get("/v1/nothing").json()["error"], json!("there is no such path"));
}

/// Red when the routes need the root of a service, or offer what the store alone cannot do.
#[actix_web::test]
async fn the_routes_can_be_mounted_in_a_service_of_one_s_own() {
    use actix_web::{App, test, web};
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("bars.db").display());
    let settings = crate::support::settings().database_url(&url).dlq_path(dir.path().join("dead_letters"));
    let store = market_data_store::MarketDataStore::spawn(settings.clone()).unwrap();
    let routes = web::scope("/store").service(market_data_store::http::routes(&store));
    let app = test::init_service(App::new().service(routes)).await;
    let post = test::TestRequest::post().uri("/store/v1/records/bars").set_payload(bars(0..10)).to_request();
    let answer = test::call_service(&app, post).await;
    assert_eq!(answer.status(), 200);
    let tally: Value = test::read_body_json(answer).await;
    assert_eq!(count(&tally, "stored"), 10);
    for (path, status) in [
        ("/store/v1/coordinators/bars", 200),
        ("/store/readyz", 200),
        ("/store/v1/records/bars?limit=3", 200),
        ("/store/metrics", 404),
        ("/v1/coordinators", 404),
    ] {
        let get = test::TestRequest::get().uri(path).to_request();
        assert_eq!(test::call_service(&app, get).await.status(), status, "{path}");
    }
    drop(app);
    assert!(store.shutdown(store.shutdown_timeout()).await.is_complete());

    // Where another database was chosen, the one of the settings is not it.
    let database = market_data_store::Database::connect(&url).unwrap();
    let store = market_data_store::MarketDataStore::builder(settings).kind::<Bar>().database(database);
    let store = store.spawn().unwrap();
    let app = test::init_service(App::new().service(market_data_store::http::routes(&store))).await;
    let get = test::TestRequest::get().uri("/v1/records/bars").to_request();
    assert_eq!(test::call_service(&app, get).await.status(), 404);
    drop(app);
    assert!(store.shutdown(store.shutdown_timeout()).await.is_complete());
}
