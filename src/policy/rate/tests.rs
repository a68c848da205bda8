use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::policy::Reason;

/// Times and rates of these tests are such that binary fractions hold them: a step is 1/512 s.
const STEP: Duration = Duration::from_nanos(1_953_125);
const PER_SECOND: f64 = 512.0;
/// How many steps a rise from 0 to 1 takes: each rise then ends at a step.
const RAMP: u32 = 320;

fn at(step: u32) -> Duration {
    STEP * step
}

fn report(level: Level) -> Report {
    Report { level, reason: Reason::QueueHigh, drain_rate: None, queue_size: 0, capacity: 1_000 }
}

fn measured(level: Level, drain_rate: f64) -> Report {
    Report { drain_rate: Some(drain_rate), queue_size: 1_000_000, ..report(level) }
}

fn config(budget: Budget) -> RateConfig {
    RateConfig { budget, ramp: at(RAMP), ..RateConfig::default() }
}

fn control(budget: Budget) -> RateControl<&'static str, usize> {
    RateControl::new(config(budget))
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Takes what there is, so that what comes next is by the rate alone.
fn drained(control: &mut RateControl<&'static str, usize>, now: Duration) {
    while control.take(now, 1) {}
}

/// How many can be taken one by one at this moment.
fn takes(control: &mut RateControl<&'static str, usize>, now: Duration) -> usize {
    std::iter::from_fn(|| control.take(now, 1).then_some(())).count()
}

#[test]
fn scales_out_of_range_are_refused_by_level_and_value() {
    assert_eq!(Scales::new(1.0, 0.5, 0.0), Ok(Scales::default()));
    let error = Scales::new(1.0, 1.5, 0.0).unwrap_err();
    assert_eq!(error.to_string(), "the scale at soft is 1.5, expected a number from 0 to 1");
    for scale in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(Scales::new(scale, 0.5, 0.0).is_err() && Scales::new(1.0, 0.5, scale).is_err(), "{scale}");
    }
}

#[test]
fn the_lowest_scale_among_the_followed_wins() {
    let mut control = control(Budget::PerSecond(1_000.0));
    control.observe(s(1.0), "a", report(Level::Soft));
    assert_eq!(control.scale(s(1.0)), 0.5);
    control.observe(s(1.0), "b", report(Level::Hard));
    assert_eq!(control.scale(s(1.0)), 0.0);
    control.observe(s(1.0), "a", report(Level::Ok));
    assert_eq!((control.scale(s(9.0)), control.state(s(9.0)).level), (0.0, Level::Hard));
    control.observe(s(9.0), "b", report(Level::Ok));
    assert_eq!(control.scale(s(10.0)), 1.0);
}

/// Red when a scale rises at once, falls back on its way, or starts at nothing; and when a fall waits for anything.
#[test]
fn a_rise_is_gradual_and_monotone_and_a_fall_immediate() {
    let mut control = control(Budget::PerSecond(1_000.0));
    control.observe(at(0), "a", report(Level::Hard));
    control.observe(at(10), "a", report(Level::Ok));
    assert_eq!(control.scale(at(10)), 0.1);
    let scales: Vec<f64> = (10..=10 + RAMP).map(|step| control.scale(at(step))).collect();
    assert!(scales.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] < 0.01), "{scales:?}");
    // Nine tenths of the way remained.
    assert!(scales[RAMP as usize / 2] < 1.0);
    assert_eq!(scales[RAMP as usize * 9 / 10], 1.0);
    // A change of the reason in the middle of a rise neither stops nor repeats it.
    control.observe(at(400), "a", report(Level::Hard));
    control.observe(at(400), "a", report(Level::Ok));
    let before = control.scale(at(500));
    control.observe(at(500), "a", report(Level::Ok));
    assert_eq!(control.scale(at(500)), before);
    control.observe(at(500), "a", report(Level::Soft));
    assert_eq!(control.scale(at(500)), before.min(0.5));
}

