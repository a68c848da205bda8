use std::{
    cmp::Ordering, collections::HashMap, convert::Infallible, future::pending, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::client::{Answer, Client, Webhook};
use crate::{
    fault::Fault,
    feedback::event::{CoordinatorKey, FeedbackEvent},
    metrics as names,
    policy::{EndpointPolicy, EndpointQueue, EndpointState, SentAs, Step},
    record::Timestamp,
    settings::Endpoint,
};

/// The lane of one URL: what it holds, shared with those who want to look at it, and the task that sends.
///
/// Everything is decided in [`EndpointQueue`], under a lock that is never held while anything waits.
pub(crate) struct EndpointLane {
    endpoint: Endpoint,
    /// Where the times of the lane count from.
    origin: Instant,
    state: Mutex<State>,
    /// An event was offered, or the end was announced.
    changed: Notify,
    metrics: Metrics,
    fault: Fault,
}

/// Keeps one who waits for lanes waiting while it lives.
pub(crate) type Hold = mpsc::Sender<Infallible>;

struct State {
    lane: EndpointQueue<CoordinatorKey, Arc<Webhook>>,
    /// Who waits for the lane to pass a mark; none once its task has ended.
    holds: Option<Vec<(u64, Hold)>>,
    /// The event of each coordinator that the lane was given last, and whether nothing follows it.
    given: HashMap<CoordinatorKey, (FeedbackEvent, bool)>,
    /// Nothing is heard any more.
    bus_closed: bool,
    /// Nothing that would begin later is begun any more.
    end: Option<Instant>,
    delivered: u64,
    repeated: u64,
    conflicts: u64,
    /// When a conflict was logged last.
    warned: Option<Instant>,
    failed: u64,
    last_status: Option<u16>,
    last_error: Option<String>,
    last_success: Option<Timestamp>,
}

/// A conflict is logged once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The handles, looked up once. Two URLs of one host and port share them, so the gauges are sums.
struct Metrics {
    delivered: Counter,
    refused: Counter,
    timeout: Counter,
    unreachable: Counter,
    superseded: Counter,
    pending: Gauge,
    by_state: [Gauge; 4],
}

/// How it stands with one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BroadcastSnapshot {
    /// The URL, of which scheme, host and port show.
    pub endpoint: Endpoint,
    /// Whether events go out.
    pub state: EndpointState,
    /// Events still to be delivered: the newest of each coordinator at most, and the one under way.
    pub pending: usize,
    /// How often an event was sent.
    pub attempts: u64,
    /// Events that were answered with 2xx, signs of life left out.
    pub delivered: u64,
    /// Signs of life that were: the present state of a coordinator, sent again.
    pub repeated: u64,
    /// Answers that say that the receiver hears another process of the same name.
    pub conflicts: u64,
    /// Attempts that were not.
    pub failed: u64,
    /// Attempts that failed since the last that did not.
    pub failures_in_a_row: u32,
    /// Events that were not delivered, because a newer one of their coordinator took their place.
    pub superseded: u64,
    /// The status of the last answer, whatever it was.
    pub last_status: Option<u16>,
    /// What was wrong with the last attempt that failed, whether or not others succeeded since.
    pub last_error: Option<String>,
    /// When an event was last answered with 2xx.
    pub last_success: Option<Timestamp>,
    /// In how long the next attempt begins, in seconds in JSON, if one is to begin.
    #[serde(serialize_with = "as_seconds")]
    pub next_attempt_in: Option<Duration>,
}

fn as_seconds<S: serde::Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs_f64()).serialize(serializer)
}

