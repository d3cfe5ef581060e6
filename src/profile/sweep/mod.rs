//! The sweep measures every configuration's accuracy, then times all configurations in rounds, so that a slow minute of
//! the machine affects all of them alike.

mod accuracies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::accuracy::Examination;
use super::case::{BenchCase, Runner, picture};
use super::data::{Data, Roles};
use super::monitor::{Monitor, Record, Watch, energy};
use super::peer::{Peer, PeerSpec};
use super::{
    ColdStart, DataInfo, Journal, Latency, Options, Outcomes, PairedTest, Peak, ProfileError, Protocol, Row,
    Scenario, Verdict, Why, operators, outcomes, stages,
};
use crate::board::Cores;
use crate::board::hal::Signals;
use crate::board::sensors::supply;
use crate::engine::{Engine, Session};
use crate::heads::Bootstrap;
use crate::input::Image;
use crate::kernels::Isa;
use crate::vit::Size;
use accuracies::{Accuracies, Configuration, Judging};

/// Number of rounds over all rows that the timed runs are split into.
pub const ROUNDS: usize = 3;

/// Pause before each round of a row if there are peers: a peer's threads may spin for up to 200 ms after their work is
/// done (OpenMP's blocktime) and would slow down the next row.
const PAUSE: Duration = Duration::from_millis(300);

/// Number of runs with timed operators, of which the fastest is used.
const OPERATOR_RUNS: usize = 5;

/// Maximum number of runs stored per row.
const MAX_RUNS_KEPT: usize = 2000;

/// How long to time a row: at least `runs` runs, and at least for `time`.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Minimum number of timed runs.
    pub runs: usize,
    /// Minimum time.
    pub time: Duration,
}

impl Budget {
    /// Budget of one round.
    fn share(self) -> Budget {
        Budget { runs: self.runs.div_ceil(ROUNDS), time: self.time / ROUNDS as u32 }
    }
}

/// Measures the cold start of a row in a new process.
pub type Cold<'a> = dyn Fn(&Row, &Cores) -> Result<Option<ColdStart>, ProfileError> + 'a;

/// Configurations to measure, and how to measure them.
pub struct Sweep<'a> {
    /// Backbones. Engines with the same weights on different instruction sets share one accuracy.
    pub engines: &'a [Engine],
    /// SHA-256 of the weights that are only timed: no head is trained for them.
    pub latency_only: &'a BTreeSet<String>,
    /// Other programs to compare against.
    pub peers: &'a [PeerSpec],
    /// How to measure.
    pub options: &'a Options,
    /// Labelled images to measure accuracy on.
    pub data: Option<&'a Data>,
    /// Folder to save the heads in, if requested.
    pub heads: Option<&'a Path>,
    /// The machine's sensors.
    pub watch: Watch<'a>,
    /// Measures cold starts, if requested.
    pub cold: Option<&'a Cold<'a>>,
    /// GPIO pins; the busy pin is high during each timed run.
    pub signals: Option<&'a mut Signals>,
    /// Returns what a meter's rail supplies, if known, from the meter's name.
    pub feeds: &'a dyn Fn(&str) -> Option<String>,
    /// Called after each of the [`Sweep::steps`].
    pub tick: &'a dyn Fn(),
}

/// Results of a sweep.
pub struct Found {
    /// The measurement protocol.
    pub protocol: Protocol,
    /// The data that accuracy was measured on.
    pub data: Option<DataInfo>,
    /// The table, ordered by model, instruction set, size and threads.
    pub rows: Vec<Row>,
    /// Outcomes of each configuration.
    pub outcomes: Vec<Outcomes>,
    /// Paired accuracy tests.
    pub tests: Vec<PairedTest>,
    /// Where the answers come from.
    pub why: Vec<Why>,
    /// File of each saved head, keyed by the SHA-256 of the weights and the size.
    pub heads: BTreeMap<(String, Size), PathBuf>,
}

