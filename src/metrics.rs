//! What is measured: [`describe`] tells a recorder every name, unit and meaning, and `docs/METRICS.md` of the
//! repository lists them with their labels. The name of a coordinator is the label `coordinator_id` everywhere.
//!
//! Values go to the recorder that the process has installed (crate `metrics`); this crate installs none. A recorder
//! must be installed before a store starts, or that store's metrics go nowhere.

/// Records accepted. Label `coordinator_id`.
pub(crate) const SUBMITTED: &str = "mds_coord_items_submitted_total";
/// Records committed by the sink. Label `coordinator_id`.
pub(crate) const STORED: &str = "mds_coord_items_stored_total";
/// Records appended to the dead letters. Label `coordinator_id`.
pub(crate) const DEAD_LETTERED: &str = "mds_coord_items_dead_lettered_total";
/// Records given up unwritten for newer ones. Labels `coordinator_id`, `reason` (`drop_oldest`, `conflated`).
pub(crate) const DROPPED: &str = "mds_coord_items_dropped_total";
/// Records refused at submit and handed back. Labels `coordinator_id`, `reason`.
pub(crate) const REJECTED: &str = "mds_coord_items_rejected_total";
/// Accepted records not yet taken by a worker. Label `coordinator_id`.
pub(crate) const QUEUE_DEPTH: &str = "mds_coord_queue_depth";
/// The most records that the queue takes. Label `coordinator_id`.
pub(crate) const QUEUE_CAPACITY: &str = "mds_coord_queue_capacity";
/// Records that a worker has taken and not yet settled. Label `coordinator_id`.
pub(crate) const IN_FLIGHT: &str = "mds_coord_in_flight";
/// How long the oldest record that is accepted and not settled has been waiting, in seconds. Label `coordinator_id`.
pub(crate) const OLDEST_AGE: &str = "mds_coord_oldest_age_seconds";
/// Partitions that have due work and settle nothing for too long. Label `coordinator_id`.
pub(crate) const WRITES_OVERDUE: &str = "mds_coord_writes_overdue";
/// Workers running. Label `coordinator_id`.
pub(crate) const WORKERS_ALIVE: &str = "mds_coord_workers_alive";
/// The circuit: 0 closed, 1 open, 2 half-open. Label `coordinator_id`.
pub(crate) const CIRCUIT_STATE: &str = "mds_coord_circuit_state";
/// The level: 0 ok, 1 soft, 2 hard. Label `coordinator_id`.
pub(crate) const LEVEL: &str = "mds_coord_level";
/// Batches written. Labels `coordinator_id`, `worker_id`.
pub(crate) const BATCHES_WRITTEN: &str = "mds_worker_batches_written_total";
/// Failed writes. Labels `coordinator_id`, `worker_id`, `error_type` (`transient`, `permanent`, `panic`).
pub(crate) const WRITE_ERRORS: &str = "mds_worker_write_errors_total";
/// How long a write took, in seconds, failed ones too. Labels `coordinator_id`, `worker_id`.
pub(crate) const WRITE_LATENCY: &str = "mds_worker_write_latency_seconds";
/// Batches stored in PostgreSQL. Labels `coordinator_id`, `path` (`copy`, `upsert`).
#[cfg(feature = "postgres")]
pub(crate) const PG_BATCHES: &str = "mds_pg_batches_total";
/// Batches that COPY was refused for, mostly as a row was there. Label `coordinator_id`.
#[cfg(feature = "postgres")]
pub(crate) const PG_CONFLICTS: &str = "mds_pg_copy_conflicts_total";
/// Events that reached the bus. Labels `coordinator_id`, `level`.
pub(crate) const FEEDBACK_EVENTS: &str = "mds_feedback_events_total";
/// Events that were dropped by a bus: their instance had said something newer.
pub(crate) const FEEDBACK_STALE: &str = "mds_feedback_stale_total";
/// Events of an instance beside which another of the same name lives.
pub(crate) const FEEDBACK_CONFLICTS: &str = "mds_feedback_conflicts_total";
/// Instances that fell silent for three times their refresh.
pub(crate) const FEEDBACK_EXPIRED: &str = "mds_feedback_expired_total";
/// Subscribers on the bus.
pub(crate) const FEEDBACK_SUBSCRIBERS: &str = "mds_feedback_subscribers";
/// Events that a slow subscriber never saw: newer ones took their place, or its lane was full.
pub(crate) const FEEDBACK_SUPERSEDED: &str = "mds_feedback_superseded_total";
/// Subscribers removed because their actor was gone.
pub(crate) const FEEDBACK_PRUNED: &str = "mds_feedback_pruned_total";
/// Requests to a receiver of feedback. Label `outcome`, as in its snapshot.
pub(crate) const FEEDBACK_RECEIVED: &str = "mds_feedback_received_total";
/// Attempts to deliver an event to a URL, and events that newer ones took the place of. Labels `endpoint` (host and
/// port), `outcome` (`delivered`, `refused`, `timeout`, `unreachable`, `superseded`).
pub(crate) const HTTP_DELIVERIES: &str = "mds_webhook_deliveries_total";
/// Events still to be delivered to a URL. Label `endpoint`.
pub(crate) const HTTP_PENDING: &str = "mds_webhook_pending";
/// URLs by state. Labels `endpoint`, `state` (`closed`, `open`, `half_open`, `switched_off`).
pub(crate) const HTTP_LANES: &str = "mds_webhook_lanes";
/// By what a limiter multiplies its budget, 0 to 1. Label `limiter`.
pub(crate) const RATE_SCALE: &str = "mds_rate_scale";
/// The highest level that a limiter follows: 0 ok, 1 soft, 2 hard. Label `limiter`.
pub(crate) const RATE_LEVEL: &str = "mds_rate_level";