impl EndpointLane {
    pub(crate) fn new(endpoint: Endpoint, policy: EndpointPolicy, fault: Fault) -> Arc<Self> {
        let metrics = Metrics::of(&endpoint);
        let state = State {
            lane: EndpointQueue::new(policy),
            holds: Some(Vec::new()),
            given: HashMap::new(),
            bus_closed: false,
            end: None,
            delivered: 0,
            repeated: 0,
            conflicts: 0,
            warned: None,
            failed: 0,
            last_status: None,
            last_error: None,
            last_success: None,
        };
        metrics.by_state[EndpointState::default() as usize].increment(1);
        let (origin, changed) = (Instant::now(), Notify::new());
        Arc::new(Self { endpoint, origin, state: Mutex::new(state), changed, metrics, fault })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes in an event, unless the lane was given it or a newer one already. `is_told`: just now; if not, it was the
    /// present a moment ago. `ends`: its coordinator says nothing after it.
    pub(crate) fn offer(&self, event: &FeedbackEvent, webhook: &Arc<Webhook>, is_told: bool, ends: bool) {
        let key = CoordinatorKey::of(event);
        self.change(|state| {
            if state.bus_closed {
                return;
            }
            let given = state.given.get_mut(&key);
            let order = given.as_ref().map_or(Ordering::Less, |(given, _)| {
                // An instance that is told of for the first time may be of an older epoch.
                match is_told && given.instance != event.instance {
                    true => Ordering::Less,
                    false => (given.epoch, given.seq).cmp(&(event.epoch, event.seq)),
                }
            });
            match (order, given) {
                (Ordering::Greater, _) | (Ordering::Equal, None) => return,
                (Ordering::Equal, Some((_, has_ended))) => {
                    if *has_ended || !ends {
                        return;
                    }
                    *has_ended = true;
                }
                (Ordering::Less, _) => {
                    state.given.insert(key.clone(), (event.clone(), ends));
                    state.lane.offer(&key, Arc::clone(webhook), event.level);
                }
            }
            if ends {
                state.lane.end_of(&key);
            }
        });
        self.changed.notify_one();
    }

    /// Sends no more signs of life of a coordinator that is not heard any more, until it is heard again.
    pub(crate) fn forget(&self, key: &CoordinatorKey) {
        self.change(|state| {
            state.given.remove(key);
            state.lane.forget(key);
        });
        self.changed.notify_one();
    }

    /// Takes in that no coordinator is heard any more, and sends no more signs of life of any.
    pub(crate) fn bus_closed(&self) {
        self.change(|state| {
            state.bus_closed = true;
            for (key, _) in state.given.drain() {
                state.lane.forget(&key);
            }
        });
        self.changed.notify_one();
    }

    /// Keeps the hold until the URL has been told all that the lane was given so far, or it is given up.
    pub(crate) fn hold(&self, hold: &Hold) {
        self.change(|state| {
            let mark = state.lane.mark();
            state.holds.iter_mut().for_each(|holds| holds.push((mark, hold.clone())));
        });
    }

    /// Announces the end: what waits goes out at once, and the task ends when nothing is left that could go out before.
    pub(crate) fn end(&self, at: Instant) {
        self.change(|state| {
            state.end = Some(at);
            state.lane.end();
        });
        self.changed.notify_one();
    }

    /// Sends what the lane is given, until the end.
    pub(crate) async fn run(self: Arc<Self>, client: Client) {
        let _release = ReleaseOnDrop(&self);
        loop {
            let (step, end) = self.change(|state| (state.lane.step(self.now()), state.end));
            match step {
                Step::Send(webhook, sent_as) => {
                    self.fault.point("an event is to be sent and is not");
                    self.send(&client, &webhook, sent_as).await;
                }
                Step::Wait(until) => {
                    let until = self.origin + until;
                    if end.is_some_and(|end| until >= end) {
                        return;
                    }
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.changed.notified() => {}
                    }
                }
                Step::Idle if end.is_some() => return,
                Step::Idle => self.changed.notified().await,
            }
        }
    }

    async fn send(&self, client: &Client, webhook: &Webhook, sent_as: SentAs) {
        // A lane that died with its task would never send again.
        let sent = AssertUnwindSafe(client.post(webhook, sent_as)).catch_unwind().await;
        let (answer, rest) = sent.unwrap_or_else(|_| (Answer::None("the HTTP client panicked".to_owned()), None));
        self.fault.point("a URL has answered and its lane does not know");
        self.settle(&answer, sent_as);
        if let Some(rest) = rest {
            tokio::select! {
                biased;
                () = rest.drain() => {}
                // The body is not wanted: what comes, what is due, and the end go first.
                () = self.changed.notified() => {}
                () = self.due() => {}
            }
        }
    }

    /// Waits until something is due; without end where nothing is, until the lane changes.
    async fn due(&self) {
        let (next, is_ending) = {
            let state = self.state.lock();
            (state.lane.next_at(), state.end.is_some())
        };
        match next {
            Some(at) => sleep_until(self.origin + at).await,
            None if is_ending => {}
            None => pending().await,
        }
    }

