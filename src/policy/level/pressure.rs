//! From the causes that hold a level up to the level and the reason that producers are told.

use serde::Serialize;

use super::reason::{Level, Reason};

/// Something that holds a coordinator's level up. Declared by precedence: of those that hold it highest the first
/// speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The coordinator shuts down. Hard; never cleared.
    Draining,
    /// Dead letters cannot be written. Hard.
    DeadLettersUnwritable,
    /// The store failed too often in a row. Hard.
    CircuitOpen,
    /// Work is due and is not written. Soft while some partitions settle nothing, hard while none does.
    WriteOverdue,
    /// The queue reached its high watermark and has not fallen to the low one. Hard.
    QueueHigh,
    /// The queue rose above its low watermark. Soft.
    QueueRising,
}

impl Cause {
    const ALL: [Self; 6] = [
        Self::Draining,
        Self::DeadLettersUnwritable,
        Self::CircuitOpen,
        Self::WriteOverdue,
        Self::QueueHigh,
        Self::QueueRising,
    ];

    /// Returns the reason given while this cause speaks.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Draining => Reason::Draining,
            Self::DeadLettersUnwritable => Reason::DeadLettersUnwritable,
            Self::CircuitOpen => Reason::CircuitOpen,
            Self::WriteOverdue => Reason::WriteOverdue,
            Self::QueueHigh => Reason::QueueHigh,
            Self::QueueRising => Reason::QueueRising,
        }
    }

    /// Returns the reason given when this cause is the last one to clear; none for a cause that never clears.
    const fn cleared(self) -> Option<Reason> {
        match self {
            Self::Draining => None,
            Self::DeadLettersUnwritable => Some(Reason::DeadLettersWritable),
            Self::CircuitOpen => Some(Reason::CircuitClosed),
            Self::WriteOverdue => Some(Reason::WritesRecovered),
            Self::QueueHigh | Self::QueueRising => Some(Reason::QueueRecovered),
        }
    }
}

/// A change that producers have to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The level from now on.
    pub level: Level,
    /// The level before.
    pub previous: Level,
    /// Why.
    pub reason: Reason,
}

/// The causes raised at present. The level is the highest that any of them holds up.
#[derive(Clone, Debug)]
pub struct Pressure {
    /// The level that each holds up; ok where it is not raised.
    raised: [Level; Cause::ALL.len()],
    level: Level,
    reason: Reason,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { raised: Default::default(), level: Level::Ok, reason: Reason::Started }
    }
}

impl Pressure {
    /// Returns the present level.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Returns the reason of the last change, [`Reason::Started`] before the first.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the causes raised at present, by precedence.
    pub fn causes(&self) -> Vec<Cause> {
        Cause::ALL.into_iter().filter(|&cause| self.raised[cause as usize] > Level::Ok).collect()
    }

    /// Takes in what the queue's watermark says: its three levels are two causes, of which at most one is raised.
    pub fn queue_is(&mut self, level: Level) -> Option<Change> {
        let if_it_is = |cause: Level| if level == cause { level } else { Level::Ok };
        self.raised[Cause::QueueHigh as usize] = if_it_is(Level::Hard);
        self.raised[Cause::QueueRising as usize] = if_it_is(Level::Soft);
        self.settle(Cause::QueueRising)
    }

    /// Takes in how far writes are overdue.
    pub fn overdue_is(&mut self, level: Level) -> Option<Change> {
        self.raised[Cause::WriteOverdue as usize] = level;
        self.settle(Cause::WriteOverdue)
    }

    /// Raises a cause that is always hard.
    pub fn raise(&mut self, cause: Cause) -> Option<Change> {
        self.raised[cause as usize] = Level::Hard;
        self.settle(cause)
    }

    /// Clears a cause.
    pub fn clear(&mut self, cause: Cause) -> Option<Change> {
        if std::mem::take(&mut self.raised[cause as usize]) == Level::Ok {
            return None;
        }
        self.settle(cause)
    }