/// Red when what was saved before, or what a producer gives back, goes out at scale 0.
#[test]
fn at_scale_0_nothing_goes_out() {
    let mut control = control(Budget::PerSecond(1_000.0));
    let waits = control.wait(s(10.0), 10, 0);
    assert!(control.claim(s(20.0), waits, 0));
    let granted = control.wait(s(20.0), 30, 1);
    let next = control.wait(s(20.0), 10, 2);
    control.tick(s(20.1));
    assert_eq!(control.woken(), [0, 1, 2]);
    control.observe(s(21.0), "a", report(Level::Hard));
    let gate_waiters = control.wait(s(21.0), 1, 3);
    control.cancel(s(21.0), granted);
    assert!(control.claim(s(21.0), next, 2), "it was granted before");
    assert!(!control.take(s(1_000.0), 1) && !control.claim(s(1_000.0), gate_waiters, 3));
    assert_eq!((control.due(), control.is_open()), (None, false));
    assert!(control.take(s(1_000.0), 0), "nothing is always there");
    control.observe(s(1_000.0), "a", report(Level::Ok));
    assert!(!control.claim(s(1_000.0), gate_waiters, 3), "nothing was saved meanwhile");
    assert!(control.claim(s(1_001.0), gate_waiters, 3));
}

/// Red when more than a full bucket is never granted, or is granted without being paid for.
#[test]
fn more_than_a_burst_is_granted_and_paid_for_afterwards() {
    let mut control = control(Budget::PerSecond(1_000.0));
    assert!(!control.take(s(0.0), 1_000));
    assert!(control.take(s(0.05), 1_000), "50 ms bring 50, a full bucket");
    assert!(!control.take(s(0.999), 1));
    assert!(control.take(s(1.001), 1));
    assert_eq!(takes(&mut control, s(60.0)), 50, "an hour of rest is worth no more than a full bucket");
}

/// Red when a later request is served first, or one that waits is overtaken without waiting.
#[test]
fn no_request_overtakes_one_that_waits() {
    let mut control = control(Budget::PerSecond(1_000.0));
    drained(&mut control, s(1.0));
    let large = control.wait(s(1.0), 40, 0);
    let small = control.wait(s(1.0), 1, 1);
    assert!(!control.take(s(1.03), 1), "there are 30, and a request waits for 40");
    assert!(!control.claim(s(1.03), small, 1));
    control.tick(s(1.042));
    assert_eq!(control.woken(), [0, 1]);
    assert!(control.claim(s(1.042), large, 0) && control.claim(s(1.042), small, 1));
    assert_eq!(takes(&mut control, s(1.042)), 1);
}

/// Red when a record that was granted and never taken is lost, or served to one out of turn.
#[test]
fn who_leaves_the_line_gives_back_what_it_was_granted() {
    let mut control = control(Budget::PerSecond(1_000.0));
    drained(&mut control, s(1.0));
    let (first, second) = (control.wait(s(1.0), 20, 0), control.wait(s(1.0), 20, 1));
    control.tick(s(1.02));
    assert_eq!(control.woken(), [0]);
    control.cancel(s(1.02), first);
    assert_eq!(control.woken(), [1]);
    control.cancel(s(1.02), second);
    assert_eq!(takes(&mut control, s(1.02)), 20);
    assert_eq!(control.state(s(1.02)).granted, 1_000 / 20 + 20, "what was given back was never taken");
}

/// Red when a gate counts, or lets anybody through at 0.
#[test]
fn a_gate_is_open_unless_the_scale_is_0() {
    let mut control = control(Budget::Gate);
    assert!(control.take(s(0.0), u32::MAX) && control.take(s(0.0), u32::MAX));
    control.observe(s(0.0), "a", report(Level::Soft));
    assert!(control.take(s(0.0), u32::MAX));
    control.observe(s(1.0), "a", report(Level::Hard));
    let (first, second) = (control.wait(s(1.0), u32::MAX, 0), control.wait(s(1.0), 1, 1));
    assert!(!control.take(s(1.0), 1) && !control.claim(s(9.0), first, 0));
    let ticket = control.wait_open(None, 2);
    assert_eq!(control.wait_open(Some(ticket), 3), ticket, "a waker takes the place of the one before");
    control.observe(s(9.0), "a", report(Level::Ok));
    assert_eq!(control.woken(), [3, 0, 1], "those who wait for no record first, then in order");
    assert_eq!(control.spent(), [0, 2], "the wakers that were replaced");
    assert!(control.claim(s(9.0), second, 1) && control.claim(s(9.0), first, 0));
}

