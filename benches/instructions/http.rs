//! A record that is posted, from the body of the request to its answer.

use actix_web::{App, test};
use market_data_store::{Bar, http};

use crate::{
    data::ndjson,
    mark, on_this_thread,
    queue::{NullSink, store},
};

const RECORDS: usize = 10_000;
/// Posted before, so that the first of everything is over.
const EARLIER: usize = 1_000;

/// Read, accepted, written by a sink that does nothing, and settled. The body is here at once, so no socket takes part.
pub fn post(ack: &str) -> usize {
    on_this_thread(async {
        let (store, handle) = store::<Bar>(NullSink::default()).await;
        let service = test::init_service(App::new().service(http::routes(&store))).await;
        let post = async |body: Vec<u8>| {
            let uri = format!("/v1/records/bars?ack={ack}");
            let request = test::TestRequest::post().uri(&uri).insert_header(("content-type", "application/x-ndjson"));
            let response = test::call_service(&service, request.set_payload(body).to_request()).await;
            assert!(response.status().is_success(), "{}", response.status());
            handle.flush().await.unwrap();
        };
        let counted = ndjson(EARLIER..EARLIER + RECORDS);
        post(ndjson(0..EARLIER)).await;
        mark();
        post(counted).await;
        mark();
        assert_eq!(handle.report().stored, (EARLIER + RECORDS) as u64);
    });
    RECORDS
}