/// Which version serves. Label `version`; always 1.
#[cfg(feature = "serve")]
pub(crate) const BUILD_INFO: &str = "mds_build_info";
/// Dead letters that wait for a replay or a purge.
#[cfg(feature = "serve")]
pub(crate) const DEAD_LETTERS_PENDING: &str = "mds_dead_letters_pending";
/// Requests to the service. Labels `route` (its pattern, or `none`), `status`.
#[cfg(feature = "serve")]
pub(crate) const HTTP_REQUESTS: &str = "mds_http_requests_total";
/// How long the head of an answer took, in seconds. Label `route`.
#[cfg(feature = "serve")]
pub(crate) const HTTP_SECONDS: &str = "mds_http_request_seconds";

/// Tells the installed recorder what each metric means and its unit.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(SUBMITTED, Unit::Count, "records accepted");
    describe_counter!(STORED, Unit::Count, "records committed by the sink");
    describe_counter!(
        DEAD_LETTERED,
        Unit::Count,
        "records given up: appended to the dead letters, or left there by a replay"
    );
    describe_counter!(DROPPED, Unit::Count, "records given up unwritten for newer ones");
    describe_counter!(REJECTED, Unit::Count, "records refused at submit and handed back");
    let queue_depth = "accepted records not yet taken by a worker, and places that are reserved";
    describe_gauge!(QUEUE_DEPTH, Unit::Count, queue_depth);
    describe_gauge!(QUEUE_CAPACITY, Unit::Count, "the most records that the queue takes");
    describe_gauge!(IN_FLIGHT, Unit::Count, "records taken by a worker and not yet settled");
    describe_gauge!(OLDEST_AGE, Unit::Seconds, "age of the oldest record that is accepted and not settled");
    describe_gauge!(WRITES_OVERDUE, Unit::Count, "partitions that have due work and settle nothing for too long");
    describe_gauge!(WORKERS_ALIVE, Unit::Count, "workers running");
    describe_gauge!(CIRCUIT_STATE, Unit::Count, "0 closed, 1 open, 2 half-open");
    describe_gauge!(LEVEL, Unit::Count, "0 ok, 1 soft, 2 hard");
    describe_counter!(BATCHES_WRITTEN, Unit::Count, "batches written");
    describe_counter!(WRITE_ERRORS, Unit::Count, "failed writes");
    describe_histogram!(WRITE_LATENCY, Unit::Seconds, "duration of a write, failed ones too");
    #[cfg(feature = "postgres")]
    {
        describe_counter!(PG_BATCHES, Unit::Count, "batches stored in PostgreSQL, by COPY or by upsert");
        describe_counter!(PG_CONFLICTS, Unit::Count, "batches for which COPY was refused, mostly as a row was there");
    }
    describe_counter!(FEEDBACK_EVENTS, Unit::Count, "events that reached the bus");
    describe_counter!(FEEDBACK_STALE, Unit::Count, "events dropped: their instance had said something newer");
    describe_counter!(
        FEEDBACK_CONFLICTS,
        Unit::Count,
        "events of an instance beside which another of the same name lives"
    );
    describe_counter!(FEEDBACK_EXPIRED, Unit::Count, "instances that fell silent for three times their refresh");
    describe_gauge!(FEEDBACK_SUBSCRIBERS, Unit::Count, "subscribers on the bus");
    describe_counter!(
        FEEDBACK_SUPERSEDED,
        Unit::Count,
        "events that a slow subscriber never saw: newer ones took their place, or its lane was full"
    );
    describe_counter!(FEEDBACK_PRUNED, Unit::Count, "subscribers removed because their actor was gone");
    describe_counter!(FEEDBACK_RECEIVED, Unit::Count, "requests to a receiver of feedback, by what became of them");
    describe_counter!(HTTP_DELIVERIES, Unit::Count, "attempts to deliver an event to a URL, and events superseded");
    describe_gauge!(HTTP_PENDING, Unit::Count, "events still to be delivered to a URL");
    describe_gauge!(HTTP_LANES, Unit::Count, "URLs by state");
    describe_gauge!(RATE_SCALE, "by what a limiter multiplies its budget, 0 to 1");
    describe_gauge!(RATE_LEVEL, Unit::Count, "the highest level that a limiter follows: 0 ok, 1 soft, 2 hard");
    #[cfg(feature = "serve")]
    {
        describe_gauge!(BUILD_INFO, "the version that serves, as a label; always 1");
        let pending = "dead letters of the directory that wait for a replay or a purge";
        describe_gauge!(DEAD_LETTERS_PENDING, Unit::Count, pending);
        describe_counter!(HTTP_REQUESTS, Unit::Count, "requests to the service");
        describe_histogram!(HTTP_SECONDS, Unit::Seconds, "time until the head of an answer was there");
    }
}
