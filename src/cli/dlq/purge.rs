use market_data_store::{Settings, dead_letter};

use super::{
    failure::{failed, name_foreign},
    select::Select,
};
use crate::cli::{
    exit::Exit,
    output::{Text, complain},
};

/// Removes dead letters for good: those that a filter names, or with --all every one and what is damaged.
///
/// A file that a process writes is never touched.
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
    let mut text = Text::default();
    if args.json {
        text.json(&report);
    } else {
        let name = if args.dry_run { "would be purged" } else { "purged" };
        text.line(format_args!("{name:15}  {}", report.purged));
        text.line(format_args!("{:15}  {}", "damaged", report.damaged));
        text.line(format_args!("files in use     {}", report.live.len()));
    }
    text.print().map_or_else(|exit| exit, |()| Exit::Done)
}
