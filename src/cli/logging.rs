//! The log of `mds`: to standard error, as MDS_LOG and MDS_LOG_FORMAT say.

use std::{
    fmt::Debug,
    io::{self, IsTerminal, Write},
};

use market_data_store::{
    settings::{LogFormat, Problem, Variable},
    text::Shown,
};
use tracing::{Level, Metadata, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    field::MakeExt,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt::{
        self,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{output::escaped, progress::Stderr};

/// Reads the filter in MDS_LOG.
pub fn filter(text: &str) -> Result<EnvFilter, Problem> {
    let variable = Variable::find("MDS_LOG").expect("the table of variables holds MDS_LOG");
    // A lone word that is no level would be taken for the name of a target, and turn everything else off.
    let is_level = |word: &str| word.contains(['=', '[', ':']) || word.parse::<LevelFilter>().is_ok();
    if !text.split(',').map(str::trim).filter(|word| !word.is_empty()).all(is_level) {
        return Err(variable.problem(text));
    }
    // It logs each request that is none as an error of its own.
    let client_faults = if text.contains("actix_http") { "" } else { ",actix_http=off" };
    EnvFilter::builder().parse(format!("{}{client_faults}", text.trim())).map_err(|_| variable.problem(text))
}

/// Sends the log of this process to standard error, without characters that a terminal obeys.
pub fn install(filter: EnvFilter, format: LogFormat) {
    let filter = filter.and(filter_fn(shows_no_secret));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer::<Registry>().log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let lines = lines.with_writer(|| Stderr).fmt_fields(debug_fn(field).delimited(" ")).with_ansi(colours);
            tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        }
        LogFormat::Json => {
            let lines = lines.with_writer(|| Json).json().flatten_event(true).with_ansi(false);
            tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        }
    }
}

/// Writes the message, or another field with its name.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", Shown(&value)),
        name => write!(writer, "{name}={}", Shown(&value)),
    }
}

/// Standard error for lines of JSON, each of which comes in one piece.
struct Json;

impl Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        Stderr.write_all(format!("{}\n", escaped(line.trim_end_matches('\n'))).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Stderr.flush()
    }
}

/// Below INFO these crates write whole request heads, credentials among them.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let of = |name: &str| metadata.target().split("::").next() == Some(name);
    *metadata.level() <= Level::INFO || !["awc", "actix_http", "h2"].into_iter().any(of)
}
