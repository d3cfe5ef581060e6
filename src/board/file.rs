//! Board files: data about one board. A new board needs a new file and no code.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::OnceLock;

use include_dir::{Dir, include_dir};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::{Architecture, BoardError, BoardFileError, MAX_CPUS};

static BOARDS: Dir = include_dir!("$CARGO_MANIFEST_DIR/boards");

/// Maximum size of a board file, in bytes; the built-in ones have some 5 kB.
const MAX_BYTES: u64 = 64 << 10;

/// Everything known about one board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Name on the command line: the file's name without `.toml`.
    #[serde(skip_deserializing)]
    pub name: String,
    /// Name for people.
    pub title: String,
    /// System on a chip.
    pub soc: String,
    /// How to recognise that a machine is this board.
    pub recognise: Recognise,
    /// Cores grouped by type and clock, fastest first. Empty in a generic file: the cores are then used as detected.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Main memory.
    pub memory: Option<Memory>,
    /// Names of its sensors.
    #[serde(default)]
    pub sensors: SensorNames,
    /// Free pins on its header.
    #[serde(default)]
    pub pins: Pins,
    /// Default cores and threads.
    pub threads: Option<DefaultThreads>,
}

/// How to recognise a board; one match is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognise {
    /// Substrings of `/proc/device-tree/model`.
    #[serde(default)]
    pub model: Vec<String>,
    /// Full strings of `/proc/device-tree/compatible`. The device tree lists the most specific first.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Substrings of the lines `model name`, `Model` and `Hardware` of `/proc/cpuinfo`, and of the DMI product name.
    #[serde(default)]
    pub cpuinfo: Vec<String>,
    /// Matches any machine of this architecture that no other file matches.
    pub architecture: Option<Architecture>,
}

/// Cores of the same type and clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Name within the board.
    pub name: String,
    /// Core type: `Cortex-A76`.
    pub core: String,
    /// MIDR_EL1.Implementer: 0x41 is Arm.
    pub implementer: u32,
    /// MIDR_EL1.PartNum.
    pub part: u32,
    /// Number of cores.
    pub count: NonZeroUsize,
    /// Highest clock, MHz.
    pub max_mhz: NonZeroU32,
    /// Relevant instruction set extensions, named as in `/proc/cpuinfo`.
    pub features: Vec<String>,
    /// Caches.
    pub caches: Caches,
}

/// Caches in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caches {
    /// First-level data cache, per core.
    pub l1d_kib: NonZeroU32,
    /// Second level, per core (per cluster if [`Caches::l2_shared`]).
    pub l2_kib: Option<NonZeroU32>,
    /// Whether all cores of the cluster share the second level.
    #[serde(default)]
    pub l2_shared: bool,
    /// Third level, shared.
    pub l3_kib: Option<NonZeroU32>,
}

/// Main memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Sizes in which the board is sold, GiB.
    pub sizes_gib: Vec<NonZeroU32>,
    /// Type and data rate: `LPDDR4X-4267`.
    pub kind: String,
    /// Peak bandwidth, 10^9 bytes per second.
    #[serde(deserialize_with = "positive")]
    pub bandwidth_gbs: f64,
}

/// Names of the sensors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorNames {
    /// Types of the cores' thermal zones (`/sys/class/thermal/thermal_zone*/type`), under every name that any kernel
    /// gives them.
    #[serde(default)]
    pub thermal: Vec<String>,
    /// Power rails in hwmon.
    #[serde(default)]
    pub power: Vec<Rail>,
}

/// A power rail in `/sys/class/hwmon`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rail {
    /// Name of the hwmon device: `ina3221`.
    pub chip: String,
    /// Label of the channel: `VDD_IN`.
    pub label: String,
    /// What it feeds.
    pub feeds: String,
}

/// Free pins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Input: a foot pedal or freeze button.
    pub trigger: Option<Pin>,
    /// Output: an LED.
    pub status: Option<Pin>,
    /// Output: high during inference, for a logic analyser.
    pub busy: Option<Pin>,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Label of its gpiochip, which `gpiodetect` prints in brackets. Chip numbers change with the kernel.
    pub chip: String,
    /// Line number within the chip.
    pub line: u32,
    /// Pin number on the header, from 1.
    pub header: NonZeroU32,
}

/// Default cores and threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultThreads {
    /// Names of clusters.
    pub clusters: Vec<String>,
    /// Number of threads.
    pub count: NonZeroUsize,
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(serde::de::Error::custom(format!("invalid value: {value}, expected a number above 0")))
}

/// All built-in boards, sorted by name.
///
/// ```
/// let names: Vec<&str> = microraptor::board::boards().iter().map(|board| board.name.as_str()).collect();
/// assert!(names.contains(&"raspberry-pi-5"));
/// ```
pub fn boards() -> &'static [Board] {
    static ALL: OnceLock<Vec<Board>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut boards: Vec<Board> = BOARDS
            .files()
            .filter_map(|file| {
                let name = file.path().to_str()?.strip_suffix(".toml")?;
                // The files are compiled in, and a test parses each of them.
                let text = file.contents_utf8().expect("a board file is UTF-8");
                let file = format!("boards/{name}.toml");
                Some(Board::parse(name, &file, text).unwrap_or_else(|e| panic!("{e}")))
            })
            .collect();
        boards.sort_by(|a, b| a.name.cmp(&b.name));
        boards
    })
}

impl Board {
    /// The built-in board `name`, or the board file at that path if `name` ends in `.toml`.
    ///
    /// # Errors
    /// [`BoardError::Unknown`] lists the known names; otherwise as [`Board::open`].
    pub fn named(name: &str) -> Result<Board, BoardError> {
        if Board::is_file(name) {
            return Board::open(Path::new(name));
        }
        boards().iter().find(|board| board.name == name).cloned().ok_or_else(|| {
            let known = boards().iter().map(|board| board.name.as_str()).collect::<Vec<_>>().join(", ");
            BoardError::Unknown { name: name.to_owned(), known }
        })
    }