/// Red when one who waits for the gate and was late to look when it opened is not woken at the next opening.
#[test]
fn a_gate_that_opened_and_closed_again_is_waited_for_anew() {
    let mut control = control(Budget::Gate);
    control.observe(s(0.0), "a", report(Level::Hard));
    let first = control.wait_open(None, 0);
    control.observe(s(1.0), "a", report(Level::Ok));
    control.observe(s(2.0), "a", report(Level::Hard));
    assert_eq!(control.woken(), [0]);
    let again = control.wait_open(Some(first), 1);
    control.observe(s(3.0), "a", report(Level::Ok));
    assert_eq!(control.woken(), [1]);
    control.cancel_open(again);
    assert_eq!(control.state(s(3.0)).waiting, 0);
}

/// Red when the rate at ok does not grow, grows without end without demand, or is not set back by an event.
#[test]
fn a_followed_rate_grows_at_ok_while_a_request_waits() {
    let mut control = control(Budget::FollowDrainRate);
    assert_eq!(control.state(s(0.0)).rate, f64::INFINITY, "nothing is known");
    control.observe(s(0.0), "a", measured(Level::Ok, 1_000.0));
    assert_eq!(control.state(s(0.0)).rate, 1_000.0);
    assert_eq!(control.state(s(3_600.0)).rate, 1_000.0, "there is no demand");
    let ticket = control.wait(s(3_600.0), 100_000, 0);
    assert!((control.state(s(3_603.0)).rate - 2_000.0).abs() < 1.0, "twice as much after three seconds");
    control.cancel(s(3_603.0), ticket);
    control.observe(s(3_603.0), "a", measured(Level::Soft, 1_100.0));
    assert_eq!(control.state(s(3_603.0)).rate, 550.0);
    control.wait(s(3_603.0), 100_000, 0);
    assert_eq!(control.state(s(3_700.0)).rate, 550.0, "it grows at ok alone");
}

#[test]
fn of_several_followed_the_slowest_counts() {
    let mut control = control(Budget::FollowDrainRate);
    control.observe(s(0.0), "a", measured(Level::Ok, 1_000.0));
    control.observe(s(0.0), "b", measured(Level::Ok, 300.0));
    assert_eq!(control.state(s(0.0)).rate, 300.0);
    control.observe(s(0.0), "a", measured(Level::Soft, 1_000.0));
    let state = control.state(s(0.0));
    assert_eq!((state.rate, state.drain_rate), (150.0, Some(300.0)));
}

/// Red when a store whose speed is not known gets all at once, or when its queue cannot fall at soft.
#[test]
fn until_a_store_has_written_it_gets_a_third_of_its_queue_in_the_first_second() {
    let mut control = control(Budget::FollowDrainRate);
    let started = Report { reason: Reason::Started, ..report(Level::Ok) };
    control.observe(s(0.0), "a", started);
    assert!((control.state(s(0.0)).rate - 333.3).abs() < 0.1);
    control.wait(s(0.0), 100_000, 0);
    assert!((control.state(s(1.0)).rate - 666.7).abs() < 0.1, "it doubles each second");
    control.observe(s(1.0), "a", report(Level::Soft));
    assert_eq!(control.state(s(1.0)).rate, 0.5);
    control.observe(s(2.0), "a", measured(Level::Ok, 50.0));
    assert_eq!(control.state(s(3.0)).drain_rate, Some(50.0));
}

