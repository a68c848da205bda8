use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

const PROBE: u64 = 1_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy(attempts: u32) -> EndpointPolicy {
    let retry = RetryPolicy {
        initial_backoff: ms(100),
        max_backoff: ms(400),
        multiplier: 2.0,
        jitter: false,
        max_attempts: NonZeroU32::new(attempts).unwrap(),
    };
    EndpointPolicy { retry, probe_after: ms(PROBE), refresh: None, min_interval: Duration::ZERO }
}

fn lane(attempts: u32) -> EndpointQueue<u8, u32> {
    EndpointQueue::new(policy(attempts))
}

#[test]
fn attempts_wait_longer_and_then_for_the_breaker_until_one_arrives() {
    let mut lane = lane(3);
    assert_eq!((lane.step(ms(0)), lane.offer(&1, 7, Level::Ok)), (Step::Idle, None));
    for (at, state, next) in [
        (0, EndpointState::Closed, 100),
        (100, EndpointState::Closed, 300),
        (300, EndpointState::Open, 1_300),
        (1_300, EndpointState::Open, 2_300),
        (2_300, EndpointState::Open, 3_300),
    ] {
        assert_eq!(lane.step(ms(at)), Step::Send(7, SentAs::First));
        assert_eq!(lane.step(ms(at)), Step::Idle, "one at a time");
        assert_eq!(lane.failed(ms(at), None, 0.0), None);
        assert_eq!((lane.state(), lane.step(ms(at))), (state, Step::Wait(ms(next))));
    }
    assert_eq!(lane.step(ms(3_300)), Step::Send(7, SentAs::First));
    assert_eq!(lane.state(), EndpointState::HalfOpen);
    lane.delivered();
    assert_eq!((lane.state(), lane.pending(), lane.attempts()), (EndpointState::Closed, 0, 6));
    assert_eq!(lane.failures_in_a_row(), 0);
}

#[test]
fn what_the_destination_asks_for_holds_for_every_key_and_in_a_hurry() {
    let mut lane = lane(3);
    lane.offer(&1, 1, Level::Ok);
    assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
    lane.failed(ms(0), Some(ms(5_000)), 0.0);
    lane.offer(&2, 2, Level::Ok);
    lane.end();
    assert_eq!(lane.step(ms(10)), Step::Wait(ms(5_000)));
    assert_eq!(lane.step(ms(5_000)), Step::Send(1, SentAs::First));
}

// Red when the end of a process waits for a breaker that will not be asked again.
#[test]
fn in_a_hurry_everything_goes_once_and_then_waits_as_ever() {
    let mut lane = lane(1);
    lane.offer(&1, 1, Level::Ok);
    lane.offer(&2, 2, Level::Ok);
    assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
    lane.failed(ms(0), None, 0.0);
    assert_eq!((lane.state(), lane.step(ms(5))), (EndpointState::Open, Step::Wait(ms(PROBE))));
    lane.end();
    assert_eq!(lane.step(ms(5)), Step::Send(2, SentAs::First));
    lane.delivered();
    assert_eq!(lane.step(ms(5)), Step::Send(1, SentAs::First));
}

// Red when an event that is refused for its own sake is tried at once whenever another passes, or takes the
// others' turns.
#[test]
fn a_key_that_is_refused_alone_waits_by_itself() {
    let mut lane = lane(2);
    let (mut now, mut refused, mut passed) = (0, 0, 0);
    lane.offer(&1, 1, Level::Ok);
    while now < 10 * PROBE {
        lane.offer(&2, 2, Level::Ok);
        match lane.step(ms(now)) {
            Step::Send(1, SentAs::First) => {
                refused += 1;
                lane.failed(ms(now), None, 0.0);
            }
            Step::Send(..) => {
                passed += 1;
                lane.delivered();
            }
            _ => {}
        }
        now += 10;
    }
    assert!((8..=13).contains(&refused), "{refused} attempts in ten waits");
    assert!(passed > 500, "{passed}");
}

#[test]
fn a_destination_that_is_gone_is_told_nothing_more() {
    let mut lane = lane(3);
    lane.offer(&1, 1, Level::Ok);
    lane.offer(&2, 2, Level::Ok);
    assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
    lane.gone();
    assert_eq!((lane.state(), lane.pending(), lane.offer(&1, 3, Level::Ok)), (EndpointState::SwitchedOff, 0, None));
    assert_eq!((lane.step(ms(9_999)), lane.failed(ms(0), None, 0.0)), (Step::Idle, None));
}

