//! What the server itself says of a run: its time on the processor, and what it leaves on the disk.

use std::{fs, time::Duration};

use postgres::Client;

/// Linux tells times on the processor in hundredths of a second.
const TICKS: f64 = 100.0;

/// Returns the seconds of processor time that the server's processes have taken since it started, those that have ended
/// with them. None where the server runs on another machine, or the role may not read its files.
pub fn processor_seconds(client: &mut Client) -> Option<f64> {
    let file: String = client.query_one("SELECT pg_read_file('postmaster.pid')", &[]).ok()?.get(0);
    let server: u32 = file.lines().next()?.trim().parse().ok()?;
    let of_server = Times::of(server).filter(|times| times.command.starts_with("postgres"))?;
    let of_children = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Times::of(process).filter(|times| times.parent == server)
    });
    let ticks = of_server.own + of_server.of_ended_children + of_children.map(|child| child.own).sum::<u64>();
    Some(ticks as f64 / TICKS)
}

/// What Linux tells of a process.
struct Times {
    command: String,
    parent: u32,
    own: u64,
    of_ended_children: u64,
}

impl Times {
    fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let command = head.split_once('(')?.1.to_owned();
        // The first one behind the name is the third of proc(5).
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            command,
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(14)? + ticks(15)?,
            of_ended_children: ticks(16)? + ticks(17)?,
        })
    }
}

/// What a table holds beside its rows.
#[derive(Clone, Copy, Default)]
pub struct Left {
    /// Rows that an insert has aborted or an update has replaced, as far as the table has not been cleaned up.
    pub dead_rows: i64,
    /// Bytes of the table with its indexes.
    pub bytes: i64,
}

pub fn left_in(client: &mut Client, table: &str, rows: usize) -> Left {
    let count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count, rows as i64);
    // What backends have counted they tell within a second of their end.
    std::thread::sleep(Duration::from_secs(1));
    let sql = format!(
        "SELECT n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relid = '{table}'::regclass"
    );
    let row = client.query_one(&sql, &[]).unwrap();
    Left { dead_rows: row.get(0), bytes: row.get(1) }
}