/// Red when a restart forgets how fast the store was, or an outage is taken for a slow store.
#[test]
fn a_restart_and_an_outage_leave_the_rate_where_it_was() {
    let mut control = control(Budget::FollowDrainRate);
    control.observe(s(0.0), "a", measured(Level::Hard, 1_000.0));
    control.observe(s(1.0), "a", Report { reason: Reason::Started, ..report(Level::Ok) });
    assert_eq!(control.state(s(9.0)).rate, 1_000.0);
    control.observe(s(9.0), "a", measured(Level::Hard, 900.0));
    control.observe(s(99.0), "a", Report { reason: Reason::CircuitClosed, ..measured(Level::Ok, 3.0) });
    assert_eq!(control.state(s(100.0)).rate, 900.0);
    control.observe(s(100.0), "a", Report { reason: Reason::QueueRecovered, ..measured(Level::Ok, 3.0) });
    assert_eq!(control.state(s(100.0)).rate, 3.0);
    control.observe(s(100.0), "a", measured(Level::Ok, 1e-300));
    assert_eq!(control.state(s(100.0)).rate, 1.0, "never so slow that a wait has no end");
}

/// Red when a rise under a followed rate outlasts the queue.
#[test]
fn a_rise_takes_no_longer_than_half_of_what_is_queued_lasts() {
    let mut control = control(Budget::FollowDrainRate);
    control.observe(s(0.0), "a", measured(Level::Hard, 1_000.0));
    control.observe(s(0.0), "a", Report { queue_size: 200, ..measured(Level::Ok, 1_000.0) });
    assert!(control.scale(s(0.08)) < 1.0);
    assert_eq!(control.scale(s(0.09)), 1.0);
}

/// Red when the end of the bus stops a producer without end, or lets it flood.
#[test]
fn without_a_bus_it_goes_on_at_the_scale_of_soft() {
    let mut control = control(Budget::PerSecond(1_000.0));
    control.observe(s(0.0), "a", report(Level::Hard));
    control.wait_open(None, 7);
    let ticket = control.wait(s(0.0), 1, 0);
    control.bus_closed(s(1.0));
    assert_eq!(control.woken(), [7]);
    assert!(control.claim(s(2.0), ticket, 0));
    assert_eq!((control.scale(s(9.0)), control.state(s(9.0)).bus_closed), (0.5, true));
    // A followed rate stays where it is.
    let mut control = self::control(Budget::FollowDrainRate);
    control.observe(s(0.0), "a", measured(Level::Ok, 1_000.0));
    control.bus_closed(s(0.0));
    control.wait(s(0.0), 100_000, 0);
    assert_eq!(control.state(s(60.0)).rate, 500.0);
    // Where soft stops, ok is what is left.
    let scales = Scales { soft: 0.0, ..Scales::default() };
    let mut control: RateControl<&str, ()> = RateControl::new(RateConfig { scales, ..config(Budget::Gate) });
    control.observe(s(0.0), "a", report(Level::Soft));
    assert!(!control.is_open());
    control.bus_closed(s(0.0));
    assert!(control.is_open());
}

#[test]
fn without_a_clock_every_request_is_let_through() {
    let mut control = control(Budget::PerSecond(1.0));
    control.observe(s(0.0), "a", report(Level::Hard));
    let ticket = control.wait(s(0.0), 1_000, 0);
    control.wait_open(None, 1);
    control.abandon(s(0.0));
    assert_eq!(control.woken(), [1, 0]);
    assert!(control.claim(s(0.0), ticket, 0) && control.take(s(0.0), u32::MAX) && control.is_open());
    assert!(!control.wake());
}

/// Red when the keeper of the clock is not woken for what is due before its next tick, or woken again and again.
#[test]
fn the_clock_is_woken_once_for_what_is_due_sooner() {
    let mut control = control(Budget::PerSecond(1_000.0));
    assert_eq!(control.tick(s(1.0)), None);
    drained(&mut control, s(1.0));
    assert!(!control.wake(), "no request waits");
    let first = control.wait(s(1.0), 40, 0);
    assert!(control.wake() && !control.wake());
    let alarm = control.tick(s(1.0)).unwrap();
    assert!((alarm.as_secs_f64() - 1.04).abs() < 1e-6, "{alarm:?}");
    let _second = control.wait(s(1.01), 10, 1);
    assert!(!control.wake(), "it is behind the first");
    control.cancel(s(1.02), first);
    assert!(!control.wake(), "what is there is enough for the second");
    assert_eq!(control.woken(), [1]);
    // While it is closed nothing is due; a rise is looked at when it ends.
    control.observe(s(2.0), "a", report(Level::Hard));
    control.wait(s(2.0), 1, 2);
    assert_eq!((control.wake(), control.tick(s(2.0))), (false, None));
    control.observe(s(3.0), "a", report(Level::Ok));
    drained(&mut control, s(3.5));
    control.tick(s(3.5));
    assert_eq!(control.tick(s(3.5)), Some(s(3.0) + at(RAMP * 9 / 10)));
}