// Red when a level that is no higher goes at once, one that is higher waits, or what is waited for is forgotten.
#[test]
fn a_level_that_is_no_higher_than_what_was_told_waits() {
    let mut lane = EndpointQueue::new(EndpointPolicy { min_interval: ms(250), ..policy(3) });
    lane.offer(&1, 1, Level::Soft);
    assert_eq!(lane.step(ms(100)), Step::Send(1, SentAs::First));
    // While the first is under way nothing of it is told yet.
    lane.offer(&1, 2, Level::Ok);
    lane.delivered();
    assert_eq!(lane.step(ms(110)), Step::Wait(ms(350)));
    lane.offer(&1, 3, Level::Soft);
    assert_eq!(lane.step(ms(120)), Step::Wait(ms(350)), "the same level is no higher");
    lane.offer(&1, 4, Level::Hard);
    assert_eq!(lane.step(ms(120)), Step::Send(4, SentAs::First));
    lane.delivered();
    lane.offer(&1, 5, Level::Ok);
    lane.offer(&2, 6, Level::Ok);
    assert_eq!(lane.step(ms(130)), Step::Send(6, SentAs::First), "each key by itself");
    lane.delivered();
    assert_eq!((lane.step(ms(369)), lane.step(ms(370))), (Step::Wait(ms(370)), Step::Send(5, SentAs::First)));
    lane.delivered();
    assert_eq!((lane.pending(), lane.superseded()), (0, 2));
    // The end waits for no interval.
    lane.offer(&1, 7, Level::Ok);
    lane.end();
    assert_eq!(lane.step(ms(371)), Step::Send(7, SentAs::First));
}

// Red when a sign of life is left out, comes early, has the number of another, is counted as an event, is sent
// behind the end or of a key that is forgotten.
#[test]
fn each_key_is_repeated_until_it_has_ended_and_then_told_for_the_last_time() {
    let mut lane = EndpointQueue::new(EndpointPolicy { refresh: Some(ms(1_000)), ..policy(3) });
    lane.offer(&1, 1, Level::Ok);
    assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
    lane.delivered();
    assert_eq!((lane.pending(), lane.step(ms(999))), (0, Step::Wait(ms(1_000))));
    assert_eq!(lane.step(ms(1_000)), Step::Send(1, SentAs::Repeat(1)));
    assert_eq!((lane.pending(), lane.failed(ms(1_000), None, 0.0)), (0, None));
    // A further attempt is the same message.
    assert_eq!(lane.step(ms(1_100)), Step::Send(1, SentAs::Repeat(1)));
    lane.delivered();
    assert_eq!(lane.step(ms(2_100)), Step::Send(1, SentAs::Repeat(2)));
    // What is new takes the place of a sign of life, and is one.
    lane.offer(&1, 2, Level::Hard);
    assert_eq!((lane.failed(ms(2_100), None, 0.0), lane.superseded()), (None, 0));
    assert_eq!(lane.step(ms(2_200)), Step::Send(2, SentAs::First));
    lane.delivered();
    assert_eq!(lane.step(ms(2_300)), Step::Wait(ms(3_200)));
    lane.offer(&2, 3, Level::Ok);
    assert_eq!(lane.step(ms(2_300)), Step::Send(3, SentAs::First));
    lane.delivered();
    lane.forget(&2);
    assert_eq!(lane.step(ms(2_400)), Step::Wait(ms(3_200)));
    let mark = lane.mark();
    assert_eq!(lane.step(ms(3_200)), Step::Send(2, SentAs::Repeat(3)));
    assert!(lane.has_passed(mark), "what was offered before was delivered");
    lane.end_of(&1);
    lane.failed(ms(3_200), None, 0.0);
    assert_eq!((lane.pending(), lane.step(ms(3_300))), (1, Step::Send(2, SentAs::Last)));
    lane.failed(ms(3_300), None, 0.0);
    assert_eq!(lane.step(ms(3_500)), Step::Send(2, SentAs::Last));
    lane.delivered();
    assert_eq!((lane.pending(), lane.step(ms(9_999))), (0, Step::Idle));
    // What was not told yet is told first, and then that nothing follows.
    lane.offer(&1, 4, Level::Ok);
    lane.end_of(&1);
    assert_eq!(lane.step(ms(9_999)), Step::Send(4, SentAs::First));
    lane.delivered();
    assert_eq!(lane.step(ms(9_999)), Step::Send(4, SentAs::Last));
    lane.delivered();
    assert_eq!(lane.step(ms(99_999)), Step::Idle);
    // At the end of the lane itself one that lives is told nothing more, and is left to fall silent.
    lane.offer(&1, 5, Level::Ok);
    assert_eq!(lane.step(ms(99_999)), Step::Send(5, SentAs::First));
    lane.delivered();
    assert_eq!(lane.step(ms(100_999)), Step::Send(5, SentAs::Repeat(4)));
    lane.failed(ms(100_999), None, 0.0);
    lane.end();
    assert_eq!(lane.step(ms(999_999)), Step::Idle);
}

