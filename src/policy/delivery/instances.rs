//! Who speaks under a name, and whether what was said still counts.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

/// How many instances of one name are remembered. A name has one, and another for a while after a restart; more live
/// only where so many processes use one name by mistake.
const INSTANCES: usize = 32;

/// One that says how often it is heard from is let go when it was silent for so many times as long.
const SILENT_FOR: u32 = 3;

/// What each instance of each name said last.
///
/// A name `K` is a coordinator as producers know it. An *instance* is one start of one process: two processes that use
/// one name by mistake are two instances of it, and so are a process and the one that takes its place. Order holds
/// within an instance. Of the instances of a name those count that live:
///
/// - An instance that was not met before lives, whatever its epoch. It replaces those with an older epoch: it was
///   started later. Should one of these speak again, both live: that is a conflict.
/// - One that says how often it is heard from, and is silent for three times as long, is let go. It lives again when it
///   speaks again.
/// - One has ended when it drains, or when it is the first time that it does not say how often it is heard from. (One
///   that is heard for the first time at its end, and does not drain, is taken for one that lives: nothing tells it
///   from one that never says how often it is heard from.)
///
/// Where none lives, what is known of a name is what became of the one that lived last.
#[derive(Debug)]
pub struct Instances<K, V> {
    names: HashMap<K, Vec<Instance<V>>>,
    /// Counts what changed, to tell what came last.
    changes: u64,
}

#[derive(Debug)]
struct Instance<V> {
    /// None: its sender knows of no instances. All of these are one.
    id: Option<Arc<str>>,
    number: (u64, u64),
    refresh: Option<Duration>,
    heard: Duration,
    state: State,
    /// When value or state changed, by the count of changes.
    changed: u64,
    value: V,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Living,
    /// One that was started later took its place.
    Replaced,
    /// It fell silent.
    LetGo,
    Ended,
}

/// What an instance says of itself, beside what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Which instance it is; none from a sender that knows of no instances.
    pub instance: Option<Arc<str>>,
    /// When it was started.
    pub epoch: u64,
    /// Counts what it says.
    pub seq: u64,
    /// How often it is heard from at least; none: only when there is something to say.
    pub refresh: Option<Duration>,
    /// It says this for the last time: it has ended, or takes no more records for good.
    pub ends: bool,
}

/// What [`Instances::hear`] says of what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Whether it changes anything.
    pub news: News,
    /// How many other instances of the name live too: more than none is a conflict.
    pub others: usize,
}

/// Whether what was heard changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is new; or it was said before by one that did not count and does now, or that ends.
    New,
    /// The same again, from one that lives: a sign of life.
    Same,
    /// Its instance has said something newer, or has ended: nothing changes.
    Stale,
}

/// What counts of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present<'a, V> {
    /// Whether an instance of it lives.
    pub lives: bool,
    /// When it came to be so, by a count of all changes.
    pub changed: u64,
    /// What was said.
    pub value: &'a V,
}

impl<V> Instance<V> {
    /// Returns when it is let go, if it is heard from no more.
    fn expires(&self) -> Option<Duration> {
        let refresh = self.refresh.filter(|_| self.state == State::Living)?;
        Some(self.heard.saturating_add(refresh.saturating_mul(SILENT_FOR)))
    }

    fn lives(&self) -> bool {
        self.state == State::Living
    }
}