/// The limiter as one would explain it: every step of time by itself, all in a list.
struct Model {
    rate: f64,
    scales: Scales,
    levels: HashMap<u8, Level>,
    bus_closed: bool,
    /// Scale, and where it goes.
    scale: f64,
    to: f64,
    balance: f64,
    line: Vec<Waiter>,
    granted: u64,
}

#[derive(Clone, PartialEq)]
struct Waiter {
    number: usize,
    want: u32,
    granted: bool,
}

impl Model {
    fn size(&self) -> f64 {
        (self.rate * 0.05).max(1.0)
    }

    fn closed(&self) -> bool {
        self.to == 0.0
    }

    fn waits(&self) -> bool {
        self.line.iter().any(|waiter| !waiter.granted)
    }

    fn serve(&mut self) {
        if self.closed() {
            self.balance = self.balance.min(0.0);
            return;
        }
        let size = self.size();
        for waiter in self.line.iter_mut().filter(|waiter| !waiter.granted) {
            if self.balance + 1e-6 < f64::from(waiter.want).min(size) {
                return;
            }
            self.balance -= f64::from(waiter.want);
            waiter.granted = true;
        }
        self.balance = self.balance.min(size);
    }

    fn step(&mut self) {
        if self.closed() {
            return;
        }
        let next = (self.scale + 1.0 / f64::from(RAMP)).min(self.to);
        let mean = (self.scale + next) / 2.0;
        self.scale = next;
        self.balance += self.rate * mean / PER_SECOND;
        self.serve();
    }

    fn turn(&mut self) {
        let lowest = self.levels.values().map(|level| self.scales.of(*level)).fold(self.scales.ok, f64::min);
        let to = if self.bus_closed { self.scales.soft } else { lowest };
        if to != self.to {
            self.scale = if to < self.scale { to } else { self.scale.max(to / 10.0) };
            self.to = to;
        }
        self.serve();
    }
}

