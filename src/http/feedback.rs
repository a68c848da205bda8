//! What producers are told: the present event of each coordinator, and a stream of them.
//!
//! The stream is server-sent events. A client has a subscription of its own on the bus, and an actor that only puts what
//! it hears into [`Unsent`], the newest of each coordinator. So the bus never waits for a client, at its end neither, and
//! one that does not read costs as many events as there are coordinators.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::{pending, ready},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use actix::{Actor, Addr, Context, Handler};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::{sync::Notify, time};

use super::{
    error::{Error, echoed},
    query::Query,
    service::Service,
};
use crate::{
    coordinator::StopReason,
    feedback::{CoordinatorKey, Delivery, Feedback, FeedbackEvent, Replay, Subscribe, SubscriptionId},
    store::MarketDataStore,
};

/// How long the bus is waited for. It answers at once, unless its thread is held up.
const BUS: Duration = Duration::from_secs(5);
/// A stream says nothing for no longer than this: so either side finds out when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a stream begins with: how many milliseconds a browser waits before it connects again.
const RETRY: &str = "retry: 2000\n\n";

/// `GET /v1/feedback`: the present event of each coordinator on the bus.
pub(super) async fn present(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    Query::none(request.query_string())?;
    let feedback = service.store()?.feedback();
    match time::timeout(BUS, feedback.snapshot()).await {
        Ok(Some(bus)) => Ok(HttpResponse::Ok().json(json!({ "events": bus.present }))),
        Ok(None) => Err(Error::unavailable("the feedback bus has ended")),
        Err(_) => Err(Error::unavailable("the feedback bus does not answer")),
    }
}

/// `GET /v1/webhooks`: how it stands with each URL that events are sent to. Of a URL its scheme, host and port show.
pub(super) async fn webhooks(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    Query::none(request.query_string())?;
    #[cfg(feature = "webhooks")]
    let webhooks = service.store()?.broadcasts();
    #[cfg(not(feature = "webhooks"))]
    let webhooks = service.store().map(|_| [(); 0])?;
    Ok(HttpResponse::Ok().json(json!({ "webhooks": webhooks })))
}

/// `GET /v1/feedback/stream[?coordinator=ID]`: the present events, then each change.
pub(super) async fn events(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let mut query = Query::read(request.query_string())?;
    let coordinator = query.take("coordinator")?;
    query.end("coordinator")?;
    let store = service.store()?;
    // A name that is no coordinator's would be told nothing, without end.
    if let Some(id) = &coordinator
        && !store.coordinator_ids().any(|known| known == id)
    {
        let known: Vec<&str> = store.coordinator_ids().collect();
        let expected = format!("no coordinator {}, expected one of {}", echoed(id), known.join(", "));
        return Err(Error::not_found(expected));
    }
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // What a proxy in front would hold back.
        .insert_header(("x-accel-buffering", "no"))
        // Nothing follows a stream: a connection that were kept would hold up the end of the service.
        .force_close();
    // A body that is not sent is not pulled on either: it would never end.
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let subscription = Subscription::begin(store.feedback(), coordinator.as_deref());
    Ok(response.streaming(stream_of(subscription, ended(store.clone()))))
}

/// Waits until nothing follows any more: the bus has told the last event, or died.
async fn ended(store: MarketDataStore) {
    let shut_down = async {
        if store.stopped().await != StopReason::ShutDown {
            // After another death the bus goes on.
            pending().await
        }
    };
    let feedback = store.feedback();
    tokio::select! {
        () = feedback.stopped() => {}
        () = shut_down => {}
    }
}

/// The newest event of each coordinator that a client has not been sent, those that wait longest first.
#[derive(Default)]
struct Unsent {
    events: RefCell<VecDeque<FeedbackEvent>>,
    changed: Notify,
}

impl Unsent {
    /// Takes in an event. It takes the turn of an older one of its coordinator.
    fn put(&self, event: FeedbackEvent) {
        let mut events = self.events.borrow_mut();
        let key = CoordinatorKey::of(&event);
        match events.iter_mut().find(|older| CoordinatorKey::of(older) == key) {
            Some(older) => *older = event,
            None => events.push_back(event),
        }
        self.changed.notify_one();
    }

    fn take(&self) -> Option<FeedbackEvent> {
        self.events.borrow_mut().pop_front()
    }
}

/// Hears the bus for one client.
struct Listener(Rc<Unsent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Self::Context) {
        self.0.put(event);
    }
}