#[derive(Clone, Debug)]
enum Happens {
    Offer(u8),
    Later(u64),
    Delivered,
    Failed(Option<u64>),
    Expedite,
}

fn history() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        4 => (0..4u8).prop_map(Happens::Offer),
        4 => (0..700u64).prop_map(Happens::Later),
        2 => Just(Happens::Delivered),
        4 => proptest::option::weighted(0.2, 0..3_000u64).prop_map(Happens::Failed),
        1 => Just(Happens::Expedite),
    ];
    proptest::collection::vec(happens, 0..200)
}

/// The rules in the most naive form: one list in the order of turns, times in milliseconds, no breaker but a flag.
struct Model {
    attempts: u32,
    /// Key, event, failures, due.
    list: Vec<(u8, u32, u32, u64)>,
    under_way: Option<(u8, u32, u32)>,
    failures: u32,
    /// The circuit is open or half-open.
    opened: bool,
    resume_at: u64,
    asked_until: u64,
    superseded: u64,
}

impl Model {
    fn offer(&mut self, key: u8, event: u32) {
        match self.list.iter_mut().find(|waiting| waiting.0 == key) {
            Some(waiting) => {
                waiting.1 = event;
                self.superseded += 1;
            }
            None => self.list.push((key, event, 0, 0)),
        }
    }

    fn step(&mut self, now: u64) -> Step<u32> {
        let gate = self.resume_at.max(self.asked_until);
        match self.list.iter().map(|waiting| waiting.3).min() {
            _ if self.under_way.is_some() => Step::Idle,
            None => Step::Idle,
            Some(due) if due.max(gate) > now => Step::Wait(ms(due.max(gate))),
            Some(_) => {
                let turn = self.list.iter().position(|waiting| waiting.3 <= now).unwrap();
                let (key, event, failures, _) = self.list.remove(turn);
                self.under_way = Some((key, event, failures));
                Step::Send(event, SentAs::First)
            }
        }
    }

    fn delivered(&mut self) {
        if self.opened {
            self.list.iter_mut().for_each(|waiting| (waiting.2, waiting.3) = (0, 0));
        }
        (self.opened, self.failures, self.resume_at, self.asked_until) = (false, 0, 0, 0);
        self.under_way = None;
    }

    fn failed(&mut self, now: u64, asked: Option<u64>) {
        let (key, event, failures) = self.under_way.take().unwrap();
        let backoff = |failures: u32| [100, 200, 400][failures.min(3) as usize - 1];
        self.failures += 1;
        self.opened |= self.failures >= self.attempts;
        self.resume_at = now + if self.opened { PROBE } else { backoff(self.failures) };
        self.asked_until = now + asked.unwrap_or(0);
        let failures = failures + 1;
        let due = now + if failures >= self.attempts { PROBE } else { backoff(failures) };
        match self.list.iter_mut().find(|waiting| waiting.0 == key) {
            Some(newer) => {
                (newer.2, newer.3) = (failures, due);
                self.superseded += 1;
            }
            None => self.list.push((key, event, failures, due)),
        }
    }
}