impl Sweep<'_> {
    /// Number of calls of `tick`: one per image for each configuration with an accuracy, and one per row and round.
    pub fn steps(&self) -> usize {
        let images = self.data.map_or(0, |data| data.set.samples.len());
        let configurations = (self.judging().judged().len() + self.peers.len()) * self.options.sizes.len();
        let rows =
            (self.engines.len() + self.peers.len()) * self.options.sizes.len() * self.options.threads.len();
        configurations * images + rows * ROUNDS
    }

    /// Which accuracies are measured, and how.
    fn judging(&self) -> Judging<'_> {
        let Sweep { engines, latency_only, peers, options, heads, tick, .. } = *self;
        Judging { engines, latency_only, peers, options, heads, tick }
    }

    /// Measures everything that is not in `journal` yet.
    ///
    /// # Errors
    /// [`ProfileError`] if a model does not support a size or a class has too few images (both checked before anything
    /// is measured), a session cannot be created, an image cannot be read, or the journal cannot be written.
    pub fn run(mut self, journal: &mut Journal) -> Result<Found, ProfileError> {
        for engine in self.engines {
            self.options.sizes.iter().try_for_each(|&size| engine.check_size(size))?;
        }
        let roles = self.data.map(|data| Roles::new(data, self.options)).transpose()?;
        let known = match self.data.zip(roles.as_ref()) {
            Some((data, roles)) => {
                let examination = Examination::new(data, roles, self.options);
                self.judging().accuracies(&examination, journal)?
            }
            None => Accuracies::default(),
        };
        let folder = tempfile::tempdir().map_err(ProfileError::temporary)?;
        let (mut sessions, mut cases) = self.cases(folder.path())?;
        let peaks = self.peaks(journal)?;
        self.rounds(&mut sessions, &mut cases, journal)?;
        let mut rows = Vec::with_capacity(cases.len());
        for case in &mut cases {
            rows.push(self.row(case, &mut sessions, &known, &peaks, journal)?);
        }
        let outcomes = known.outcomes();
        let bootstrap = Bootstrap { seed: self.options.seed, ..Bootstrap::default() };
        let untrained = |o: &Outcomes| rows.iter().any(|row| row.untrained && row.sha256 == o.sha256);
        let tests = outcomes::tests(&outcomes, known.metric(), &bootstrap, &untrained);
        Ok(Found {
            protocol: Protocol {
                min_runs: self.options.budget.runs,
                min_seconds: self.options.budget.time.as_secs_f64(),
                rounds: ROUNDS,
                head: self.options.head.clone(),
                starts: journal.starts(),
                peaks,
            },
            data: self.data.zip(roles).map(|(data, roles)| data.info(&roles, &self.options.recipe)),
            rows,
            outcomes,
            tests,
            why: known.why,
            heads: known.files,
        })
    }

    /// Compute peaks for each instruction set and number of threads that our kernels run on.
    fn peaks(&self, journal: &mut Journal) -> Result<Vec<Peak>, ProfileError> {
        let mut all = Vec::new();
        let isas: BTreeMap<&str, Isa> = self
            .engines
            .iter()
            .filter_map(|e| e.about().backend.isa())
            .map(|isa| (isa.name(), isa))
            .collect();
        for (name, &isa) in &isas {
            let mut counts: Vec<usize> = self.options.threads.iter().map(Cores::threads).collect();
            counts.sort_unstable();
            counts.dedup();
            for threads in counts {
                let key = format!("peak/{name}/{threads}");
                all.extend(journal.part(&key, || Ok(operators::peaks(isa, threads)))?);
            }
        }
        Ok(all)
    }

    /// Creates a session for each engine and number of threads, and a case for each row.
    fn cases(&self, folder: &Path) -> Result<(Vec<Session>, Vec<BenchCase>), ProfileError> {
        let (mut sessions, mut cases) = (Vec::new(), Vec::new());
        // Made once per size: generating a picture takes longer than a run on it.
        let pictures: Vec<(Size, Image)> =
            self.options.sizes.iter().map(|&size| (size, picture(size))).collect();
        for engine in self.engines {
            let first = sessions.len();
            for cores in &self.options.threads {
                sessions.push(engine.session(cores)?.pin_caller());
            }
            for &(size, ref picture) in &pictures {
                let pixels = picture.tensor(size, &engine.about().preprocess);
                for (place, cores) in self.options.threads.iter().enumerate() {
                    let (engine, pixels, session) = (engine.clone(), pixels.clone(), first + place);
                    let row = row_of(&engine, size, cores);
                    let runner = Runner::Engine { engine, session, pixels };
                    cases.push(BenchCase { row, cores: cores.clone(), runner });
                }
            }
        }
        for spec in self.peers {
            for &(size, ref picture) in &pictures {
                let image = folder.join(format!("{size}.png"));
                picture.pixels().save(&image).map_err(ProfileError::picture)?;
                for cores in &self.options.threads {
                    let runner = Runner::Peer(Peer::start(spec, size, cores.threads(), &image)?);
                    cases.push(BenchCase {
                        row: row_of_peer(spec, size, cores),
                        cores: cores.clone(),
                        runner,
                    });
                }
            }
        }
        Ok((sessions, cases))
    }

    /// The timed runs. Every other round is in reverse order, so that a case does not always follow the same one.
    fn rounds(
        &mut self,
        sessions: &mut [Session],
        cases: &mut [BenchCase],
        journal: &mut Journal,
    ) -> Result<(), ProfileError> {
        // A peer loads its model in the background after it is started. Wait for its first answer before timing
        // anything.
        for case in cases.iter_mut().filter(|case| matches!(case.runner, Runner::Peer(_))) {
            case.warm_up(sessions)?;
        }
        for round in 0..ROUNDS {
            let mut order: Vec<usize> = (0..cases.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for i in order {
                let key = round_key(round, &cases[i]);
                let budget = self.options.budget.share();
                let case = &mut cases[i];
                journal.part(&key, || self.round(case, sessions, budget, round == 0))?;
                (self.tick)();
            }
        }
        Ok(())
    }

    fn round(
        &mut self,
        case: &mut BenchCase,
        sessions: &mut [Session],
        budget: Budget,
        first: bool,
    ) -> Result<Record, ProfileError> {
        if !self.peers.is_empty() {
            std::thread::sleep(PAUSE);
        }
        for _ in 0..if first { 2 } else { 1 } {
            case.warm_up(sessions)?;
        }
        let cpus = case.cores.cpus().clone();
        let monitor = Monitor::start(&self.watch, &cpus);
        let mut seconds = Vec::with_capacity(budget.runs);
        let start = Instant::now();
        while seconds.len() < budget.runs || start.elapsed() < budget.time {
            let run = match &mut self.signals {
                Some(signals) => signals.around(|| case.run(sessions))?,
                None => case.run(sessions),
            };
            seconds.push(run?);
        }
        let mut record = monitor.stop(&seconds);
        if let Runner::Peer(_) = case.runner {
            // The load of other processes includes that of the peer itself.
            record.round.other_load = None;
        }
        Ok(record)
    }

    /// Measures the rest of a case and combines everything into a row.
    fn row(
        &mut self,
        case: &mut BenchCase,
        sessions: &mut [Session],
        known: &Accuracies,
        peaks: &[Peak],
        journal: &mut Journal,
    ) -> Result<Row, ProfileError> {
        let key = case.key();
        let records: Vec<Record> =
            (0..ROUNDS).filter_map(|round| journal.get(&round_key(round, case))).collect();
        let runs: Vec<f64> = records.iter().flat_map(|record| record.runs_ms.iter().copied()).collect();
        let latency = Latency::from_seconds(runs.iter().map(|ms| ms / 1e3).collect());
        let rounds: Vec<_> = records.iter().map(|record| record.round.clone()).collect();
        let battery = supply(self.watch.root).is_some_and(|supply| supply.on_battery);
        let size = case.row.size();
        let judged = known.of(&Configuration::of_row(&case.row));
        let scenarios = self.scenarios(case, sessions, &key, journal)?;
        let operators = journal.part(&format!("operators/{key}"), || {
            let times = case.operators(sessions, OPERATOR_RUNS)?;
            let Runner::Engine { engine, .. } = &case.runner else { return Ok(Vec::new()) };
            Ok(times.map(|times| operators::shares(engine, size, &times, peaks)).unwrap_or_default())
        })?;
        let stages = journal.part(&format!("stages/{key}"), || {
            let Some(data) = self.data else { return Ok(None) };
            stages::measure(
                case,
                sessions,
                data,
                self.options,
                judged.and_then(|judged| judged.head.as_ref()),
            )
        })?;
        let cold = match self.cold {
            Some(cold) if matches!(case.runner, Runner::Engine { .. }) => {
                journal.part(&format!("cold/{key}"), || cold(&case.row, &case.cores))?
            }
            _ => None,
        };
        let mut row = Row {
            verdict: Verdict::new(&latency, &rounds, battery),
            latency,
            rounds,
            runs_ms: thinned(runs),
            scenarios,
            stages,
            operators,
            energy: energy(&records, self.feeds),
            cold,
            accuracy: judged.map(|judged| judged.measured.accuracy.clone()),
            ..case.row.clone()
        };
        row.rate();
        Ok(row)
    }

    fn scenarios(
        &self,
        case: &mut BenchCase,
        sessions: &mut [Session],
        key: &str,
        journal: &mut Journal,
    ) -> Result<Vec<Scenario>, ProfileError> {
        let mut found = Vec::new();
        for kind in &self.options.scenarios {
            let place = format!("scenario/{kind:?}/{key}");
            let threads = case.cores.threads();
            found.push(journal.part(&place, || {
                kind.measure(threads, self.options.budget, &mut |n| case.query(sessions, n))
            })?);
        }
        Ok(found)
    }
}

