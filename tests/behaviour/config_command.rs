//! `mds config`, and what all commands do with the environment and the command line.

use std::{
    io::Read,
    process::{Command, Output, Stdio},
};

use market_data_store::settings::Variable;

use crate::{
    dlq_command::{bar, keep},
    mds::{in_dir, mds, minutes, stderr, stdout},
};

fn config(vars: &[(&str, &str)], args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    mds(dir.path()).arg("config").args(args).envs(vars.iter().copied()).output().unwrap()
}

#[test]
fn the_table_shows_every_value_and_where_it_came_from() {
    let output =
        config(&[("MDS_COORDINATOR_CAPACITY", "500"), ("MDS_SOURCE", "db1:loader"), ("MDS_RETRY_JITTER", "")], &[]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = stdout(&output);
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(text.lines().count(), Variable::ALL.len());
    assert_eq!(row("MDS_COORDINATOR_CAPACITY"), "500 records environment");
    assert_eq!(row("MDS_COORDINATOR_HIGH_WATERMARK"), "400 records default");
    assert_eq!(row("MDS_SOURCE"), "db1:loader environment");
    assert_eq!(row("MDS_RETRY_JITTER"), "true default");

    // Aligned: the last column begins at one place in all lines.
    let starts: Vec<usize> =
        text.lines().map(|line| line.rfind("environment").or_else(|| line.rfind("default")).unwrap()).collect();
    assert!(starts.iter().all(|start| *start == starts[0]), "{text}");
}

#[test]
fn json_is_one_object_keyed_by_variable_in_the_order_of_the_documentation() {
    let output = config(&[("MDS_COORDINATOR_FLUSH_INTERVAL", "250ms")], &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json["MDS_COORDINATOR_FLUSH_INTERVAL"],
        serde_json::json!({"value": "0.25", "unit": "seconds", "from": "environment"})
    );
    assert_eq!(json["MDS_LOG"], serde_json::json!({"value": "info", "unit": "", "from": "default"}));
    assert_eq!(json.as_object().unwrap().len(), Variable::ALL.len());
    let places: Vec<usize> = Variable::ALL.iter().map(|v| text.find(&format!("\"{}\"", v.name)).unwrap()).collect();
    assert!(places.is_sorted());
}

// Red if a value that a file holds shows, or it does not say that it is from one.
#[test]
fn a_value_from_a_file_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("url"), "postgres://ann:pa55@db/x\n").unwrap();
    let run = |args: &[&str]| {
        mds(dir.path()).args(args).env("MDS_DATABASE_URL_FILE", "url").output().map(|output| stdout(&output)).unwrap()
    };
    let text = run(&["config"]);
    let row: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(row, ["MDS_DATABASE_URL", "***", "MDS_DATABASE_URL_FILE"]);
    let json: serde_json::Value = serde_json::from_str(&run(&["config", "--json"])).unwrap();
    let expected = serde_json::json!({"value": "***", "unit": "", "from": "MDS_DATABASE_URL_FILE"});
    assert_eq!(json["MDS_DATABASE_URL"], expected);
}