#[derive(Clone, Debug)]
enum Act {
    Hear(u8, Level),
    CloseBus,
    Take(u32),
    Wait(u32),
    Claim(usize),
    Cancel(usize),
    Pass(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let level = prop_oneof![3 => Just(Level::Ok), 2 => Just(Level::Soft), 1 => Just(Level::Hard)];
    prop_oneof![
        3 => (0u8..3, level).prop_map(|(coordinator, level)| Act::Hear(coordinator, level)),
        1 => Just(Act::CloseBus),
        6 => (0u32..300).prop_map(Act::Take),
        6 => (1u32..600).prop_map(Act::Wait),
        6 => (0usize..30).prop_map(Act::Claim),
        3 => (0usize..30).prop_map(Act::Cancel),
        9 => (0u32..200).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Red when a grant is lost on cancel, a request is served out of turn or before it was paid for, a rise is added
    /// up wrongly, a saved record goes out at scale 0, the wrong task is woken, or `due` is not when the first in line
    /// has its turn.
    #[test]
    fn agrees_with_a_limiter_that_goes_step_by_step(
        rate in 1u32..40, acts in prop::collection::vec(act(), 0..150)
    ) {
        let rate = f64::from(rate) * PER_SECOND / 4.0;
        let mut control: RateControl<u8, usize> = RateControl::new(config(Budget::PerSecond(rate)));
        let scales = Scales::default();
        let mut model = Model {
            rate, scales, levels: HashMap::new(), bus_closed: false, scale: 1.0, to: 1.0, balance: 0.0, line: Vec::new(),
            granted: 0,
        };
        let (mut now, mut tickets, mut woken) = (0, Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::Hear(coordinator, level) if !model.bus_closed => {
                    control.observe(at(now), coordinator, report(level));
                    model.levels.insert(coordinator, level);
                    model.turn();
                }
                // Rarely, for nothing is heard after it.
                Act::CloseBus if now > 5_000 => {
                    control.bus_closed(at(now));
                    model.bus_closed = true;
                    model.turn();
                }
                Act::Take(want) => {
                    let there = model.balance + 1e-6 >= f64::from(want).min(model.size());
                    let takes = want == 0 || !model.waits() && there;
                    prop_assert_eq!(control.take(at(now), want), takes, "{} of {}", want, model.balance);
                    if takes {
                        model.balance -= f64::from(want);
                        model.granted += u64::from(want);
                    }
                }
                Act::Wait(want) => {
                    let number = tickets.len();
                    tickets.push(control.wait(at(now), want, number));
                    model.line.push(Waiter { number, want, granted: false });
                    // A request that could have been taken at once does not wait; the line takes it as it comes.
                    control.tick(at(now));
                    model.serve();
                }
                Act::Claim(number) if number < tickets.len() => {
                    let claimed = control.claim(at(now), tickets[number], number);
                    match model.line.iter().position(|waiter| waiter.number == number) {
                        Some(place) if model.line[place].granted => {
                            model.granted += u64::from(model.line.remove(place).want);
                            prop_assert!(claimed);
                        }
                        Some(_) => prop_assert!(!claimed),
                        // It was used up before: what that is worth does not matter.
                        None => {}
                    }
                }
                Act::Cancel(number) if number < tickets.len() => {
                    control.cancel(at(now), tickets[number]);
                    if let Some(place) = model.line.iter().position(|waiter| waiter.number == number) {
                        let waiter = model.line.remove(place);
                        model.balance += if waiter.granted { f64::from(waiter.want) } else { 0.0 };
                        model.serve();
                    }
                }
                Act::Pass(steps) => {
                    let due = control.due().map(|due| due.as_secs_f64() * PER_SECOND);
                    let first = model.line.iter().find(|waiter| !waiter.granted).map(|waiter| waiter.number);
                    for _ in 0..steps {
                        model.step();
                        now += 1;
                        let served = first.is_some_and(|first| {
                            model.line.iter().any(|waiter| waiter.number == first && waiter.granted)
                        });
                        if let Some(due) = due {
                            prop_assert!(!served || due <= f64::from(now) + 1e-3, "served at {now}, due at {due}");
                            prop_assert!(served || due >= f64::from(now) - 1e-3, "not served at {now}, due at {due}");
                        }
                        prop_assert!(due.is_some() || !served, "never due and served at {now}");
                    }
                    control.tick(at(now));
                }
                _ => {}
            }
            let state = control.state(at(now));
            prop_assert!((state.scale - model.scale).abs() < 1e-9 || model.closed() && state.scale == 0.0);
            prop_assert_eq!(state.waiting, model.line.iter().filter(|waiter| !waiter.granted).count());
            prop_assert_eq!(state.granted, model.granted);
            woken.append(&mut control.woken());
            for waiter in model.line.iter().filter(|waiter| waiter.granted) {
                prop_assert!(woken.contains(&waiter.number), "{} is granted and sleeps", waiter.number);
            }
        }
    }

    /// Red when the time until so many records are allowed is not the time in which so many are allowed.
    #[test]
    fn so_many_records_are_allowed_in_the_time_for_so_many(
        (drain_rate, records) in (1f64..1e6, 1e-3f64..1e7), level in prop_oneof![Just(Level::Ok), Just(Level::Soft)],
        (ramp, now) in (0f64..10.0, 0f64..10.0),
    ) {
        let mut pace = Pace::new(Budget::FollowDrainRate, Scales::default(), s(ramp));
        pace.observe(s(0.0), (), measured(Level::Hard, drain_rate));
        pace.observe(s(0.0), (), measured(level, drain_rate));
        let time = pace.time_for(s(now), records).unwrap();
        let allowed = pace.pass(s(now), s(now) + time, true);
        // The clock's nanoseconds are all that may be missing.
        let tolerance = records * 1e-6 + 2e-9 * pace.base();
        prop_assert!((allowed - records).abs() <= tolerance, "{allowed} of {records} in {time:?}");
    }
}
