//! The sweep: every configuration's accuracy, then rounds of timed runs that visit all of them in turn, so that a slow minute
//! of the machine is shared by all.

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
    Scenario, Verdict, operators, outcomes, stages,
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

/// Rounds over all rows into which the timed runs are split.
pub const ROUNDS: usize = 3;

/// Before each round of a row where there are peers: their threads spin for up to 200 ms when they are done (OpenMP's
/// blocktime), and would be in the way of the next.
const PAUSE: Duration = Duration::from_millis(300);

/// Runs over which operators are timed.
const OPERATOR_RUNS: usize = 5;

/// Runs that a row keeps.
const MAX_RUNS_KEPT: usize = 2000;

/// How long to time a row: at least `runs` runs and at least `time`.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Fewest timed runs.
    pub runs: usize,
    /// Least time.
    pub time: Duration,
}

impl Budget {
    /// A round's share.
    fn share(self) -> Budget {
        Budget { runs: self.runs.div_ceil(ROUNDS), time: self.time / ROUNDS as u32 }
    }
}

/// Starts a process of its own for a row.
pub type Cold<'a> = dyn Fn(&Row, &Cores) -> Result<Option<ColdStart>, ProfileError> + 'a;

/// What is measured, and with what.
pub struct Sweep<'a> {
    /// Backbones; the same weights on several instruction sets share their accuracy.
    pub engines: &'a [Engine],
    /// SHA-256 of the weights that are timed only: no head is trained on them.
    pub latency_only: &'a BTreeSet<String>,
    /// Other programs.
    pub peers: &'a [PeerSpec],
    /// How.
    pub options: &'a Options,
    /// Labelled images.
    pub data: Option<&'a Data>,
    /// Where the heads go that measure accuracy, if they are to be kept.
    pub heads: Option<&'a Path>,
    /// The machine's sensors.
    pub watch: Watch<'a>,
    /// Cold starts, if they are to be measured.
    pub cold: Option<&'a Cold<'a>>,
    /// Pins, of which the busy one is high during each timed run.
    pub signals: Option<&'a mut Signals>,
    /// Told what a meter feeds.
    pub feeds: &'a dyn Fn(&str) -> Option<String>,
    /// Called after each of [`Sweep::steps`].
    pub tick: &'a dyn Fn(),
}

/// What a sweep found.
pub struct Found {
    /// How it was measured.
    pub protocol: Protocol,
    /// What accuracy was measured on.
    pub data: Option<DataInfo>,
    /// The table, by model, size and threads.
    pub rows: Vec<Row>,
    /// What each configuration said.
    pub outcomes: Vec<Outcomes>,
    /// Accuracies compared.
    pub tests: Vec<PairedTest>,
    /// The file of each head that was kept, by the weights' SHA-256 and the size.
    pub heads: BTreeMap<(String, Size), PathBuf>,
}

impl Sweep<'_> {
    /// Ticks: one an image of each configuration with an accuracy, one a row and round.
    pub fn steps(&self) -> usize {
        let images = self.data.map_or(0, |data| data.set.samples.len());
        let configurations = (self.judging().judged().len() + self.peers.len()) * self.options.sizes.len();
        let rows =
            (self.engines.len() + self.peers.len()) * self.options.sizes.len() * self.options.threads.len();
        configurations * images + rows * ROUNDS
    }

    /// What accuracies are measured of.
    fn judging(&self) -> Judging<'_> {
        let Sweep { engines, latency_only, peers, options, heads, tick, .. } = *self;
        Judging { engines, latency_only, peers, options, heads, tick }
    }

    /// Measures everything that `journal` does not hold yet.
    ///
    /// # Errors
    /// [`ProfileError`]: a size or thread count that a model cannot take or a class with too few images (both found
    /// before anything is measured), an image that cannot be read, a journal that cannot be written.
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
            heads: known.files,
        })
    }

    /// Peaks of each instruction set and number of threads that our kernels run on.
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

    /// A session for each engine and number of threads, and a case for each row.
    fn cases(&self, folder: &Path) -> Result<(Vec<Session>, Vec<BenchCase>), ProfileError> {
        let (mut sessions, mut cases) = (Vec::new(), Vec::new());
        // Making one takes longer than a run on it.
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

    /// The timed runs. Every other round goes backwards, so that no case always follows the same one.
    fn rounds(
        &mut self,
        sessions: &mut [Session],
        cases: &mut [BenchCase],
        journal: &mut Journal,
    ) -> Result<(), ProfileError> {
        // A peer loads its model when it is started, beside everything else: until it has answered nothing is timed.
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
            // The peer itself is another process.
            record.round.other_load = None;
        }
        Ok(record)
    }

    /// All that is known of a case, as a row.
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

/// At most [`MAX_RUNS_KEPT`] of the runs, evenly.
fn thinned(runs: Vec<f64>) -> Vec<f64> {
    let n = runs.len();
    if n <= MAX_RUNS_KEPT {
        return runs;
    }
    (0..MAX_RUNS_KEPT).map(|i| runs[i * n / MAX_RUNS_KEPT]).collect()
}
