//! Compares a machine with its board file, and lists what would make timings unsteady.

use serde::Serialize;

use super::choose::{Choice, NamedGroup, Request, choose, named_groups};
use super::sensors::State;
use super::{Board, BoardError, CpuList, Machine, Recognised, Root, recognise};

/// A machine and its board file side by side.
#[derive(Clone, Debug, Serialize)]
pub struct BoardReport {
    /// The board file, and why it was chosen; `None` if not even the architecture is known.
    pub recognised: Option<Recognised>,
    /// The machine as detected.
    pub machine: Machine,
    /// The machine's clusters under the file's names, in order of preference.
    pub clusters: Vec<NamedGroup>,
    /// The cores that a session would run on.
    pub choice: Choice,
    /// The machine's sensors.
    pub state: State,
    /// What would make timings unsteady, and where the machine differs from the file.
    pub warnings: Vec<Warning>,
}

/// Something that the user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Topic, for programs: `governor`, `clock`, `battery`, `throttled`, `hot`, `cores` or `features`.
    pub about: &'static str,
    /// One line of text for people.
    pub text: String,
}

impl BoardReport {
    /// Reads a machine and its sensors. `board` is the board chosen by the user; if `None`, it is recognised. `quota`
    /// is as in [`choose`].
    ///
    /// # Errors
    /// [`BoardError::Cores`], as for [`choose`].
    pub fn read(
        root: &Root,
        board: Option<Board>,
        request: &Request,
        quota: usize,
    ) -> Result<BoardReport, BoardError> {
        let machine = Machine::read(root);
        let recognised = match board {
            Some(board) => Some(Recognised { board, by: "choice".to_owned() }),
            None => recognise(&machine),
        };
        let board = recognised.as_ref().map(|r| &r.board);
        let choice = choose(&machine, board, request, quota)?;
        let clusters = named_groups(&machine, board);
        let mut report = BoardReport {
            clusters,
            choice,
            state: State::read(root),
            warnings: Vec::new(),
            recognised,
            machine,
        };
        report.warnings = report.look();
        Ok(report)
    }

    /// The cores that a session would run on: those it is restricted to, otherwise all that are available.
    pub fn cores(&self) -> &CpuList {
        let kept = self.choice.cores.cpus();
        if kept.is_empty() { &self.machine.usable } else { kept }
    }

    fn look(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |about, text| warnings.push(Warning { about, text });
        self.governor().into_iter().for_each(|text| warn("governor", text));
        self.limits().into_iter().for_each(|text| warn("clock", text));
        self.battery().into_iter().for_each(|text| warn("battery", text));
        self.throttled().into_iter().for_each(|text| warn("throttled", text));
        self.hot().into_iter().for_each(|text| warn("hot", text));
        self.missing_cores().into_iter().for_each(|text| warn("cores", text));
        self.missing_features().into_iter().for_each(|text| warn("features", text));
        warnings
    }

    /// Cores used by a session for which `odd` is true.
    fn used(&self, odd: impl Fn(&super::sensors::Clock) -> bool) -> CpuList {
        self.state.clocks.iter().filter(|c| odd(c)).map(|c| c.cpu).collect::<CpuList>().and(self.cores())
    }

    fn governor(&self) -> Option<String> {
        let odd = self.used(|c| c.governor.as_deref().is_some_and(|g| g != "performance"));
        let first = odd.iter().next()?;
        let governor = self.state.clocks.iter().find(|c| c.cpu == first)?.governor.clone()?;
        Some(format!(
            "cores {odd} follow the load (governor {governor}); for steady times: echo performance | sudo tee \
             /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        ))
    }

    fn limits(&self) -> Option<String> {
        let odd = self.used(|c| c.limit_mhz.zip(c.max_mhz).is_some_and(|(limit, max)| limit < max));
        let first = odd.iter().next()?;
        let clock = self.state.clocks.iter().find(|c| c.cpu == first)?;
        let (limit, max) = clock.limit_mhz.zip(clock.max_mhz)?;
        Some(format!(
            "cores {odd} are held to {limit} of {max} MHz (scaling_max_freq: a power mode, or heat)"
        ))
    }

    fn battery(&self) -> Option<String> {
        let supply = self.state.supply.filter(|supply| supply.on_battery)?;
        let charge = supply.percent.map(|percent| format!(" ({percent} % charged)")).unwrap_or_default();
        Some(format!("runs on battery{charge}, which may hold clocks down: plug it in for steady times"))
    }

    fn throttled(&self) -> Vec<String> {
        let text = |t: &super::sensors::Throttle| {
            let when = if t.now == Some(true) { "now" } else { "since boot" };
            let count = t.count.filter(|_| t.since_boot == Some(true)).map(|n| format!(", {n} times"));
            format!("{} {when}{} ({})", t.what, count.unwrap_or_default(), t.source)
        };
        self.state.throttles.iter().filter(|t| t.ever()).map(text).collect()
    }

    fn hot(&self) -> Vec<String> {
        let over = |t: &&super::sensors::Temperature| t.passive_celsius.is_some_and(|p| t.celsius >= p);
        let text = |t: &super::sensors::Temperature| {
            let from = t.passive_celsius.unwrap_or_default();
            format!("{} is at {:.1} °C, and the kernel slows down from {from:.0} °C on", t.zone, t.celsius)
        };
        self.state.temperatures.iter().filter(over).map(text).collect()
    }

    fn missing_cores(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let clusters = self.recognised.as_ref().map(|r| r.board.clusters.as_slice()).unwrap_or_default();
        for cluster in clusters {
            let found = self.clusters.iter().find(|group| group.name == cluster.name);
            let on = found.map_or(0, |group| group.group.cpus.len());
            if on < cluster.count.get() {
                let (name, core, count) = (&cluster.name, &cluster.core, cluster.count);
                texts.push(format!("cluster {name}: {on} of the file's {count} {core} cores are on"));
            }
        }
        let offline = &self.machine.offline;
        if !offline.is_empty() {
            let off = format!("{offline} are switched off");
            match texts.last_mut() {
                Some(text) => text.push_str(&format!("; cores {off}")),
                None => texts.push(format!("cores {off}")),
            }
        }
        let foreign = self.clusters.iter().filter(|group| group.cluster.is_none() && !clusters.is_empty());
        texts.extend(foreign.map(|group| format!("the file knows no cores like {}", group.group.cpus)));
        texts
    }

    fn missing_features(&self) -> Vec<String> {
        let missing = |group: &NamedGroup| {
            let file = &group.cluster.as_ref()?.features;
            let lacking: Vec<&str> =
                file.iter().map(String::as_str).filter(|f| !group.group.features.contains(*f)).collect();
            let text =
                || format!("cluster {}: the kernel does not report {}", group.name, lacking.join(", "));
            (!lacking.is_empty() && !group.group.features.is_empty()).then(text)
        };
        self.clusters.iter().filter_map(missing).collect()
    }
}