// Red if it is told only by the service that it would be refused, or a load or a replay is refused, to which it says
// nothing.
#[test]
fn a_strategy_that_bars_do_not_have_is_told_and_refuses_no_load() {
    let (all, quotes) = ("MDS_COORDINATOR_OVERFLOW_STRATEGY", "MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY");
    let problem = format!("{all} is conflate for the coordinator \"bars\", expected block, drop_oldest or error");
    let text = stderr(&config(&[(all, "conflate")], &[]));
    assert!(text.starts_with(&format!("warning: {problem}")), "{text}");
    assert_eq!(stderr(&config(&[(all, "conflate"), ("MDS_KINDS", "quotes,options")], &[])), "");
    assert_eq!(stderr(&config(&[(quotes, "conflate"), ("MDS_KINDS", "bars,quotes")], &[])), "");

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bars.csv"), minutes(3)).unwrap();
    std::fs::write(dir.path().join("quotes.csv"), "symbol,ts,bid,ask\nES,2024-01-02T14:30:00Z,1,2\n").unwrap();
    keep(dir.path(), [bar("NQ", 1)]);
    let run = |args: &[&str]| mds(dir.path()).args(args).env(all, "conflate").output().unwrap();
    let bars = &["ingest", "--symbol", "ES", "--timeframe", "1m", "bars.csv"][..];
    for args in [bars, &["ingest", "--kind", "quotes", "quotes.csv"], &["dlq", "replay"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
}

// Red if a load with such settings says nothing, or `mds config` does not.
#[test]
fn settings_that_do_nothing_are_told() {
    let vars = [("MDS_FB_HTTP_ENDPOINT", "http://example.com/hook"), ("MDS_TICKS_COORDINATOR_WORKERS", "2")];
    for args in [&[][..], &["--json"]] {
        let output = config(&vars, args);
        let text = stderr(&output);
        assert_eq!((output.status.code(), text.lines().count()), (Some(0), 2), "{text}");
        assert!(
            text.contains("warning: MDS_FB_HTTP_ENDPOINT is set, but MDS_FB_ENABLE_HTTP_BROADCAST is false"),
            "{text}"
        );
        assert!(text.contains("warning: MDS_TICKS_COORDINATOR_WORKERS is ignored"), "{text}");
    }
    // Red if a kind without a meaning is passed over, or one that `mds ingest` and `mds serve` have is called unused.
    let kinds = |kinds| stderr(&config(&[("MDS_QUOTES_COORDINATOR_WORKERS", "2"), ("MDS_KINDS", kinds)], &[]));
    assert_eq!(kinds("bars"), "");
    let output = config(&[("MDS_KINDS", "quote,trades")], &[]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.starts_with("error: MDS_KINDS has \"quote\", expected one or several of bars, quotes"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bars.csv"), minutes(1)).unwrap();
    let mut load = mds(dir.path());
    load.args(["ingest", "--symbol", "ES", "--timeframe", "1m", "bars.csv"]).envs(vars);
    let output = load.output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["MDS_FB_HTTP_ENDPOINT is set", "MDS_TICKS_COORDINATOR_WORKERS"] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(part)).collect();
        assert!(lines.len() == 1 && lines[0].contains("WARN"), "{text}");
    }
    // A replay sends no webhooks, whatever is set, so it has nothing to say of them.
    keep(dir.path(), [bar("NQ", 1)]);
    let output = mds(dir.path()).args(["dlq", "replay"]).envs(vars).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!stderr(&output).contains("MDS_FB_HTTP_ENDPOINT"), "{}", stderr(&output));
}

// Red if what a load or a replay needs of its coordinator goes before what its own variables say, or behind it where
// records could be lost.
#[test]
fn the_variables_of_the_one_coordinator_count() {
    let output = config(&[("MDS_BARS_COORDINATOR_CAPACITY", "50"), ("MDS_COORDINATOR_CAPACITY", "500")], &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let of = |name: &str| (json[name]["value"].as_str().unwrap(), json[name]["from"].as_str().unwrap());
    assert_eq!(of("MDS_BARS_COORDINATOR_CAPACITY"), ("50", "environment"));
    assert_eq!(of("MDS_COORDINATOR_CAPACITY"), ("500", "environment"));

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bars.csv"), minutes(5_000)).unwrap();
    let mut load = mds(dir.path());
    load.args(["ingest", "--symbol", "ES", "--timeframe", "1m", "--json", "bars.csv"]);
    load.env("MDS_BARS_COORDINATOR_CAPACITY", "10").env("MDS_BARS_COORDINATOR_OVERFLOW_STRATEGY", "drop_oldest");
    let output = load.output().unwrap();
    let summary = crate::mds::summary(&output);
    assert_eq!(
        (crate::mds::count(&summary, "dropped"), crate::mds::count(&summary, "stored")),
        (0, 5_000),
        "{summary}"
    );
    assert!(stderr(&output).contains("MDS_BARS_COORDINATOR_OVERFLOW_STRATEGY does not bind"));
    // Red if the capacity of the one coordinator does not count: the level of a queue of 20,000 would not change.
    assert!(summary["level_changes"]["soft"].as_u64().unwrap() > 0, "{summary}");
    keep(dir.path(), (0..500).map(|minute| bar("NQ", minute)));
    let mut replay = mds(dir.path());
    replay.args(["dlq", "replay", "--json"]);
    replay.env("MDS_BARS_COORDINATOR_CAPACITY", "10").env("MDS_BARS_COORDINATOR_OVERFLOW_STRATEGY", "drop_oldest");
    let output = replay.output().unwrap();
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((output.status.code(), &report["stored"]), (Some(0), &500.into()), "{report}");
}

#[test]
fn a_wrong_environment_ends_every_command_with_78_and_the_exact_messages() {
    let vars = [
        ("MDS_COORDINATOR_CAPACITY", "100"),
        ("MDS_COORDINATOR_HIGH_WATERMARK", "40"),
        ("MDS_COORDINATOR_WORKRS", "8"),
        ("MDS_LOG", "mds=loud"),
        ("MDS_RETRY_JITTER", "2"),
    ];
    let expected = "\
error: MDS_COORDINATOR_LOW_WATERMARK is 50 by default, expected less than MDS_COORDINATOR_HIGH_WATERMARK, which is 40
error: MDS_RETRY_JITTER is \"2\", expected true or false
error: MDS_LOG is \"mds=loud\", expected a level or a filter such as warn,market_data_store=debug
warning: unknown variable MDS_COORDINATOR_WORKRS is ignored, the nearest known name is MDS_COORDINATOR_WORKERS
";
    let output = config(&vars, &[]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(78), expected));
    assert_eq!(stdout(&output), "");
    // A lone word that is no level would turn the log off.
    let output = config(&[("MDS_LOG", "warn,lots")], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("error: MDS_LOG is \"warn,lots\", expected a level"), "{}", stderr(&output));
    // It is told before a wrong command line is, but asking for help always helps.
    let output = config(&vars, &["--jsn"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(78), expected));
    let output = config(&vars, &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("--json"));
}

// Red if the variable is looked at where the option is given, or the option is not named where it is wrong.
#[test]
fn a_database_on_the_command_line_takes_the_place_of_the_variable() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bars.csv"), minutes(3)).unwrap();
    let run = |args: &[&str], url: &str| {
        let mut command = mds(dir.path());
        command.args(args).args(["--database", url]).env("MDS_DATABASE_URL", "postgres://ann:pa55@db/bars");
        command.env("MDS_DATABASE_URL_FILE", "no such file").output().unwrap()
    };
    let ingest = ["ingest", "--symbol", "ES", "--timeframe", "1m", "bars.csv"];
    keep(dir.path(), [bar("NQ", 1)]);
    for args in [&ingest[..], &["dlq", "replay"], &["check", "--symbol", "NQ"]] {
        let output = run(args, "sqlite://other.db");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
    assert!(!dir.path().join("market_data.db").exists());
    let output = run(&["check"], "sqlite://other.db");
    assert!(stdout(&output).ends_with("4 bars in 2 series, 0 invalid, 0 findings\n"), "{}", stdout(&output));

    keep(dir.path(), [bar("NQ", 1)]);
    for args in [&ingest[..], &["dlq", "replay"], &["check"]] {
        for (url, code, said) in [
            (
                "mysql://eve:s3cret@db/x",
                2,
                "error: --database is \"mysql://eve:***@db/x\", expected sqlite://PATH or postgres://USER@HOST/DATABASE",
            ),
            ("sqlite://other.db?mode=ro", 2, "error: --database: the database URL "),
            ("sqlite://no/such/directory/bars.db", 69, "error: --database: "),
        ] {
            let output = run(args, url);
            let text = stderr(&output);
            assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{args:?}: {text}");
            assert!(text.starts_with(said) && !text.contains("MDS_DATABASE_URL"), "{args:?}: {text}");
        }
    }
    // A wrong environment is told beside it, and comes first.
    let mut command = mds(dir.path());
    command.args(["check", "--database", "nothing"]).env("MDS_RETRY_JITTER", "2");
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(78), 2), "{}", stderr(&output));
}

