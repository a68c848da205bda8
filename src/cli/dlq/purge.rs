use super::{failed, name_foreign, select::Select};
use crate::{
    cli::{Exit, complain, print},
    dead_letter,
    settings::Settings,
};

/// Removes dead letters for good: those that a filter names, or with --all every one and what is damaged.
///
/// A file that somebody writes is never touched.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,
    /// Remove all of them.
    #[arg(long, conflicts_with_all = ["coordinator", "since", "limit"])]
    all: bool,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, settings: &Settings) -> Exit {
    let selection = args.select.selection();
    if selection.is_everything() && !args.all {
        complain(format_args!("error: expected --coordinator, --since or --limit, or --all for every dead letter"));
        return Exit::Usage;
    }
    let report = match dead_letter::purge(&settings.dlq_path, &selection, args.dry_run) {
        Ok(report) => report,
        Err(error) => return failed(&error),
    };
    name_foreign(&report.foreign);
    let text = if args.json {
        serde_json::to_string(&report).expect("numbers and paths of names of our own serialise") + "\n"
    } else {
        let name = if args.dry_run { "would be purged" } else { "purged" };
        format!(
            "{name:15}  {}\n{:15}  {}\nfiles in use     {}\n",
            report.purged,
            "damaged",
            report.damaged,
            report.live.len()
        )
    };
    print(&text).map_or_else(|exit| exit, |()| Exit::Done)
}
