//! The log of a service, as JSON: what belongs to one request, or to one batch, shows.

use serde_json::{Value, json};

use super::{Service, bar, bars};

/// Red when a line about a request does not say which, or one about a batch: enter no span for it.
#[test]
fn a_line_of_the_log_names_its_request_or_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("MDS_LOG_FORMAT", "json"), ("MDS_KINDS", "bars"), ("MDS_CB_FAILURE_THRESHOLD", "0")];
    let service = Service::listening(dir.path(), &variables);
    service.wait_for("\"ready\"");
    assert_eq!(service.post("/v1/records/bars", &bars(0..10)).status, 200);
    let line = |text: &str| serde_json::from_str::<Value>(&service.wait_for(text)).unwrap();

    assert_eq!(service.post("/v1/records/bars", b"{}\n").status, 422);
    let refused = line("a request had records that are not stored");
    let request = json!({ "name": "request", "method": "POST", "route": "/v1/records/{kind}" });
    assert_eq!(refused["span"], request, "{refused}");

    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(service.post("/v1/records/bars?ack=queued", bar(10).as_bytes()).status, 202);
    let retried = line("a batch was not written and is tried again");
    lock.execute_batch("ROLLBACK").unwrap();
    let batch = json!({ "name": "batch", "coordinator_id": "bars", "partition": retried["partition"], "records": 1 });
    assert_eq!((&retried["span"], &retried["spans"]), (&batch, &json!([batch])), "{retried}");
}