    /// Works out level and reason anew after `touched` was raised or cleared.
    fn settle(&mut self, touched: Cause) -> Option<Change> {
        let level = self.raised.into_iter().max().unwrap_or_default();
        let reason = match Cause::ALL.into_iter().find(|&cause| self.raised[cause as usize] == level) {
            Some(cause) if level > Level::Ok => cause.reason(),
            _ if self.level == Level::Ok => return None,
            _ => touched.cleared()?,
        };
        let change = Change { level, previous: self.level, reason };
        let changed = level != self.level || reason != self.reason;
        (self.level, self.reason) = (level, reason);
        changed.then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_queue_alone_goes_through_its_levels_with_their_reasons() {
        let mut pressure = Pressure::default();
        let change = |level, previous, reason| Some(Change { level, previous, reason });
        assert_eq!(pressure.queue_is(Level::Ok), None, "nothing was raised");
        assert_eq!(pressure.queue_is(Level::Soft), change(Level::Soft, Level::Ok, Reason::QueueRising));
        assert_eq!(pressure.queue_is(Level::Soft), None, "no change, no event");
        assert_eq!(pressure.queue_is(Level::Hard), change(Level::Hard, Level::Soft, Reason::QueueHigh));
        assert_eq!(pressure.queue_is(Level::Ok), change(Level::Ok, Level::Hard, Reason::QueueRecovered));
        assert_eq!(pressure.queue_is(Level::Hard), change(Level::Hard, Level::Ok, Reason::QueueHigh));
    }

    #[test]
    fn a_cause_of_higher_precedence_changes_the_reason_at_the_same_level() {
        let mut pressure = Pressure::default();
        pressure.queue_is(Level::Hard);
        assert_eq!(
            pressure.raise(Cause::Draining),
            Some(Change { level: Level::Hard, previous: Level::Hard, reason: Reason::Draining })
        );
        assert_eq!(pressure.queue_is(Level::Ok), None, "draining still speaks");
        assert_eq!((pressure.level(), pressure.reason()), (Level::Hard, Reason::Draining));
        assert_eq!(pressure.causes(), [Cause::Draining]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Queue(Level),
        Circuit(bool),
        Letters(bool),
        Overdue(Level),
        Drain,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Queue(Level::Ok)),
            4 => Just(Step::Queue(Level::Soft)),
            4 => Just(Step::Queue(Level::Hard)),
            4 => any::<bool>().prop_map(Step::Circuit),
            4 => any::<bool>().prop_map(Step::Letters),
            2 => Just(Step::Overdue(Level::Ok)),
            2 => Just(Step::Overdue(Level::Soft)),
            2 => Just(Step::Overdue(Level::Hard)),
            1 => Just(Step::Drain),
        ]
    }

    proptest! {
        /// Red when a change is reported twice, when one is missed, or when a lower cause hides a higher one.
        #[test]
        fn the_level_is_the_highest_cause_and_every_change_is_told_once(steps in prop::collection::vec(step(), 0..60)) {
            let mut pressure = Pressure::default();
            let (mut queue, mut draining, mut circuit, mut letters) = (Level::Ok, false, false, false);
            let mut overdue = Level::Ok;
            let mut last_cleared = Reason::Started;
            let mut told = (Level::Ok, Reason::Started);
            for step in steps {
                let change = match step {
                    Step::Queue(level) => {
                        if queue != Level::Ok && level == Level::Ok { last_cleared = Reason::QueueRecovered; }
                        queue = level;
                        pressure.queue_is(level)
                    }
                    Step::Circuit(open) => {
                        if circuit && !open { last_cleared = Reason::CircuitClosed; }
                        circuit = open;
                        if open { pressure.raise(Cause::CircuitOpen) } else { pressure.clear(Cause::CircuitOpen) }
                    }
                    Step::Letters(bad) => {
                        if letters && !bad { last_cleared = Reason::DeadLettersWritable; }
                        letters = bad;
                        let cause = Cause::DeadLettersUnwritable;
                        if bad { pressure.raise(cause) } else { pressure.clear(cause) }
                    }
                    Step::Overdue(level) => {
                        if overdue != Level::Ok && level == Level::Ok { last_cleared = Reason::WritesRecovered; }
                        overdue = level;
                        pressure.overdue_is(level)
                    }
                    Step::Drain => { draining = true; pressure.raise(Cause::Draining) }
                };
                let level = if draining || circuit || letters { Level::Hard } else { queue.max(overdue) };
                let reason = match (draining, letters, circuit, overdue, queue) {
                    (true, ..) => Reason::Draining,
                    (_, true, ..) => Reason::DeadLettersUnwritable,
                    (_, _, true, ..) => Reason::CircuitOpen,
                    (.., Level::Hard, _) => Reason::WriteOverdue,
                    (.., Level::Hard) => Reason::QueueHigh,
                    (.., Level::Soft, _) => Reason::WriteOverdue,
                    (.., Level::Soft) => Reason::QueueRising,
                    _ => last_cleared,
                };
                match change {
                    Some(change) => {
                        prop_assert_ne!((level, reason), told);
                        prop_assert_eq!(change, Change { level, previous: told.0, reason });
                        told = (level, reason);
                    }
                    None => prop_assert_eq!((level, reason), told),
                }
            }
        }
    }
}