proptest! {
    // Red when a turn is taken by another, a wait is shorter or longer, an older event is sent after a newer one,
    // more than one event of a key waits, or a success leaves a wait behind.
    #[test]
    fn a_lane_does_what_the_naive_model_does(attempts in 1u32..5, history in history()) {
        let mut model = Model {
            attempts, list: Vec::new(), under_way: None, failures: 0, opened: false, resume_at: 0, asked_until: 0,
            superseded: 0,
        };
        let mut lane = lane(attempts);
        let mut now = 0;
        for (number, happens) in (0..).zip(history) {
            match happens {
                Happens::Offer(key) => {
                    lane.offer(&key, number, Level::Ok);
                    model.offer(key, number);
                }
                Happens::Later(wait) => now += wait,
                Happens::Delivered if model.under_way.is_some() => {
                    lane.delivered();
                    model.delivered();
                }
                Happens::Failed(asked) if model.under_way.is_some() => {
                    lane.failed(ms(now), asked.map(ms), 0.0);
                    model.failed(now, asked);
                }
                Happens::Delivered | Happens::Failed(_) => {}
                Happens::Expedite => {
                    lane.end();
                    model.resume_at = 0;
                    model.list.iter_mut().for_each(|waiting| waiting.3 = 0);
                }
            }
            prop_assert_eq!(lane.step(ms(now)), model.step(now));
            prop_assert_eq!(lane.pending(), model.list.len() + usize::from(model.under_way.is_some()));
            prop_assert_eq!(lane.superseded(), model.superseded);
            prop_assert_eq!(lane.state() != EndpointState::Closed, model.opened);
            prop_assert_eq!(lane.failures_in_a_row(), model.failures);
        }
    }

    // Red when a mark passes while the newest before it, and what came in its place, is not delivered; when it
    // waits for what was offered later; or when a failure or a newer event moves what is waited for.
    #[test]
    fn a_mark_passes_once_the_newest_of_each_key_before_it_is_delivered(
        before in history(), after in history(), gone in any::<bool>(),
    ) {
        let mut lane = lane(2);
        // What was offered of each key and not delivered, nor anything newer of it.
        let mut owed: Vec<(u8, u32)> = Vec::new();
        let (mut now, mut under_way, mut mark) = (0, None, None);
        let marks_at = before.len();
        for (number, happens) in (0..).zip(before.into_iter().chain(after)) {
            if number as usize == marks_at {
                mark = Some((lane.mark(), number));
            }
            match happens {
                Happens::Offer(key) => {
                    lane.offer(&key, number, Level::Ok);
                    owed.push((key, number));
                }
                Happens::Later(wait) => now += wait,
                Happens::Delivered => if let Some(event) = under_way.take() {
                    lane.delivered();
                    let key = owed.iter().find(|owed| owed.1 == event).unwrap().0;
                    owed.retain(|owed| owed.0 != key || owed.1 > event);
                },
                Happens::Failed(asked) if under_way.take().is_some() => {
                    lane.failed(ms(now), asked.map(ms), 0.0);
                }
                Happens::Failed(_) => {}
                Happens::Expedite => lane.end(),
            }
            if let Step::Send(event, _) = lane.step(ms(now)) {
                under_way = Some(event);
            }
            if let Some((mark, number)) = mark {
                prop_assert_eq!(lane.has_passed(mark), owed.iter().all(|owed| owed.1 >= number));
            }
        }
        if gone {
            lane.gone();
            prop_assert!(lane.has_passed(lane.mark()));
        }
    }

    // Red when an event is given up, whatever failed before, or the wait for it has no end.
    #[test]
    fn once_the_destination_is_well_the_latest_of_each_key_arrives(attempts in 1u32..5, history in history()) {
        let mut lane = lane(attempts);
        let (mut now, mut under_way, mut latest) = (0, None, HashMap::new());
        let mut arrived: HashMap<u8, u32> = HashMap::new();
        for (number, happens) in (0..).zip(history) {
            match happens {
                Happens::Offer(key) => {
                    lane.offer(&key, u32::from(key) * 1_000 + number, Level::Ok);
                    latest.insert(key, u32::from(key) * 1_000 + number);
                }
                Happens::Later(wait) => now += wait,
                Happens::Delivered | Happens::Failed(_) if under_way.take().is_some() => {
                    lane.failed(ms(now), None, 0.0);
                }
                _ => {}
            }
            if let Step::Send(event, _) = lane.step(ms(now)) {
                under_way = Some(event);
            }
        }
        let begin = now;
        loop {
            if let Some(event) = under_way.take() {
                let earlier = arrived.insert((event / 1_000) as u8, event);
                prop_assert!(earlier.is_none_or(|earlier| earlier < event));
                lane.delivered();
            }
            match lane.step(ms(now)) {
                Step::Send(event, _) => under_way = Some(event),
                Step::Wait(until) => now = until.as_millis() as u64,
                Step::Idle => break,
            }
            prop_assert!(now - begin <= 2 * PROBE, "still waiting after {} ms", now - begin);
        }
        prop_assert_eq!(arrived, latest);
        prop_assert_eq!(lane.pending(), 0);
    }
}
