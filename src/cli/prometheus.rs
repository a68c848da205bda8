//! The recorder of `mds serve`: a command is a program, and may have one.

use std::{sync::Arc, thread, time::Duration};

use market_data_store::{http::Render, metrics::describe};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// The bounds of each histogram, in seconds: a write into a file is at the one end, one that waits for a server at the
/// other.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];
/// What histograms were given is kept until it is taken in, and one who asks may never come.
const UPKEEP: Duration = Duration::from_secs(5);

/// Makes the recorder of this process, and returns what writes it down. A second one is an error.
pub fn install() -> Result<Render, String> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS);
    let recorder = builder.map_err(|error| error.to_string())?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    describe();
    let upkeep = handle.clone();
    let keep_up = move || loop {
        thread::sleep(UPKEEP);
        upkeep.run_upkeep();
    };
    thread::Builder::new().name("mds-metrics".to_owned()).spawn(keep_up).map_err(|error| error.to_string())?;
    Ok(Arc::new(move || handle.render()))
}