impl<K, V> Default for Instances<K, V> {
    fn default() -> Self {
        Self { names: HashMap::new(), changes: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Instances<K, V> {
    /// Takes in what an instance of a name says at `now`.
    pub fn hear(&mut self, now: Duration, name: &K, speaker: &Speaker, value: V) -> Heard {
        let instances = match self.names.get_mut(name) {
            Some(instances) => instances,
            None => self.names.entry(name.clone()).or_default(),
        };
        let number = (speaker.epoch, speaker.seq);
        let known = instances.iter().position(|instance| instance.id == speaker.instance);
        let before = known.map(|at| &instances[at]);
        let had_refresh = before.is_some_and(|before| before.refresh.is_some());
        let ends = speaker.refresh.is_none() && (speaker.ends || had_refresh);
        if let Some(before) = before {
            let has_ended = number == before.number && before.state == State::Ended && !ends;
            if number < before.number || has_ended {
                return Heard { news: News::Stale, others: 0 };
            }
        }
        let is_started_anew = before.is_none_or(|before| before.number.0 < speaker.epoch);
        let state = if ends { State::Ended } else { State::Living };
        let is_same = before.is_some_and(|before| (number, state) == (before.number, before.state));
        self.changes += u64::from(!is_same);
        let (id, refresh) = (speaker.instance.clone(), speaker.refresh);
        let instance = Instance { id, number, refresh, heard: now, state, changed: self.changes, value };
        if is_started_anew {
            let older = instances.iter_mut().filter(|older| older.lives() && older.number.0 < speaker.epoch);
            older.for_each(|older| older.state = State::Replaced);
        }
        match known {
            Some(at) if is_same => (instances[at].heard, instances[at].refresh) = (now, refresh),
            Some(at) => instances[at] = instance,
            None => {
                make_room(instances);
                instances.push(instance);
            }
        }
        let living = instances.iter().filter(|instance| instance.lives()).count();
        let others = if ends { 0 } else { living - 1 };
        Heard { news: if is_same { News::Same } else { News::New }, others }
    }

    /// Returns when the next instance is let go, if none is heard from until then, and its name.
    pub fn next_due(&self) -> Option<(Duration, &K)> {
        let due = |(name, instances): (_, &Vec<Instance<V>>)| {
            Some((instances.iter().filter_map(Instance::expires).min()?, name))
        };
        self.names.iter().filter_map(due).min_by_key(|(at, _)| *at)
    }

    /// Lets go of the instances of a name that were silent for too long at `now`. `silent` makes what is known of one
    /// from then on of what it said last. Returns how many there were.
    pub fn let_go(&mut self, now: Duration, name: &K, mut silent: impl FnMut(&V) -> V) -> u64 {
        let mut gone = 0;
        let instances = self.names.get_mut(name).into_iter().flatten();
        for instance in instances.filter(|instance| instance.expires().is_some_and(|at| at <= now)) {
            self.changes += 1;
            gone += 1;
            (instance.state, instance.changed) = (State::LetGo, self.changes);
            instance.value = silent(&instance.value);
        }
        gone
    }

    /// Returns what counts of a name: of what its living instances said last what is highest, of equals what came last;
    /// if none lives, what became of the one that lived last.
    pub fn present<L: Ord>(&self, name: &K, level: impl Fn(&V) -> L) -> Option<Present<'_, V>> {
        let instances = self.names.get(name)?;
        let living = instances.iter().filter(|instance| instance.lives());
        let highest = living.max_by_key(|instance| (level(&instance.value), instance.changed));
        let last = || instances.iter().max_by_key(|instance| instance.changed);
        let Instance { changed, value, .. } = highest.or_else(last)?;
        Some(Present { lives: highest.is_some(), changed: *changed, value })
    }

    /// Returns whether this is what an instance said last.
    #[cfg(feature = "receiver")]
    pub fn is_last(&self, name: &K, speaker: &Speaker) -> bool {
        let mut instances = self.names.get(name).into_iter().flatten();
        instances.any(|known| known.id == speaker.instance && known.number == (speaker.epoch, speaker.seq))
    }

    /// Returns the newest epoch that was met under a name.
    pub fn newest_epoch(&self, name: &K) -> Option<u64> {
        self.names.get(name)?.iter().map(|instance| instance.number.0).max()
    }

    /// Returns the names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &K> {
        self.names.keys()
    }

    /// Returns whether anything was said under a name.
    #[cfg(feature = "receiver")]
    pub fn knows(&self, name: &K) -> bool {
        self.names.contains_key(name)
    }

    /// Returns how many names are known.
    #[cfg(feature = "receiver")]
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

/// Forgets one instance if there are as many as are remembered: one that does not count if there is one, and that which
/// was silent for the longest.
fn make_room<V>(instances: &mut Vec<Instance<V>>) {
    if instances.len() >= INSTANCES {
        let least = instances.iter().enumerate().min_by_key(|(_, instance)| (instance.lives(), instance.heard));
        if let Some((at, _)) = least {
            instances.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Option<Duration> = Some(Duration::from_secs(30));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn speaker(instance: &str, epoch: u64, seq: u64, refresh: Option<Duration>) -> Speaker {
        Speaker { instance: Some(instance.into()), epoch, seq, refresh, ends: false }
    }

    /// Values are levels.
    type Levels = Instances<&'static str, u8>;

    fn present(instances: &Levels) -> Option<(bool, u8)> {
        instances.present(&"bars", |level| *level).map(|present| (present.lives, *present.value))
    }

    fn silent(instances: &mut Levels, seconds: u64) -> u64 {
        instances.let_go(at(seconds), &"bars", |_| 1)
    }

    const NEW: Heard = Heard { news: News::New, others: 0 };

    // Red when a clock that was set back makes a restart stale, or the one that is gone counts for longer than it may.
    #[test]
    fn a_restart_on_a_clock_that_was_set_back_counts_at_once() {
        let mut levels = Levels::default();
        assert_eq!(levels.hear(at(0), &"bars", &speaker("a", 100, 7, REFRESH), 2), NEW);
        let heard = levels.hear(at(10), &"bars", &speaker("b", 90, 1, REFRESH), 0);
        assert_eq!(heard, Heard { news: News::New, others: 1 });
        assert_eq!(present(&levels), Some((true, 2)), "both may live");
        assert_eq!((silent(&mut levels, 89), levels.next_due()), (0, Some((at(90), &"bars"))));
        levels.hear(at(40), &"bars", &speaker("b", 90, 1, REFRESH), 0);
        assert_eq!((silent(&mut levels, 90), present(&levels)), (1, Some((true, 0))));
    }

    // Red when a restart has to wait for the end of the one before, or one that was replaced and speaks again is not
    // seen.
    #[test]
    fn a_newer_epoch_replaces_the_older_until_that_speaks_again() {
        let mut levels = Levels::default();
        levels.hear(at(0), &"bars", &speaker("a", 100, 7, REFRESH), 2);
        assert_eq!(levels.hear(at(1), &"bars", &speaker("b", 101, 1, REFRESH), 0), NEW);
        assert_eq!(present(&levels), Some((true, 0)));
        let stale = levels.hear(at(2), &"bars", &speaker("a", 100, 6, REFRESH), 2);
        assert_eq!((stale.news, present(&levels)), (News::Stale, Some((true, 0))));
        let again = levels.hear(at(3), &"bars", &speaker("a", 100, 7, REFRESH), 2);
        assert_eq!((again, present(&levels)), (Heard { news: News::New, others: 1 }, Some((true, 2))));
        let same = levels.hear(at(4), &"bars", &speaker("b", 101, 1, REFRESH), 0);
        assert_eq!(same, Heard { news: News::Same, others: 1 });
    }

    // Red when one that fell silent is believed, or its return is not told.
    #[test]
    fn one_that_is_silent_is_let_go_and_lives_again_when_it_speaks_again() {
        let mut levels = Levels::default();
        levels.hear(at(0), &"bars", &speaker("a", 100, 7, REFRESH), 2);
        assert_eq!(levels.hear(at(80), &"bars", &speaker("a", 100, 7, REFRESH), 2).news, News::Same);
        assert_eq!((silent(&mut levels, 169), silent(&mut levels, 170)), (0, 1));
        assert_eq!((present(&levels), levels.next_due()), (Some((false, 1)), None));
        assert_eq!(levels.hear(at(200), &"bars", &speaker("a", 100, 7, REFRESH), 2), NEW);
        assert_eq!(present(&levels), Some((true, 2)));
    }

    // Red when an orderly end is taken for a death, counts as long as another lives, or what comes late of it undoes
    // it.
    #[test]
    fn one_that_ended_stays_as_it_was_and_does_not_count_beside_one_that_lives() {
        let mut levels = Levels::default();
        levels.hear(at(0), &"bars", &speaker("a", 100, 7, REFRESH), 0);
        assert_eq!(levels.hear(at(1), &"bars", &speaker("a", 100, 7, None), 0), NEW);
        assert_eq!((present(&levels), levels.next_due()), (Some((false, 0)), None));
        assert_eq!(levels.hear(at(2), &"bars", &speaker("a", 100, 7, REFRESH), 0).news, News::Stale);
        let draining = Speaker { ends: true, ..speaker("b", 90, 9, None) };
        assert_eq!(levels.hear(at(3), &"bars", &draining, 2), NEW);
        assert_eq!(present(&levels), Some((false, 2)));
        levels.hear(at(4), &"bars", &speaker("c", 80, 1, REFRESH), 0);
        assert_eq!(present(&levels), Some((true, 0)));
    }

    // Red when a sender that knows of no instances is let go, or its restarts are not told from what is stale.
    #[test]
    fn senders_without_instances_are_one_that_never_expires() {
        let old = |epoch, seq| Speaker { instance: None, ..speaker("", epoch, seq, None) };
        let mut levels = Levels::default();
        assert_eq!(levels.hear(at(0), &"bars", &old(100, 7), 2), NEW);
        assert_eq!(levels.hear(at(1), &"bars", &old(90, 8), 0).news, News::Stale);
        assert_eq!((silent(&mut levels, u64::MAX), present(&levels)), (0, Some((true, 2))));
        assert_eq!(levels.hear(at(2), &"bars", &old(101, 1), 0), NEW);
        assert_eq!(levels.hear(at(3), &"bars", &speaker("a", 102, 1, REFRESH), 1), NEW);
        assert_eq!(present(&levels), Some((true, 1)), "an upgrade replaces the old form");
        assert_eq!(levels.hear(at(4), &"bars", &old(103, 1), 0), NEW);
        assert_eq!(present(&levels), Some((true, 0)), "and the way back the new one");
    }

    // Red when restarts grow memory, or push out one that lives.
    #[test]
    fn so_many_instances_of_a_name_are_remembered() {
        let mut levels = Levels::default();
        for restart in 0..100_u64 {
            let id = restart.to_string();
            levels.hear(at(restart), &"bars", &speaker(&id, 100 + restart, 1, REFRESH), 0);
        }
        assert_eq!((levels.names["bars"].len(), present(&levels)), (INSTANCES, Some((true, 0))));
        assert!(levels.names["bars"].iter().any(|instance| instance.id.as_deref() == Some("99")));
    }
}
