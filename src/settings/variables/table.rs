//! The table of variables: the one place for a variable's name, field, default, unit, range and meaning, and for how
//! its value may be shown.
//!
//! A new variable is a row here and a field of the struct that the row names; config.example.env and
//! docs/CONFIGURATION.md are held to the table by tests.

use super::{Group, Kind, Variable};
use crate::{
    policy::Overflow,
    settings::names::{SOURCE_RULE, is_source},
};

pub(in crate::settings) const CAPACITY: &str = "MDS_COORDINATOR_CAPACITY";
pub(in crate::settings) const HIGH_WATERMARK: &str = "MDS_COORDINATOR_HIGH_WATERMARK";
pub(in crate::settings) const LOW_WATERMARK: &str = "MDS_COORDINATOR_LOW_WATERMARK";
pub(in crate::settings) const OVERFLOW: &str = "MDS_COORDINATOR_OVERFLOW_STRATEGY";
pub(in crate::settings) const INITIAL_BACKOFF: &str = "MDS_RETRY_INITIAL_BACKOFF_MS";
pub(in crate::settings) const MAX_BACKOFF: &str = "MDS_RETRY_MAX_BACKOFF_MS";
pub(in crate::settings) const ENABLE_FEEDBACK: &str = "MDS_FB_ENABLE_FEEDBACK";
pub(in crate::settings) const ENABLE_HTTP: &str = "MDS_FB_ENABLE_HTTP_BROADCAST";
pub(in crate::settings) const HTTP_REFRESH: &str = "MDS_FB_HTTP_REFRESH";
pub(in crate::settings) const HTTP_ENDPOINT: &str = "MDS_FB_HTTP_ENDPOINT";

/// The most records that any number of records may be; with it no bound in memory or arithmetic is near.
const MOST: usize = 100_000_000;

