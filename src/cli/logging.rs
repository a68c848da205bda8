//! The log of `mds`: to standard error, as MDS_LOG and MDS_LOG_FORMAT say.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::progress::Stderr;
use crate::settings::{LogFormat, Problem, Variable};

/// Reads the filter in MDS_LOG.
pub fn filter(text: &str) -> Result<EnvFilter, Problem> {
    let variable = Variable::find("MDS_LOG").expect("the table of variables holds MDS_LOG");
    EnvFilter::builder().parse(text.trim()).map_err(|_| variable.problem(text))
}

/// Sends the log of this process to standard error.
pub fn install(filter: EnvFilter, format: LogFormat) {
    let filter = filter.and(filter_fn(shows_no_secret));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer::<Registry>().with_writer(|| Stderr).with_ansi(colours).log_internal_errors(false);
    match format {
        LogFormat::Text => tracing_subscriber::registry().with(lines.with_filter(filter)).init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_ansi(false);
            tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        }
    }
}

/// Below INFO these crates write whole request heads, credentials among them.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let of = |name: &str| metadata.target().split("::").next() == Some(name);
    *metadata.level() <= Level::INFO || !["awc", "actix_http", "h2"].into_iter().any(of)
}