/// The subscription of one client, for as long as the client reads.
struct Subscription {
    unsent: Rc<Unsent>,
    feedback: Feedback,
    id: SubscriptionId,
    _listener: Addr<Listener>,
}

impl Subscription {
    fn begin(feedback: Feedback, coordinator_id: Option<&str>) -> Self {
        let unsent = Rc::new(Unsent::default());
        let listener = Listener(Rc::clone(&unsent)).start();
        // Weak: what was a client's goes with it, be it only its thread that ends.
        let subscribe = Subscribe::weak(listener.downgrade().recipient());
        let subscribe = subscribe.delivery(Delivery::Latest).replay(Replay::All);
        let id = feedback.subscribe(coordinator_id.into_iter().fold(subscribe, Subscribe::only));
        Self { unsent, feedback, id, _listener: listener }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // It would be found gone, and counted as one that died.
        self.feedback.unsubscribe(self.id);
    }
}

/// Makes the body of an answer, which ends once all that was told is sent.
fn stream_of(
    subscription: Subscription,
    ended: impl Future<Output = ()> + 'static,
) -> impl Stream<Item = Result<web::Bytes, Infallible>> + 'static {
    let begins = (subscription, Some(Box::pin(ended)));
    let follows = stream::unfold(begins, |(subscription, mut ended)| async {
        let mut heartbeat = pin!(time::sleep(HEARTBEAT));
        let text = loop {
            if let Some(event) = subscription.unsent.take() {
                break written(&event);
            }
            let end = ended.as_mut()?;
            tokio::select! {
                biased;
                () = subscription.unsent.changed.notified() => {}
                // What was told last was handled before that.
                () = end => ended = None,
                () = &mut heartbeat => break ":\n\n".to_owned(),
            }
        };
        Some((text, (subscription, ended)))
    });
    stream::once(ready(RETRY.to_owned())).chain(follows).map(|text| Ok(text.into()))
}

/// Writes an event as a client reads it. Its JSON has no line ends, nor has its id.
fn written(event: &FeedbackEvent) -> String {
    let json = serde_json::to_string(event).expect("an event has strings, numbers and nothing that fails");
    format!("event: level\nid: {}\ndata: {json}\n\n", event.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{feedback::EventSeries, policy::Level};

    fn text(chunk: Option<Result<web::Bytes, Infallible>>) -> Option<String> {
        chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    }

    // Red when what is unsent is sent in another order than it came in, twice, or after something newer; when nothing is
    // said for longer than the heartbeat; or when an event that was told before the end is not sent.
    #[actix::test]
    async fn a_client_is_sent_the_newest_of_each_coordinator_and_a_heartbeat_meanwhile() {
        let feedback = Feedback::on_current_arbiter();
        let (mut bars, mut quotes) = (EventSeries::new("bars"), EventSeries::new("quotes"));
        for event in [bars.next(Level::Hard), quotes.next(Level::Ok)] {
            feedback.publish(event);
        }
        let (end, ends) = tokio::sync::oneshot::channel::<()>();
        let ended = async { _ = ends.await };
        let mut stream = pin!(stream_of(Subscription::begin(feedback.clone(), None), ended));
        feedback.idle().await;
        let newest = bars.next(Level::Soft);
        feedback.publish(newest.clone());
        feedback.idle().await;
        assert_eq!(text(stream.next().await).as_deref(), Some(RETRY));
        assert_eq!(text(stream.next().await), Some(written(&newest)));
        assert!(text(stream.next().await).unwrap().contains("quotes"));
        time::pause();
        assert_eq!(text(stream.next().await).as_deref(), Some(":\n\n"));
        time::resume();
        let last = [bars.next(Level::Ok), quotes.next(Level::Hard)];
        for event in &last {
            feedback.publish(event.clone());
        }
        feedback.idle().await;
        drop(end);
        for event in &last {
            assert_eq!(text(stream.next().await), Some(written(event)));
        }
        assert_eq!(text(stream.next().await), None);
    }

    // Red when a client that goes stays subscribed, or counts as one that died.
    #[actix::test]
    async fn a_client_that_goes_ends_its_subscription() {
        let feedback = Feedback::on_current_arbiter();
        let stream = Box::pin(stream_of(Subscription::begin(feedback.clone(), None), pending()));
        assert_eq!(feedback.snapshot().await.unwrap().lanes.len(), 1);
        drop(stream);
        feedback.publish(EventSeries::new("bars").next(Level::Hard));
        feedback.idle().await;
        let bus = feedback.snapshot().await.unwrap();
        assert_eq!((bus.lanes.len(), bus.pruned), (0, 0));
    }
}
