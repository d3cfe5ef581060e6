//! `microraptor board`

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use microraptor::board::sensors::{State, Temperature, Throttle};
use microraptor::board::{Board, BoardReport, MAX_CPUS, NamedGroup, Pin, Request, Root, boards};

use super::args::{BoardArgs, available_threads};
use super::table::{render, table};
use super::terminal::{self, Printable};

/// ANSI codes: bold, and bold yellow.
const BOLD: &str = "1";
const YELLOW: &str = "1;33";

/// Extensions that are listed even if no board file names them: those for which kernels exist, here or elsewhere.
const NOTED: [&str; 15] = [
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "amx_int8",
];

/// Prints what was found on this machine next to the values of its board file.
pub fn run(args: &BoardArgs) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    if args.list {
        return Ok(list(args, &mut out)?);
    }
    let root = match &args.root {
        Some(folder) if folder.is_dir() => Root::recorded(folder),
        Some(folder) => anyhow::bail!("--root {}: no such folder", folder.display()),
        None => Root::live(),
    };
    let placement = &args.threads.placement;
    let request = Request { threads: args.threads.threads, cpus: placement.cores.clone() };
    // The CPU quota of this process does not apply to a recorded machine.
    let quota = if root.is_live() { available_threads() } else { MAX_CPUS };
    let report = BoardReport::read(&root, placement.board()?, &request, quota)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let colour = io::stdout().is_terminal();
        print(&report, colour, &mut out)?;
    }
    Ok(())
}

fn list(args: &BoardArgs, out: &mut impl Write) -> io::Result<()> {
    if args.json {
        return writeln!(out, "{}", serde_json::to_string_pretty(boards())?);
    }
    let mut table = table(&["name", "board", "cores", "GB/s"], 3);
    for board in boards() {
        let cores = board.clusters.iter().map(|c| format!("{} {}", c.count, c.core));
        let cores = cores.collect::<Vec<_>>().join(" + ");
        let cores = if cores.is_empty() { "as found".to_owned() } else { cores };
        let bandwidth = board.memory.as_ref().map_or("-".into(), |m| format!("{:.1}", m.bandwidth_gbs));
        table.add_row([board.name.clone(), board.title.clone(), cores, bandwidth]);
    }
    writeln!(out, "{}", render(&table))?;
    writeln!(out, "\nA board of your own is a file like those in boards/: `--board FILE.toml`.")
}

fn print(report: &BoardReport, colour: bool, out: &mut Printable<impl Write>) -> io::Result<()> {
    let board = report.recognised.as_ref().map(|r| &r.board);
    print_title(report, colour, out)?;
    print_clusters(report, out)?;
    let mut line = |key: &str, value: &dyn Display| writeln!(out, "{key:<14}{value}");
    let cores = &report.choice.cores;
    let on = report.cores();
    let on = if on.is_empty() { String::new() } else { format!("cores {on}, ") };
    let threads =
        if cores.threads() == 1 { "1 thread".to_owned() } else { format!("{} threads", cores.threads()) };
    line("runs on", &format_args!("{on}{threads} ({})", report.choice.reason))?;
    for (key, value) in memory(&report.state, board).into_iter().chain(temperatures(&report.state, board)) {
        line(key, &value)?;
    }
    line("throttling", &throttling(&report.state))?;
    if let Some(mode) = report.state.power_mode.text() {
        line("power mode", &mode)?;
    }
    for (key, value) in power(&report.state, board).into_iter().chain(pins(board)) {
        line(key, &value)?;
    }
    for (i, warning) in report.warnings.iter().enumerate() {
        let gap = if i == 0 { "\n" } else { "" };
        write!(out, "{gap}")?;
        out.coloured("warning:", YELLOW, colour)?;
        writeln!(out, " {}", warning.text)?;
    }
    Ok(())
}

fn print_title(report: &BoardReport, colour: bool, out: &mut Printable<impl Write>) -> io::Result<()> {
    let machine = &report.machine;
    out.coloured(machine.title(), BOLD, colour)?;
    writeln!(out)?;
    match &report.recognised {
        Some(found) => {
            let board = &found.board;
            let by = if found.by == "choice" { "--board" } else { &found.by };
            writeln!(out, "board file {}: {}, {}; chosen by {}\n", board.name, board.title, board.soc, by)
        }
        None => writeln!(out, "no board file: this machine says nothing of what it is\n"),
    }
}