/// Runs a load and a replay under limits, and returns how often one was refused. Which step fails depends on the limit,
/// but no step fails by a panic, and what fails is told.
#[cfg(unix)]
fn refusals(limits: impl Iterator<Item = u32>, limited: impl Fn(u32) -> Command) -> usize {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};
    let mut refused = 0;
    for limit in limits {
        for args in [&["ingest", "--symbol", "ES", "--timeframe", "1m", "bars.csv"][..], &["dlq", "replay"]] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("bars.csv"), minutes(3)).unwrap();
            keep(dir.path(), [bar("NQ", 1)]);
            // For another user, if the limit needs one.
            for path in [dir.path().to_owned(), dir.path().join("dead_letters")] {
                std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
            }
            for file in std::fs::read_dir(dir.path().join("dead_letters")).unwrap() {
                std::fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o666)).unwrap();
            }
            let mut command = in_dir(limited(limit), dir.path());
            let output = command.args(args).args(["--give-up-after", "0.3"]).output().unwrap();
            let text = stderr(&output);
            assert!(!text.contains("panicked"), "{args:?} with {limit}: {text}");
            match output.status.code() {
                Some(0) => {}
                Some(70) => {
                    assert!(text.contains("error: "), "{args:?} with {limit}: {text}");
                    refused += 1;
                }
                // A database that cannot be opened now is an outage; a file that cannot be opened is named, and so is
                // the directory for dead letters.
                Some(69 | 2 | 78) => assert!(text.contains("error: "), "{args:?} with {limit}: {text}"),
                code => panic!("{args:?} with {limit}: {code:?}, {text}"),
            }
        }
    }
    refused
}