    /// Whether [`Board::named`] takes `name` as the path of a file.
    pub fn is_file(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"))
    }

    /// As [`Board::read`], without the digest.
    ///
    /// # Errors
    /// As [`Board::read`].
    pub fn open(path: &Path) -> Result<Board, BoardError> {
        Board::read(path).map(|(board, _)| board)
    }

    /// Reads a board file; also returns the SHA-256, in lower-case hex, of the bytes read.
    ///
    /// # Errors
    /// [`BoardError`] names the file and, if its contents are wrong, the line and the key.
    pub fn read(path: &Path) -> Result<(Board, String), BoardError> {
        let file = path.display().to_string();
        let refuse = |reason: String| BoardError::Read { file: file.clone(), reason };
        let text = crate::files::text(path, MAX_BYTES).map_err(|e| refuse(e.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok((Board::parse(&name, &file, &text)?, crate::sealed::sha256(text.as_bytes())))
    }

    /// Parses a board from the text of a file called `file`.
    ///
    /// # Errors
    /// [`BoardError::File`] names the line and the key.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Board, BoardError> {
        let at = |offset: usize, reason: BoardFileError| {
            let (line, table, key) = locate(text, offset);
            // A missing field is reported at the start of its table, which may be the line of an unrelated key.
            let missing = matches!(&reason, BoardFileError::Parse(text) if text.starts_with("missing field"));
            let path = table.into_iter().chain(key.filter(|_| !missing)).collect::<Vec<_>>().join(".");
            let key = if path.is_empty() { path } else { format!("{path}: ") };
            BoardError::File { file: file.to_owned(), line, key, reason }
        };
        let parsed = |e: toml::de::Error| {
            let reason = e.message().replace("a nonzero usize", "a whole number above 0");
            let reason = reason.replace("a nonzero u32", "a whole number above 0");
            at(e.span().map_or(0, |span| span.start), BoardFileError::Parse(reason))
        };
        let mut board: Board = toml::from_str(text).map_err(parsed)?;
        board.name = name.to_owned();
        let spans: Spans = toml::from_str(text).map_err(parsed)?;
        spans.check(&board).map_err(|(offset, reason)| at(offset, reason))?;
        Ok(board)
    }
}

/// Positions in the text of values that are checked against others.
#[derive(Deserialize)]
struct Spans {
    recognise: Spanned<IgnoredAny>,
    #[serde(default)]
    clusters: Vec<ClusterSpans>,
    threads: Option<ThreadSpans>,
}

#[derive(Deserialize)]
struct ClusterSpans {
    name: Spanned<String>,
    count: Spanned<usize>,
}

#[derive(Deserialize)]
struct ThreadSpans {
    clusters: Vec<Spanned<String>>,
    count: Spanned<usize>,
}

impl Spans {
    /// Checks values against each other; returns the offset and the reason of the first contradiction.
    fn check(&self, board: &Board) -> Result<(), (usize, BoardFileError)> {
        let recognise = &board.recognise;
        let known_by = [&recognise.model, &recognise.compatible, &recognise.cpuinfo];
        let start = self.recognise.span().start;
        if known_by.iter().any(|list| list.iter().any(String::is_empty)) {
            return Err((start, BoardFileError::EmptyText));
        }
        if recognise.architecture.is_none() {
            if known_by.iter().all(|list| list.is_empty()) {
                return Err((start, BoardFileError::NotRecognised));
            }
            if self.clusters.is_empty() {
                return Err((0, BoardFileError::NoClusters));
            }
        }
        for (i, cluster) in self.clusters.iter().enumerate() {
            if self.clusters[..i].iter().any(|other| other.name.get_ref() == cluster.name.get_ref()) {
                let reason = BoardFileError::DuplicateCluster(cluster.name.get_ref().clone());
                return Err((cluster.name.span().start, reason));
            }
            if *cluster.count.get_ref() > MAX_CPUS {
                return Err((cluster.count.span().start, BoardFileError::TooManyCores(MAX_CPUS)));
            }
        }
        self.threads.as_ref().map_or(Ok(()), |threads| threads.check(&self.clusters))
    }
}

impl ThreadSpans {
    fn check(&self, clusters: &[ClusterSpans]) -> Result<(), (usize, BoardFileError)> {
        let mut cores = 0;
        for name in &self.clusters {
            let cluster = clusters.iter().find(|cluster| cluster.name.get_ref() == name.get_ref());
            let Some(cluster) = cluster else {
                return Err((name.span().start, BoardFileError::NoCluster(name.get_ref().clone())));
            };
            cores += cluster.count.get_ref();
        }
        if *self.count.get_ref() > cores {
            return Err((self.count.span().start, BoardFileError::TooManyThreads(cores)));
        }
        Ok(())
    }
}

/// Line of an offset, from 1, and the table and key at that offset.
fn locate(text: &str, offset: usize) -> (usize, Option<String>, Option<String>) {
    let before = text.get(..offset).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    let header = |line: &str| {
        let name = line.strip_prefix('[')?.trim_start_matches('[');
        Some(name.split(']').next()?.trim().to_owned())
    };
    let mut key = None;
    // Search upwards, as a value in a list may be several lines below its key.
    for line in text.lines().take(number).collect::<Vec<_>>().into_iter().rev() {
        if let Some(table) = header(line) {
            return (number, Some(table), key);
        }
        if key.is_none() && !line.trim_start().starts_with('#') {
            key = line.split_once('=').map(|(key, _)| key.trim().to_owned());
        }
    }
    (number, None, key)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