/// The value found, with the file's value if it differs.
fn beside<T: PartialEq + Display>(found: Option<T>, file: Option<T>) -> String {
    match (found, file) {
        (Some(found), Some(file)) if found != file => format!("{found} (file: {file})"),
        (Some(found), _) => found.to_string(),
        (None, Some(file)) => format!("? (file: {file})"),
        (None, None) => "?".to_owned(),
    }
}

fn print_clusters(report: &BoardReport, out: &mut impl Write) -> io::Result<()> {
    let mut table = table(
        &["cluster", "cores", "type", "governor", "features", "MHz now", "MHz max", "L1d / L2 / L3 KiB"],
        5,
    );
    for group in &report.clusters {
        let NamedGroup { name, group: found, cluster } = group;
        let clocks: Vec<_> = report.state.clocks.iter().filter(|c| found.cpus.contains(c.cpu)).collect();
        let mut now: Vec<u32> = clocks.iter().filter_map(|c| c.now_mhz).collect();
        now.sort_unstable();
        let now = match (now.first(), now.last()) {
            (Some(low), Some(high)) if low != high => format!("{low}-{high}"),
            (Some(one), _) => one.to_string(),
            _ => "?".to_owned(),
        };
        let mut governors: Vec<&str> = clocks.iter().filter_map(|c| c.governor.as_deref()).collect();
        governors.dedup();
        let governors = if governors.is_empty() { "?".to_owned() } else { governors.join(",") };
        let file = cluster.as_ref();
        let max = beside(found.max_mhz, file.map(|c| c.max_mhz.get()));
        let core = found.core.clone().unwrap_or_else(|| "?".to_owned());
        table.add_row([
            name.clone(),
            found.cpus.to_string(),
            core,
            governors,
            features(group),
            now,
            max,
            caches(group),
        ]);
    }
    if report.clusters.is_empty() {
        return writeln!(out, "no cores found: is there a /proc and a /sys?\n");
    }
    writeln!(out, "{}\n", render(&table))
}

fn caches(group: &NamedGroup) -> String {
    let file = group.cluster.as_ref().map(|c| c.caches);
    let of_file = |level: u8| match level {
        1 => file.map(|c| c.l1d_kib.get()),
        2 => file.and_then(|c| c.l2_kib).map(|kib| kib.get()),
        _ => file.and_then(|c| c.l3_kib).map(|kib| kib.get()),
    };
    let found = |level: u8| group.group.cache_kib.get(&level).copied();
    if group.group.cache_kib.is_empty() {
        let levels: Vec<String> = (1..=3).filter_map(of_file).map(|kib| kib.to_string()).collect();
        return if levels.is_empty() { "?".to_owned() } else { format!("? (file: {})", levels.join(" / ")) };
    }
    let known = |&level: &u8| found(level).or(of_file(level)).is_some();
    let levels: Vec<String> =
        (1..=3).filter(known).map(|level| beside(found(level), of_file(level))).collect();
    levels.join(" / ")
}

