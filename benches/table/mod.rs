//! What all benches have in common: turns, a table with a line for each figure, and the same as JSON.
//!
//! A line holds our samples and, where there is one, those of a peer that were taken by turns with ours. The ratio is ours
//! divided by the peer's, round by round, so a machine that is slow for a while slows both sides of one ratio. What is
//! shown is the median, and behind it the lower and the upper quartile. A goal that is missed is shown, and is no failure.

mod machine;
pub mod show;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{machine::Machine, show::show};

/// What a line is held to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The median of the ratios is this or more.
    RatioAtLeast(f64),
    /// The median of the ratios is this or less.
    RatioAtMost(f64),
    /// Our median is this or more, in the unit of the line.
    AtLeast(f64),
    /// Our median is this or less, in the unit of the line.
    AtMost(f64),
}

/// Samples in short.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub median: f64,
    /// The lower and the upper quartile: of three samples the least and the greatest.
    pub low: f64,
    pub high: f64,
    pub samples: usize,
}

impl Figures {
    /// # Panics
    ///
    /// Without a sample.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = (sorted.len() - 1) as f64;
        let (low, high) = ((last * 0.25).floor() as usize, (last * 0.75).ceil() as usize);
        Self { median: sorted[sorted.len() / 2], low: sorted[low], high: sorted[high], samples: sorted.len() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Peer {
    pub name: String,
    pub figures: Figures,
    /// Ours divided by the peer's, round by round. None where a sample of the peer is 0.
    pub ratio: Option<Figures>,
}

/// Where a line is in a picture.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    pub picture: String,
    pub curve: String,
    pub x: f64,
}

/// One figure of ours, and what it is compared with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    pub unit: String,
    pub ours: Figures,
    pub peer: Option<Peer>,
    pub goal: Option<Goal>,
    /// None without a goal.
    pub met: Option<bool>,
    pub point: Option<Point>,
    #[serde(skip)]
    samples: Vec<f64>,
}

impl Line {
    /// Sets a peer beside ours, with as many samples, of the same rounds in the same order.
    pub fn beside(&mut self, peer: impl Into<String>, samples: &[f64]) -> &mut Self {
        assert_eq!(self.samples.len(), samples.len(), "{}: a round has a sample of each", self.what);
        let ratios: Vec<f64> = self.samples.iter().zip(samples).map(|(ours, peer)| ours / peer).collect();
        let ratio = ratios.iter().all(|ratio| ratio.is_finite()).then(|| Figures::of(&ratios));
        self.peer = Some(Peer { name: peer.into(), figures: Figures::of(samples), ratio });
        self
    }

    /// Makes the line a point of a curve, in one of the pictures that `summary` draws; the peer's is one of a second curve.
    pub fn point(&mut self, picture: &str, curve: &str, x: f64) -> &mut Self {
        self.point = Some(Point { picture: picture.to_owned(), curve: curve.to_owned(), x });
        self
    }

    /// Says what the line is held to. A goal for a ratio comes behind the peer.
    pub fn goal(&mut self, goal: Goal) -> &mut Self {
        let ratio = || {
            let peer = self.peer.as_ref().expect("a goal for a ratio comes behind the peer");
            peer.ratio.expect("no sample of the peer is 0").median
        };
        let met = match goal {
            Goal::RatioAtLeast(least) => ratio() >= least,
            Goal::RatioAtMost(most) => ratio() <= most,
            Goal::AtLeast(least) => self.ours.median >= least,
            Goal::AtMost(most) => self.ours.median <= most,
        };
        (self.goal, self.met) = (Some(goal), Some(met));
        self
    }
}

/// All figures of one bench.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    pub bench: String,
    /// When it began, in UTC.
    pub date: String,
    pub machine: Machine,
    /// What sets the size of the run: rows, rounds, and the like.
    pub sizes: BTreeMap<String, f64>,
    pub lines: Vec<Line>,
}

impl Table {
    /// Begins the table of a bench, which has the name of its file.
    pub fn new(bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M").to_string(),
            machine: Machine::here(),
            sizes: BTreeMap::new(),
            lines: Vec::new(),
        }
    }

    /// Notes a size of the run.
    pub fn size(&mut self, name: &str, size: usize) -> &mut Self {
        self.sizes.insert(name.to_owned(), size as f64);
        self
    }

    /// Adds a line of our samples, one a round.
    pub fn line(&mut self, what: impl Into<String>, unit: &str, samples: &[f64]) -> &mut Line {
        self.lines.push(Line {
            what: what.into(),
            unit: unit.to_owned(),
            ours: Figures::of(samples),
            peer: None,
            goal: None,
            met: None,
            point: None,
            samples: samples.to_vec(),
        });
        self.lines.last_mut().expect("it was just pushed")
    }

    /// Prints the table, and writes `bench/<name>.json` in the target directory if this is a measurement.
    pub fn finish(&self) {
        print!("\n{}", show(std::slice::from_ref(self)));
        if is_measurement() {
            let path = directory().join(format!("{}.json", self.bench));
            let json = serde_json::to_string_pretty(self).expect("numbers and names");
            fs::create_dir_all(directory()).and_then(|()| fs::write(&path, json + "\n")).expect("a place for figures");
        }
    }
}

/// Where the figures of all benches are.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

/// Tells whether cargo was asked to measure. `cargo test --benches` wants to see that a bench runs.
pub fn is_measurement() -> bool {
    env::args().any(|argument| argument == "--bench")
}

/// Returns the words behind `--` on the command line: what is to be measured, all if there are none.
pub fn words() -> Vec<String> {
    env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect()
}

/// Reads a size from the environment.
///
/// # Panics
///
/// If what is set is no number.
pub fn number(variable: &str, default: usize) -> usize {
    env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, got `{text}`")))
}

/// Takes one sample of each in each round, and returns them in the order of the contenders. The first place in a round
/// changes hands.
pub fn by_turns<const N: usize>(rounds: usize, contenders: [&mut dyn FnMut() -> f64; N]) -> [Vec<f64>; N] {
    let mut samples = [const { Vec::new() }; N];
    for round in 0..rounds {
        for place in 0..N {
            let at = (place + round) % N;
            samples[at].push(contenders[at]());
        }
    }
    samples
}
