//! What a recorder sees of a coordinator.

use std::{collections::BTreeMap, fs, time::Duration};

use market_data_store::{
    Batch, Coordinator, Feedback, Level, MarketDataStore, Overflow, RateCoordinator, Refusal, SinkError, WriteHandle,
    feedback::EventSeries, sink::MemorySink,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::support::{PATIENCE, Tick, coordinator_settings, settings, tick, ticks, within};

/// Every metric as `name{labels}`, the labels by name.
pub fn seen(recorder: &DebuggingRecorder) -> BTreeMap<String, f64> {
    let entries = recorder.snapshotter().snapshot().into_vec();
    let value = |value: DebugValue| match value {
        DebugValue::Counter(count) => count as f64,
        DebugValue::Gauge(gauge) => gauge.into_inner(),
        DebugValue::Histogram(values) => values.len() as f64,
    };
    let name = |key: &metrics::Key| {
        let mut labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        format!("{}{{{}}}", key.name(), labels.join(","))
    };
    entries.into_iter().map(|(key, _, _, entry)| (name(key.key()), value(entry))).collect()
}

/// Red when a counter counts twice, not at all, or under another name or label.
#[actix::test]
async fn counters_and_gauges_tell_what_happened() {
    let recorder = DebuggingRecorder::new();
    let sink = MemorySink::new();
    // The handles of metrics are made where the actors start, so all of them start here.
    let (store, handle): (_, WriteHandle<Tick>) = {
        let _recorder = metrics::set_default_local_recorder(&recorder);
        let mut own = coordinator_settings(10, 1, 5);
        own.overflow = Overflow::Error;
        let mut settings = settings();
        settings.circuit.failure_threshold = std::num::NonZeroU32::new(1);
        settings.circuit.half_open_after = Duration::from_millis(1);
        let coordinator = Coordinator::new(sink.clone()).id("metered").settings(own);
        let store =
            MarketDataStore::builder(settings).coordinator(coordinator).on_current_arbiter().start().await.unwrap();
        let handle = store.coordinator().unwrap();
        handle.health().await;
        (store, handle)
    };
    // One batch stored, with one transient failure, which opens the circuit, on the way; one record refused for good.
    sink.fail_next(SinkError::transient("away"));
    sink.fail_when(|batch: &Batch<Tick>| {
        batch.iter().any(|tick| tick.id == 3).then(|| SinkError::permanent("not this one"))
    });
    handle.submit_many(ticks(0..5)).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();
    // Fifteen more, of which five are taken and held, ten queue up and one finds no credit.
    sink.hold();
    handle.submit_many(ticks(10..15)).await.unwrap();
    within(PATIENCE, sink.wait_held(1)).await;
    handle.submit_many(ticks(20..30)).await.unwrap();
    assert_eq!(*handle.try_submit(tick("ES", 30)).unwrap_err().refusal(), Refusal::Full);
    handle.health().await;

    let now = seen(&recorder);
    let get = |name: &str| now.get(name).copied().unwrap_or_else(|| panic!("{name} is not among {now:#?}"));
    let c = "coordinator_id=metered";
    assert_eq!(get(&format!("mds_coord_items_submitted_total{{{c}}}")), 20.0);
    assert_eq!(get(&format!("mds_coord_items_stored_total{{{c}}}")), 4.0);
    assert_eq!(get(&format!("mds_coord_items_dead_lettered_total{{{c}}}")), 1.0);
    for reason in ["drop_oldest", "conflated"] {
        assert_eq!(get(&format!("mds_coord_items_dropped_total{{{c},reason={reason}}}")), 0.0);
    }
    assert_eq!(get(&format!("mds_coord_items_rejected_total{{{c},reason=full}}")), 1.0);
    assert_eq!(get(&format!("mds_coord_queue_depth{{{c}}}")), 10.0);
    assert_eq!(get(&format!("mds_coord_queue_capacity{{{c}}}")), 10.0);
    assert_eq!(get(&format!("mds_coord_in_flight{{{c}}}")), 5.0);
    assert_eq!(get(&format!("mds_coord_workers_alive{{{c}}}")), 1.0);
    assert_eq!(get(&format!("mds_coord_level{{{c}}}")), 2.0);
    assert_eq!(get(&format!("mds_coord_circuit_state{{{c}}}")), 0.0);
    assert_eq!(get(&format!("mds_worker_write_errors_total{{{c},error_type=transient,worker_id=0}}")), 1.0);
    let permanent = get(&format!("mds_worker_write_errors_total{{{c},error_type=permanent,worker_id=0}}"));
    assert!(permanent >= 1.0, "{permanent}");
    assert!(get(&format!("mds_worker_batches_written_total{{{c},worker_id=0}}")) >= 2.0);
    assert!(get(&format!("mds_worker_write_latency_seconds{{{c},worker_id=0}}")) >= 4.0);

    sink.release();
    assert!(store.shutdown(PATIENCE).await.is_complete());
    let end = seen(&recorder);
    assert_eq!(end[&format!("mds_coord_items_stored_total{{{c}}}")], 19.0);
    assert_eq!(end[&format!("mds_coord_queue_depth{{{c}}}")], 0.0);
    assert_eq!(end[&format!("mds_coord_workers_alive{{{c}}}")], 0.0);
}

/// Red when records that were dropped for one reason are counted for another, or for both.
#[actix::test]
async fn what_is_dropped_is_counted_by_its_reason() {
    let recorder = DebuggingRecorder::new();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let sink = MemorySink::<Tick>::new();
    let own = coordinator_settings(2, 1, 1).overflow(Overflow::Conflate);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).on_current_arbiter().start();
    let store = store.await.unwrap();
    let handle: WriteHandle<Tick> = store.coordinator().unwrap();
    sink.hold();
    handle.try_submit(tick("A", 0)).unwrap();
    within(PATIENCE, sink.wait_held(1)).await;
    for (id, symbol) in (1..).zip(["A", "B", "A", "B", "B", "C"]) {
        handle.try_submit(tick(symbol, id)).unwrap();
    }
    handle.health().await;
    let now = seen(&recorder);
    let get = |reason| now[&format!("mds_coord_items_dropped_total{{coordinator_id=ticks,reason={reason}}}")];
    assert_eq!((get("conflated"), get("drop_oldest")), (3.0, 1.0));
    sink.release();
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Red when a limiter shows its scale or level late, not at all, or under another name than its own or its ids.
#[actix::test]
async fn a_limiter_shows_its_scale_and_level_by_its_name() {
    let recorder = DebuggingRecorder::new();
    let feedback = Feedback::private();
    let follow = |ids: &[&str]| RateCoordinator::follow(&feedback, ids.to_vec());
    let _limiters = {
        let _recorder = metrics::set_default_local_recorder(&recorder);
        [follow(&["bars", "db1:x/ticks"]).start(), follow(&["ticks"]).name("backfill").start(), follow(&[]).start()]
    };
    let mut bars = EventSeries::new("bars");
    for level in [Level::Hard, Level::Soft] {
        feedback.publish(bars.next(level));
        within(PATIENCE, feedback.idle()).await;
    }
    let now = seen(&recorder);
    let get = |name: &str, limiter: &str| now[&format!("mds_rate_{name}{{limiter={limiter}}}")];
    assert_eq!(get("level", "bars,db1:x/ticks"), 1.0);
    let rising = get("scale", "bars,db1:x/ticks");
    assert!(rising > 0.0 && rising <= 0.5, "{rising}");
    assert_eq!((get("level", "backfill"), get("scale", "backfill")), (0.0, 1.0));
    assert_eq!(get("level", "all"), 1.0);
}

/// Red when a metric is added, renamed or dropped in the code alone.
#[test]
fn the_page_lists_every_metric_and_no_other() {
    let root = env!("CARGO_MANIFEST_DIR");
    let names = |text: &str, quote: char| -> Vec<String> {
        let is_name = |name: &&str| {
            name.starts_with("mds_") && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        };
        let mut names: Vec<_> = text.split(quote).filter(is_name).map(ToOwned::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    let code = names(&fs::read_to_string(format!("{root}/src/metrics.rs")).unwrap(), '"');
    assert!(code.len() > 15, "{code:?}");
    assert_eq!(names(&fs::read_to_string(format!("{root}/docs/METRICS.md")).unwrap(), '`'), code);
}