    fn settle(&self, answer: &Answer, sent_as: SentAs) {
        let (before, after, warns) = self.change(|state| {
            let mut warns = false;
            let before = state.lane.state();
            state.last_status = answer.status().or(state.last_status);
            match answer {
                Answer::Delivered { conflict, .. } => {
                    state.lane.delivered();
                    match sent_as {
                        SentAs::Repeat(_) => state.repeated += 1,
                        SentAs::First | SentAs::Last => state.delivered += 1,
                    }
                    if *conflict {
                        state.conflicts += 1;
                        warns = state.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY);
                        state.warned = state.warned.filter(|_| !warns).or(Some(Instant::now()));
                    }
                    state.last_success = Some(Timestamp::now());
                }
                Answer::Gone => {
                    state.lane.gone();
                    state.failed += 1;
                    state.last_error = Some(answer.to_string());
                }
                Answer::Refused(..) | Answer::Late(_) | Answer::None(_) => {
                    let asked = if let Answer::Refused(_, asked) = answer { *asked } else { None };
                    state.lane.failed(self.now(), asked, fastrand::f64());
                    state.failed += 1;
                    state.last_error = Some(answer.to_string());
                }
            }
            (before, state.lane.state(), warns)
        });
        self.metrics.count(answer);
        let endpoint = &self.endpoint;
        if warns {
            tracing::warn!(
                %endpoint,
                "the receiver hears another process of this one's name, and the higher level counts: give each its own \
                 MDS_SOURCE; after a restart with a clock that was set back this ends by itself"
            );
        }
        match (before, after) {
            (_, EndpointState::SwitchedOff) => {
                tracing::error!(%endpoint, "a webhook's URL answers 410: nothing is sent there until the next start");
            }
            (EndpointState::Closed, EndpointState::Open) => {
                tracing::warn!(%endpoint, error = %answer, "a webhook's URL failed too often, its latest events wait");
            }
            (EndpointState::HalfOpen, EndpointState::Closed) => {
                tracing::info!(%endpoint, "a webhook's URL is back");
            }
            _ => tracing::debug!(%endpoint, %answer, "an attempt to deliver a webhook has ended"),
        }
    }

    pub(crate) fn snapshot(&self) -> BroadcastSnapshot {
        let state = self.state.lock();
        BroadcastSnapshot {
            endpoint: self.endpoint.clone(),
            state: state.lane.state(),
            pending: state.lane.pending(),
            attempts: state.lane.attempts(),
            delivered: state.delivered,
            repeated: state.repeated,
            conflicts: state.conflicts,
            failed: state.failed,
            failures_in_a_row: state.lane.failures_in_a_row(),
            superseded: state.lane.superseded(),
            last_status: state.last_status,
            last_error: state.last_error.clone(),
            last_success: state.last_success,
            next_attempt_in: state.lane.next_at().map(|at| at.saturating_sub(self.now())),
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The only way to change the state: the gauges follow it, and those who wait hear of it.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let seen = |state: &State| (state.lane.state(), state.lane.pending(), state.lane.superseded());
        let before = seen(&state);
        let result = change(&mut state);
        let after = seen(&state);
        let State { lane, holds, .. } = &mut *state;
        holds.iter_mut().for_each(|holds| holds.retain(|(mark, _)| !lane.has_passed(*mark)));
        if before.0 != after.0 {
            self.metrics.by_state[before.0 as usize].decrement(1);
            self.metrics.by_state[after.0 as usize].increment(1);
        }
        if before.1 != after.1 {
            self.metrics.pending.increment(after.1 as f64 - before.1 as f64);
        }
        self.metrics.superseded.increment(after.2 - before.2);
        result
    }
}

/// Lets go of all who wait when the lane's task ends, however it ends: nothing is sent any more.
struct ReleaseOnDrop<'a>(&'a EndpointLane);

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.state.lock().holds = None;
    }
}

impl Drop for EndpointLane {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.metrics.by_state[state.lane.state() as usize].decrement(1);
        self.metrics.pending.decrement(state.lane.pending() as f64);
    }
}

impl Metrics {
    fn of(endpoint: &Endpoint) -> Self {
        let endpoint = endpoint.host_and_port();
        let outcome = |outcome: &'static str| metrics::counter!(names::HTTP_DELIVERIES, "endpoint" => endpoint.clone(), "outcome" => outcome);
        let states = [EndpointState::Closed, EndpointState::Open, EndpointState::HalfOpen, EndpointState::SwitchedOff];
        Self {
            delivered: outcome("delivered"),
            refused: outcome("refused"),
            timeout: outcome("timeout"),
            unreachable: outcome("unreachable"),
            superseded: outcome("superseded"),
            pending: metrics::gauge!(names::HTTP_PENDING, "endpoint" => endpoint.clone()),
            by_state: states.map(
                |state| metrics::gauge!(names::HTTP_LANES, "endpoint" => endpoint.clone(), "state" => state.as_str()),
            ),
        }
    }

    fn count(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Delivered { .. } => &self.delivered,
            Answer::Gone | Answer::Refused(..) => &self.refused,
            Answer::Late(_) => &self.timeout,
            Answer::None(_) => &self.unreachable,
        };
        counter.increment(1);
    }
}
