//! What a shutdown leaves unstored at its deadline becomes dead letters together.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize, Serializer};

use super::{abort::AT_ONCE, *};
use crate::{
    dead_letter::DeadLetters,
    policy::{BreakerConfig, Overflow, RetryPolicy, Watermarks},
    record::Record,
    sink::{Batch, BoxSink, Sink, SinkError},
};

/// A record that is counted when it is written as JSON, which is when it becomes a dead letter.
#[derive(Deserialize)]
struct Counted {
    #[serde(skip)]
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    letters: AtomicUsize,
    /// Lets the disk go on, once all are counted.
    hold: Mutex<Option<Sender<()>>>,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.count.letters.fetch_add(1, Ordering::AcqRel) + 1 == AT_ONCE {
            self.count.hold.lock().take();
        }
        serializer.serialize_unit()
    }
}

impl Record for Counted {
    const KIND: &'static str = "counted";

    fn partition_key(&self) -> &'static str {
        ""
    }
}

struct Stuck;

impl Sink<Counted> for Stuck {
    async fn write(&self, _: &Batch<Counted>) -> Result<(), SinkError> {
        std::future::pending().await
    }
}

// Sabotage: wait for each of the last batches before the next is handed over: the disk waits for them, and they for it.
#[actix::test]
async fn the_last_batches_become_dead_letters_with_shared_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (hold, until) = channel();
    let count = Arc::new(Count { letters: AtomicUsize::new(0), hold: Mutex::new(Some(hold)) });
    let (dead_letters, syncs) = DeadLetters::open_on_held_disk(dir.path(), until);
    let one = NonZeroUsize::MIN;
    let config = CoordinatorConfig {
        id: "counted".into(),
        source: "test".into(),
        capacity: NonZeroUsize::new(AT_ONCE).unwrap(),
        capacity_bytes: None,
        watermarks: Watermarks::for_capacity(AT_ONCE),
        workers: one,
        batch_size: one,
        flush_interval: Duration::from_millis(1),
        overflow: Overflow::Block,
        retry: RetryPolicy::default(),
        sink_timeout: Duration::ZERO,
        slow_after: Duration::MAX,
        breaker: BreakerConfig::default(),
    };
    let hosts = ActorHosts { control: ActorHost::Current, workers: vec![ActorHost::Current] };
    let handle = running::start_actors(config, BoxSink::new(Stuck), dead_letters, hosts, None, StopSignal::new());
    let address = handle.addr();
    for _ in 0..AT_ONCE {
        handle.submit(Counted { count: Arc::clone(&count) }).await.unwrap();
    }
    let report = address
        .send(Drain { deadline: Duration::ZERO, announce: true, dead_letters: Duration::from_secs(30) })
        .await
        .unwrap();
    // Where it failed, the thread of the disk is not left behind.
    count.hold.lock().take();
    assert_eq!((report.dead_lettered, report.unsettled), (AT_ONCE as u64, 0));
    assert_eq!(count.letters.load(Ordering::Acquire), AT_ONCE, "the disk went on too early");
    // That of the first, that of those which waited behind it, and the last may have come a moment later.
    assert!((2..=3).contains(&syncs()), "{} syncs", syncs());
}