// Red if tokio or actix is asked for a runtime in a way that panics, or the descriptors for signals are not looked for.
#[cfg(unix)]
#[test]
fn a_process_without_file_descriptors_says_so() {
    let refused = refusals((4..=20).chain((24..=80).step_by(4)), |limit| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_mds"));
        shell
    });
    assert!(refused > 20, "{refused}");
}

// Red if any thread is started in a way that panics where there is none left.
#[cfg(target_os = "linux")]
#[test]
fn a_process_without_threads_says_so() {
    // Root has no such limit, so the process is another user's then. That one may not reach the binary where it is.
    let is_root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t");
    let place = tempfile::tempdir().unwrap();
    let mds = place.path().join("mds");
    std::fs::copy(env!("CARGO_BIN_EXE_mds"), &mds).unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // A user with processes beside this one has no thread left below the number of theirs.
    let refused = refusals(if is_root { 1..=16 } else { 1..=1 }, |limit| {
        let mut command = Command::new(if is_root { "setpriv" } else { "prlimit" });
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit"]);
        }
        command.arg(format!("--nproc={limit}")).arg(&mds);
        command
    });
    assert!(refused >= if is_root { 10 } else { 2 }, "{refused}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["config", "--jsn"][..], &["confg"], &[]] {
        let output = mds(dir.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn the_log_goes_to_standard_error_in_the_form_that_was_asked_for() {
    let output = config(&[("MDS_LGO", "x")], &[]);
    let text = stderr(&output);
    assert!(
        text.contains("WARN") && text.contains("unknown variable MDS_LGO is ignored") && text.lines().count() == 1,
        "{text}"
    );
    let output = config(&[("MDS_LGO", "x"), ("MDS_LOG_FORMAT", "json")], &[]);
    let line: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "unknown variable MDS_LGO is ignored, the nearest known name is MDS_LOG");
    assert_eq!(stderr(&config(&[("MDS_LGO", "x"), ("MDS_LOG", "error")], &[])), "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // Red with `println!`, which panics over a closed pipe.
    let dir = tempfile::tempdir().unwrap();
    for args in [&["config"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = mds(dir.path()).args(args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut complaints = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn the_default_source_names_host_and_command() {
    let output = config(&[], &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let source = json["MDS_SOURCE"]["value"].as_str().unwrap();
    let host = source.strip_suffix(":mds-<command>").unwrap();
    assert!(!host.is_empty());
}