/// Every variable that is read, in the order in which they are documented.
pub(in crate::settings) const VARIABLES: &[Variable] = &[
    Variable {
        name: "MDS_DATABASE_URL",
        field: (Group::Store, "database_url"),
        default: "sqlite://market_data.db",
        unit: "",
        about: "where records are stored; what follows `sqlite://` is a path, relative to the working directory; or \
                `postgres://USER:PASSWORD@HOST/DATABASE`",
        kind: Kind::Url("sqlite://PATH or postgres://USER@HOST/DATABASE", |s| &s.database_url, is_database),
    },
    Variable {
        name: "MDS_KINDS",
        field: (Group::Store, "kinds"),
        default: "bars",
        unit: "",
        about: "the kinds of records that get a coordinator each, with commas between; a store that is built in code has its \
                own",
        kind: Kind::Kinds(|s| &s.kinds),
    },
    Variable {
        name: "MDS_SOURCE",
        field: (Group::Store, "source"),
        default: "host:program, host:mds-command in `mds`",
        unit: "",
        about: "names this process in events: different for processes that run at once, the same after a restart \
                (set it in containers)",
        kind: Kind::Text(SOURCE_RULE, |s| &s.source, is_source),
    },
    Variable {
        name: CAPACITY,
        field: (Group::Coordinator, "capacity"),
        default: "10000",
        unit: "records",
        about: "how many records wait in the queue at most",
        kind: Kind::Count(1, MOST, |s| s.coordinator.capacity),
    },
    Variable {
        name: "MDS_COORDINATOR_CAPACITY_BYTES",
        field: (Group::Coordinator, "capacity_bytes"),
        default: "0",
        unit: "bytes",
        about: "how many bytes records have at most that are accepted and not settled, by the length of their JSON or a size \
                of their own; 0: they are not counted",
        kind: Kind::Bytes(1 << 50, |s| s.coordinator.capacity_bytes),
    },
    Variable {
        name: HIGH_WATERMARK,
        field: (Group::Coordinator, "high_watermark"),
        default: "80 % of capacity",
        unit: "records",
        about: "queue size from which the level is hard; at most the capacity",
        kind: Kind::Count(1, MOST, |s| s.coordinator.high()),
    },
    Variable {
        name: LOW_WATERMARK,
        field: (Group::Coordinator, "low_watermark"),
        default: "50 % of capacity",
        unit: "records",
        about: "queue size down to which the level returns to ok; below the high watermark",
        kind: Kind::Count(0, MOST, |s| s.coordinator.low()),
    },
    Variable {
        name: "MDS_COORDINATOR_WORKERS",
        field: (Group::Coordinator, "workers"),
        default: "4",
        unit: "workers",
        about: "how many batches are written at once",
        kind: Kind::Count(1, 1024, |s| s.coordinator.workers),
    },
    Variable {
        name: "MDS_COORDINATOR_BATCH_SIZE",
        field: (Group::Coordinator, "batch_size"),
        default: "500",
        unit: "records",
        about: "how many records are written together at most",
        kind: Kind::Count(1, 1_000_000, |s| s.coordinator.batch_size),
    },
    Variable {
        name: "MDS_COORDINATOR_FLUSH_INTERVAL",
        field: (Group::Coordinator, "flush_interval"),
        default: "0.25",
        unit: "seconds",
        about: "how long a record waits for its batch to fill",
        kind: Kind::Seconds(0.001, 86_400.0, |s| s.coordinator.flush_interval),
    },
    Variable {
        name: OVERFLOW,
        field: (Group::Coordinator, "overflow"),
        default: "block",
        unit: "",
        about: "what happens when the queue is full: the producer waits (`block`), the oldest record is dropped \
                (`drop_oldest`), the new one is refused (`error`), or it replaces the last waiting one of \
                its key (`conflate`, for quotes and options)",
        kind: Kind::Choice("block, drop_oldest, error or conflate", |s| overflow(s.coordinator.overflow)),
    },
    Variable {
        name: INITIAL_BACKOFF,
        field: (Group::Retry, "initial_backoff"),
        default: "50",
        unit: "milliseconds",
        about: "the wait before a failed write is tried again for the first time",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.initial_backoff),
    },
    Variable {
        name: MAX_BACKOFF,
        field: (Group::Retry, "max_backoff"),
        default: "2000",
        unit: "milliseconds",
        about: "the longest wait between attempts; at least the initial one",
        kind: Kind::Millis(1, 3_600_000, |s| s.retry.max_backoff),
    },
    Variable {
        name: "MDS_RETRY_BACKOFF_MULTIPLIER",
        field: (Group::Retry, "multiplier"),
        default: "2.0",
        unit: "",
        about: "what each further failure multiplies the wait by",
        kind: Kind::Factor(1.0, 1000.0, |s| s.retry.multiplier),
    },
    Variable {
        name: "MDS_RETRY_JITTER",
        field: (Group::Retry, "jitter"),
        default: "true",
        unit: "",
        about: "waits a random 50 to 100 % of each wait, so that workers do not retry in step",
        kind: Kind::Switch(|s| s.retry.jitter),
    },
    Variable {
        name: "MDS_RETRY_MAX_ATTEMPTS",
        field: (Group::Retry, "max_attempts"),
        default: "5",
        unit: "strikes",
        about: "a batch with so many strikes, two at least, is at fault and is halved; all failures of one outage are one \
                strike; without a circuit every failure is one",
        kind: Kind::Count(1, 1_000_000, |s| s.retry.max_attempts.get().max(2) as usize),
    },
    Variable {
        name: "MDS_CB_FAILURE_THRESHOLD",
        field: (Group::Circuit, "failure_threshold"),
        default: "5",
        unit: "failures",
        about: "so many transient failures in a row, over all workers, open the circuit; 0: it never opens, and an \
                outage that the sink does not call one dead-letters records",
        kind: Kind::Count(0, 1_000_000, |s| {
            s.circuit.failure_threshold.map_or(0, |threshold| threshold.get() as usize)
        }),
    },
    Variable {
        name: "MDS_CB_HALF_OPEN_AFTER_SEC",
        field: (Group::Circuit, "half_open_after"),
        default: "10",
        unit: "seconds",
        about: "how long an open circuit leaves the store alone before it tries one batch",
        kind: Kind::WholeSeconds(0, 86_400, |s| s.circuit.half_open_after),
    },
    Variable {
        name: "MDS_SINK_TIMEOUT",
        field: (Group::Store, "sink_timeout"),
        default: "0",
        unit: "seconds",
        about: "a write that takes longer is cut off and counts as an outage; 0: none is (30 in `mds`, unless it is set)",
        kind: Kind::Seconds(0.0, 86_400.0, |s| s.sink_timeout),
    },
    Variable {
        name: "MDS_SINK_SLOW_AFTER",
        field: (Group::Store, "sink_slow_after"),
        default: "5",
        unit: "seconds",
        about: "a partition that has due work and settles nothing for so long is overdue: the level goes up",
        kind: Kind::Seconds(0.001, 86_400.0, |s| s.sink_slow_after),
    },
    Variable {
        name: "MDS_PG_COPY",
        field: (Group::Postgres, "copy"),
        default: "auto",
        unit: "",
        about: "whether rows that are new go to PostgreSQL by COPY: `auto`, or `never` for servers and poolers that cannot",
        kind: Kind::Choice("auto or never", |s| s.postgres.copy.as_str()),
    },
    Variable {
        name: "MDS_PG_STATEMENT_TIMEOUT",
        field: (Group::Postgres, "statement_timeout"),
        default: "20",
        unit: "seconds",
        about: "how long PostgreSQL may take for one statement; what takes longer counts as an outage",
        kind: Kind::Seconds(0.1, 3_600.0, |s| s.postgres.statement_timeout),
    },
    Variable {
        name: "MDS_PG_CONNECTIONS",
        field: (Group::Postgres, "connections"),
        default: "10",
        unit: "connections",
        about: "the most connections to PostgreSQL; a worker that finds none waits for another one's batch",
        kind: Kind::Count(1, 1_000, |s| s.postgres.connections),
    },
    Variable {
        name: "MDS_PG_SCHEMA",
        field: (Group::Postgres, "schema"),
        default: "none",
        unit: "",
        about: "the schema of the tables in PostgreSQL; none: the first one of the search path that is there",
        kind: Kind::Text(
            "the name of a schema, of 1 to 63 bytes",
            |s| &s.postgres.schema,
            |name| name.len() <= 63 && !name.contains('\0'),
        ),
    },
    Variable {
        name: "MDS_PG_MIGRATE",
        field: (Group::Postgres, "migrate"),
        default: "auto",
        unit: "",
        about: "whether tables are made in PostgreSQL, and new optional columns added: `auto`, or `never`, which only looks",
        kind: Kind::Choice("auto or never", |s| s.postgres.migrate.as_str()),
    },
    Variable {
        name: "MDS_DLQ_PATH",
        field: (Group::Store, "dlq_path"),
        default: "dead_letters",
        unit: "",
        about: "the directory for records that could not be stored; made and tried at the start",
        kind: Kind::Text(
            "the path of a directory",
            |s| s.dlq_path.to_str().unwrap_or_default(),
            |path| !path.is_empty(),
        ),
    },
    Variable {
        name: "MDS_SHUTDOWN_TIMEOUT",
        field: (Group::Store, "shutdown_timeout"),
        default: "30",
        unit: "seconds",
        about: "how long a shutdown may take to store what was accepted",
        kind: Kind::Seconds(0.0, 86_400.0, |s| s.shutdown_timeout),
    },
    Variable {
        name: "MDS_LOG",
        field: (Group::Store, "log"),
        default: "info",
        unit: "",
        about: "what `mds` logs to standard error: a level, or a filter such as `warn,market_data_store=debug`",
        kind: Kind::Text("a level or a filter such as warn,market_data_store=debug", |s| &s.log, |_| true),
    },
    Variable {
        name: "MDS_LOG_FORMAT",
        field: (Group::Store, "log_format"),
        default: "text",
        unit: "",
        about: "the form of `mds`'s log: `text` or `json`",
        kind: Kind::Choice("text or json", |s| s.log_format.as_str()),
    },
    Variable {
        name: "MDS_HTTP_BIND",
        field: (Group::HttpServer, "bind"),
        default: "127.0.0.1:8080",
        unit: "",
        about: "the address and port that `mds serve` listens on; with port 0 the log says which it took",
        kind: Kind::Address(|s| s.http.bind),
    },
    Variable {
        name: "MDS_HTTP_TOKEN",
        field: (Group::HttpServer, "tokens"),
        default: "none",
        unit: "",
        about: "what a client has to send to write, and to read: 16 to 256 characters, or several with commas while one \
                replaces another; none: anyone on this machine can write",
        kind: Kind::Tokens(|s| &s.http.tokens),
    },
    Variable {
        name: "MDS_HTTP_READ_TOKEN",
        field: (Group::HttpServer, "read_tokens"),
        default: "none",
        unit: "",
        about: "the same for clients that only read",
        kind: Kind::Tokens(|s| &s.http.read_tokens),
    },
    Variable {
        name: "MDS_HTTP_ADMIN_TOKEN",
        field: (Group::HttpServer, "admin_tokens"),
        default: "none",
        unit: "",
        about: "the same for those who replay dead letters, and write and read; none: no request may replay",
        kind: Kind::Tokens(|s| &s.http.admin_tokens),
    },
    Variable {
        name: "MDS_HTTP_ALLOW_ANONYMOUS",
        field: (Group::HttpServer, "allow_anonymous"),
        default: "false",
        unit: "",
        about: "lets `mds serve` listen without MDS_HTTP_TOKEN on an address that other machines can reach",
        kind: Kind::Switch(|s| s.http.allow_anonymous),
    },
    Variable {
        name: "MDS_HTTP_SUBMIT_TIMEOUT",
        field: (Group::HttpServer, "submit_timeout"),
        default: "5",
        unit: "seconds",
        about: "how long a request waits for a full queue to take its next record",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.http.submit_timeout),
    },
    Variable {
        name: "MDS_HTTP_ACK_TIMEOUT",
        field: (Group::HttpServer, "ack_timeout"),
        default: "25",
        unit: "seconds",
        about: "how long a request that waits for its records to be stored waits while none of them is settled",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.http.ack_timeout),
    },
    Variable {
        name: ENABLE_FEEDBACK,
        field: (Group::Feedback, "enabled"),
        default: "true",
        unit: "",
        about: "publishes level changes to subscribers; when false they stay in health and metrics",
        kind: Kind::Switch(|s| s.feedback.enabled),
    },
    Variable {
        name: ENABLE_HTTP,
        field: (Group::Http, "enabled"),
        default: "false",
        unit: "",
        about: "sends level changes to URLs, as webhooks",
        kind: Kind::Switch(|s| s.feedback.http.enabled),
    },
    Variable {
        name: HTTP_ENDPOINT,
        field: (Group::Http, "endpoints"),
        default: "none",
        unit: "",
        about: "the URL that level changes are sent to, or several with commas; a comma in a URL is written `%2C`",
        kind: Kind::Endpoints(|s| &s.feedback.http.endpoints),
    },
    Variable {
        name: "MDS_FB_HTTP_TIMEOUT",
        field: (Group::Http, "timeout"),
        default: "2.5",
        unit: "seconds",
        about: "how long one attempt may take, from the connection to the end of the answer",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.timeout),
    },
    Variable {
        name: "MDS_FB_HTTP_MAX_RETRIES",
        field: (Group::Http, "max_attempts"),
        default: "3",
        unit: "attempts",
        about: "attempts in all: after so many that failed in a row a URL is tried every 10 seconds, until the latest \
                event of each coordinator has arrived",
        kind: Kind::Count(1, 1_000_000, |s| s.feedback.http.max_attempts.get() as usize),
    },
    Variable {
        name: "MDS_FB_HTTP_BACKOFF",
        field: (Group::Http, "backoff"),
        default: "0.5",
        unit: "seconds",
        about: "the wait after the first failure; it doubles from one to the next, up to 10 seconds, and is shortened \
                to a random 50 to 100 %",
        kind: Kind::Seconds(0.001, 3_600.0, |s| s.feedback.http.backoff),
    },
    Variable {
        name: HTTP_REFRESH,
        field: (Group::Http, "refresh"),
        default: "30",
        unit: "seconds",
        about: "how often a URL is sent the present state at least; a receiver that hears nothing for three times as long \
                does not go by the last level any more; 0: only changes are sent",
        kind: Kind::Seconds(0.0, 86_400.0, |s| s.feedback.http.refresh),
    },
    Variable {
        name: "MDS_FB_HTTP_MIN_INTERVAL",
        field: (Group::Http, "min_interval"),
        default: "0.25",
        unit: "seconds",
        about: "how long after the last delivery of a coordinator a level that is no higher is sent at the earliest; a \
                higher one is sent at once",
        kind: Kind::Seconds(0.0, 3_600.0, |s| s.feedback.http.min_interval),
    },
    Variable {
        name: "MDS_FB_HTTP_SECRET",
        field: (Group::Http, "secrets"),
        default: "none",
        unit: "",
        about: "signs webhooks: `whsec_` and the base64 of 24 to 64 bytes, or several with commas while one replaces \
                another",
        kind: Kind::Secrets(|s| &s.feedback.http.secrets),
    },
    Variable {
        name: "MDS_FB_HTTP_CA_FILE",
        field: (Group::Http, "ca_file"),
        default: "none",
        unit: "",
        about: "a file of certificates in PEM which alone may vouch for an `https` URL, instead of those that browsers \
                trust",
        kind: Kind::Text(
            "the path of a file of certificates in PEM",
            |s| s.feedback.http.ca_file.as_deref().map_or("", |path| path.to_str().unwrap_or("?")),
            |_| true,
        ),
    },
    Variable {
        name: "MDS_FB_SCALE_OK",
        field: (Group::Scales, "ok"),
        default: "1.0",
        unit: "",
        about: "what a producer that follows the level multiplies its rate by at ok",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.ok),
    },
    Variable {
        name: "MDS_FB_SCALE_SOFT",
        field: (Group::Scales, "soft"),
        default: "0.5",
        unit: "",
        about: "the same at soft",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.soft),
    },
    Variable {
        name: "MDS_FB_SCALE_HARD",
        field: (Group::Scales, "hard"),
        default: "0.0",
        unit: "",
        about: "the same at hard; 0 stops it",
        kind: Kind::Factor(0.0, 1.0, |s| s.feedback.scales.hard),
    },
];

/// Whether it can be the URL of a database. What this build knows, and what is in the URL, the start says.
fn is_database(url: &str) -> bool {
    url.strip_prefix("sqlite://").is_some_and(|path| !path.is_empty())
        || ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

const fn overflow(strategy: Overflow) -> &'static str {
    match strategy {
        Overflow::Block => "block",
        Overflow::DropOldest => "drop_oldest",
        Overflow::Error => "error",
        Overflow::Conflate => "conflate",
    }
}
