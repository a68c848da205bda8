//! What an embedder's own tests need: a store in memory that does as it is told, and requests as a broadcaster sends
//! them. Events by hand are made by [`EventSeries`](crate::feedback::EventSeries).

#[cfg(any(feature = "webhooks", feature = "receiver"))]
use crate::feedback::FeedbackEvent;

#[doc(hidden)]
pub use crate::fault::{Fault, Fired};
pub use crate::{
    settings::temporary::TestSettings,
    sink::{MemoryCounts, MemorySink},
};

/// A request that carries an event, as [`new`](Self::new) makes it.
#[cfg(any(feature = "webhooks", feature = "receiver"))]
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The headers to set, by name.
    pub headers: [(&'static str, String); 4],
    /// The body to post.
    pub body: String,
}

#[cfg(any(feature = "webhooks", feature = "receiver"))]
impl Webhook {
    /// Makes the request that a broadcaster with these secrets would send now: for tests of what stands behind a
    /// `Receiver`.
    ///
    /// ```
    /// # #[cfg(feature = "receiver")]
    /// # actix::System::new().block_on(async {
    /// use actix_web::{App, test};
    /// use market_data_store::{Feedback, Level, Receiver, WebhookSecret, feedback::EventSeries, testing::Webhook};
    ///
    /// let secrets: [WebhookSecret; 1] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()];
    /// let feedback = Feedback::private();
    /// let level = feedback.watch("db1:mds-ingest/bars"); // or what your producer has
    /// let receiver = Receiver::signed(feedback.clone(), secrets.clone());
    /// let service = test::init_service(App::new().service(receiver.at("/feedback"))).await;
    ///
    /// let sent = Webhook::new(&secrets, &EventSeries::new("bars").source("db1:mds-ingest").next(Level::Hard));
    /// let request = test::TestRequest::post().uri("/feedback").set_payload(sent.body);
    /// let request = sent.headers.into_iter().fold(request, |request, header| request.insert_header(header));
    /// assert_eq!(test::call_service(&service, request.to_request()).await.status(), 204);
    ///
    /// feedback.idle().await;
    /// assert_eq!(level.borrow().level, Level::Hard);
    /// # });
    /// ```
    pub fn new(secrets: &[crate::WebhookSecret], event: &FeedbackEvent) -> Self {
        use crate::feedback::signature::{SignedHeaders, sign, unix_now};
        let body = serde_json::to_string(event).expect("an event has nothing that JSON has not");
        let now = unix_now();
        let signature = sign(secrets, &event.id, now, body.as_bytes());
        let headers = [
            ("content-type", "application/json".to_owned()),
            (SignedHeaders::ID, event.id.clone()),
            (SignedHeaders::TIMESTAMP, now.to_string()),
            (SignedHeaders::SIGNATURE, signature),
        ];
        Self { headers, body }
    }
}