fn round_key(round: usize, case: &BenchCase) -> String {
    format!("round/{round}/{}", case.key())
}

fn row_of(engine: &Engine, size: Size, cores: &Cores) -> Row {
    let about = engine.about();
    Row {
        model: about.name.clone(),
        sha256: about.sha256.clone(),
        backend: about.runs_on(),
        precision: Some(about.precision.to_string()),
        isa: about.backend.isa().map(|isa| isa.name().to_owned()),
        untrained: about.untrained,
        macs: engine.config().and_then(|c| c.macs(size).ok()),
        ..bare(size, cores)
    }
}

fn row_of_peer(spec: &PeerSpec, size: Size, cores: &Cores) -> Row {
    Row { model: spec.name.clone(), backend: spec.backend(), ..bare(size, cores) }
}

fn bare(size: Size, cores: &Cores) -> Row {
    Row {
        height: size.height,
        width: size.width,
        threads: cores.threads(),
        cores: cores.cpus().clone(),
        ..Row::default()
    }
}

/// Selects at most [`MAX_RUNS_KEPT`] of the runs, evenly spaced.
fn thinned(runs: Vec<f64>) -> Vec<f64> {
    let n = runs.len();
    if n <= MAX_RUNS_KEPT {
        return runs;
    }
    (0..MAX_RUNS_KEPT).map(|i| runs[i * n / MAX_RUNS_KEPT]).collect()
}