fn features(group: &NamedGroup) -> String {
    let file: &[String] = group.cluster.as_ref().map(|c| c.features.as_slice()).unwrap_or_default();
    let found = &group.group.features;
    if found.is_empty() {
        return if file.is_empty() { "?".to_owned() } else { format!("? (file: {})", file.join(" ")) };
    }
    let noted: Vec<&str> =
        NOTED.into_iter().filter(|name| found.contains(*name) || file.iter().any(|f| f == name)).collect();
    let show = |name: &&str| {
        if found.contains(*name) { (*name).to_owned() } else { format!("no {name}") }
    };
    noted.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Converts KiB to GiB.
fn gib(kib: u64) -> f64 {
    kib as f64 / f64::from(1 << 20)
}

type Lines = Vec<(&'static str, String)>;

fn memory(state: &State, board: Option<&Board>) -> Lines {
    let file = board.and_then(|b| b.memory.as_ref()).map(|m| {
        let sizes = m.sizes_gib.iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
        format!("file: {sizes} GiB {}, {} GB/s", m.kind, m.bandwidth_gbs)
    });
    let found = state.memory.map(|m| {
        let available = m.available_kib.map(|kib| format!(", {:.1} available", gib(kib)));
        let swapped =
            m.swapped_kib.filter(|&kib| kib > 0).map(|kib| format!(", {:.1} swapped out", gib(kib)));
        format!("{:.1} GiB{}{}", gib(m.total_kib), available.unwrap_or_default(), swapped.unwrap_or_default())
    });
    vec![(
        "memory",
        match (found, file) {
            (Some(found), Some(file)) => format!("{found} ({file})"),
            (Some(found), None) => found,
            (None, Some(file)) => format!("? ({file})"),
            (None, None) => "?".to_owned(),
        },
    )]
}

/// The hottest CPU zone, and the temperature range of all others: a chip may have thirty (`--json` lists them).
fn temperatures(state: &State, board: Option<&Board>) -> Lines {
    let named = board.map(|b| b.sensors.thermal.as_slice()).unwrap_or_default();
    let of_cores = |t: &&Temperature| named.contains(&t.zone);
    let none = !state.temperatures.iter().any(|t| of_cores(&t));
    let candidates = state.temperatures.iter().filter(|t| none || of_cores(t));
    let Some(hottest) = candidates.max_by(|a, b| a.celsius.total_cmp(&b.celsius)) else {
        let named = if named.is_empty() { String::new() } else { format!(" (file: {})", named.join(", ")) };
        return vec![("temperature", format!("no thermal zone{named}"))];
    };
    let passive = hottest.passive_celsius.map(|c| format!(" (slows down from {c:.0})"));
    let mut text = format!("{} {:.1} °C{}", hottest.zone, hottest.celsius, passive.unwrap_or_default());
    let others = state.temperatures.iter().filter(|t| !std::ptr::eq(*t, hottest)).map(|t| t.celsius);
    let (low, high) = others.clone().fold((f64::MAX, f64::MIN), |(low, high), c| (low.min(c), high.max(c)));
    match others.count() {
        0 => {}
        1 => text.push_str(&format!(", another zone {low:.1} °C")),
        n => text.push_str(&format!(", {n} other zones {low:.1} to {high:.1} °C")),
    }
    vec![("temperature", text)]
}

/// Puts the key in front of the first line only.
fn keyed(key: &'static str, lines: Vec<String>) -> Lines {
    lines.into_iter().enumerate().map(|(i, line)| (if i == 0 { key } else { "" }, line)).collect()
}

fn throttling(state: &State) -> String {
    if state.throttles.is_empty() {
        return "not known: the kernel reports nothing of the kind".to_owned();
    }
    let now = state.throttles.iter().any(|t| t.now == Some(true));
    let ever = state.throttles.iter().any(Throttle::ever);
    let shown = state.throttles.iter().filter(|t| !ever || if now { t.now == Some(true) } else { t.ever() });
    let mut sources: Vec<&str> = shown.map(|t| t.source.as_str()).collect();
    sources.dedup();
    let found = match (now, ever) {
        (true, _) => "NOW",
        (false, true) => "not now, but since boot",
        (false, false) => "none",
    };
    format!("{found} ({})", sources.join(", "))
}

fn power(state: &State, board: Option<&Board>) -> Lines {
    let named = board.map(|b| b.sensors.power.as_slice()).unwrap_or_default();
    let mut all = Vec::new();
    for rail in &state.rails {
        let feeds = named.iter().find(|r| r.chip == rail.chip && r.label == rail.label);
        let feeds = feeds.map(|r| format!(": {}", r.feeds)).unwrap_or_default();
        let volts = rail.volts.map(|v| format!(" at {v:.2} V")).unwrap_or_default();
        all.push(format!("{} {} {:.0} mW{volts}{feeds}", rail.chip, rail.label, rail.milliwatts));
    }
    for rail in named {
        if state.rails.iter().all(|r| r.chip != rail.chip || r.label != rail.label) {
            all.push(format!("{} {} ? (in the file, not found)", rail.chip, rail.label));
        }
    }
    for energy in &state.energies {
        let joules = energy.microjoules.map(|uj| format!("{:.1} J so far", uj as f64 / 1e6));
        let joules = joules.unwrap_or_else(|| "not readable (root may)".to_owned());
        all.push(format!("{} {} {joules}", energy.zone, energy.name));
    }
    if all.is_empty() {
        all.push("no rail with a sensor".to_owned());
    }
    keyed("power", all)
}

fn pins(board: Option<&Board>) -> Lines {
    let Some(pins) = board.map(|b| &b.pins) else { return Vec::new() };
    let text = |(name, pin): (&str, &Option<Pin>)| {
        let Pin { chip, line, header } = pin.as_ref()?;
        Some(format!("{name} on header pin {header} ({chip} line {line})"))
    };
    let named = [("trigger", &pins.trigger), ("status", &pins.status), ("busy", &pins.busy)];
    keyed("pins", named.into_iter().filter_map(text).collect())
}
