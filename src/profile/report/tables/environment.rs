//! Tables of the environment and the measurement protocol.

use serde_json::Value;

use super::super::text::{self, NOTHING, maybe};
use super::super::view::View;
use super::Table;
use crate::board::sensors::State;
use crate::profile::{Environment, Protocol, Results, distinct};

/// Fields of the environment with their own formatting in these tables.
const SHOWN: [&str; 9] = ["cpu", "cores", "os", "arch", "version", "unix_time", "machine", "before", "after"];

/// All tables of this module.
pub fn tables(view: &View) -> Vec<Table> {
    let results = view.results;
    vec![
        machine(&results.environment),
        state(&results.environment),
        protocol(results),
        peaks(&results.protocol),
        models(view),
    ]
}

/// A table of names and values; empty values are skipped.
fn facts(title: &'static str, facts: Vec<(&str, String)>) -> Table {
    let mut table = Table::new(title, &["", ""], 2);
    facts.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(name, value)| {
        table.push([name.to_owned(), value]);
    });
    table
}

fn machine(e: &Environment) -> Table {
    let m = &e.machine;
    let same = |text: &Option<String>| text.clone().filter(|text| *text != e.cpu).unwrap_or_default();
    let mut list = vec![
        ("machine", e.cpu.clone()),
        ("board", same(&m.model)),
        ("compatible", m.compatible.join(", ")),
        ("CPU", same(&m.cpu_name)),
        ("product", same(&m.product)),
        ("named by the CPU", m.cpuinfo_names.join(", ")),
        ("system", format!("{} {}", e.os, e.arch)),
        ("cores that may be used", format!("{} ({})", e.cores, m.usable)),
        ("cores that are on", m.online().to_string()),
        ("cores that are off", m.offline.to_string()),
    ];
    list.extend(m.groups().iter().map(|group| {
        let core = group.core.clone().unwrap_or_else(|| "type unknown".to_owned());
        let mhz = group.max_mhz.map(|mhz| format!(", up to {mhz} MHz")).unwrap_or_default();
        let caches: Vec<String> =
            group.cache_kib.iter().map(|(level, kib)| format!("L{level} {kib} KiB")).collect();
        let caches = if caches.is_empty() { String::new() } else { format!(", {}", caches.join(", ")) };
        ("cores", format!("{}: {core}{mhz}{caches}", group.cpus))
    }));
    list.push(("start", text::date(e.unix_time)));
    list.push(("microraptor", e.version.to_owned()));
    let mut table = facts("Machine", list);
    let all = serde_json::to_value(e).unwrap_or_default();
    let others = all.as_object().into_iter().flatten().filter(|(name, _)| !SHOWN.contains(&name.as_str()));
    others.for_each(|(name, value)| flatten(&name.replace('_', " "), value, &mut table));
    table
}

/// Adds a field of any type, so that new fields of the environment appear in the report.
fn flatten(name: &str, value: &Value, table: &mut Table) {
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(field, value)| {
            flatten(&format!("{name}, {}", field.replace('_', " ")), value, table);
        }),
        Value::Array(values) if values.iter().any(|v| v.is_object() || v.is_array()) => {
            values
                .iter()
                .enumerate()
                .for_each(|(i, value)| flatten(&format!("{name} {}", i + 1), value, table));
        }
        Value::Array(values) if values.is_empty() => {}
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(scalar).collect();
            table.push([name.to_owned(), values.join(", ")]);
        }
        value => table.push([name.to_owned(), scalar(value)]),
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Sensor readings before the first run and after the last.
fn state(e: &Environment) -> Table {
    let mut table = Table::new("State of the machine", &["", "before", "after"], 3);
    let (before, after) = (readings(&e.before), e.after.as_ref().map(readings).unwrap_or_default());
    for name in distinct(before.iter().chain(&after).map(|(name, _)| name)) {
        let of = |readings: &[(String, String)]| {
            let value = readings.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
            value.unwrap_or_else(|| NOTHING.to_owned())
        };
        table.push([name.clone(), of(&before), of(&after)]);
    }
    table
}

fn readings(state: &State) -> Vec<(String, String)> {
    let mut all = clocks(state);
    all.extend(state.temperatures.iter().map(|t| {
        let limit = t.passive_celsius.map(|c| format!(" (slows down from {} °C)", text::short(c)));
        (
            format!("temperature {}", t.zone),
            format!("{} °C{}", text::fixed(t.celsius, 1), limit.unwrap_or_default()),
        )
    }));
    all.extend(state.throttles.iter().map(|t| {
        let yes = |now: bool| if now { "yes" } else { "no" };
        let parts = [
            t.now.map(|now| format!("now: {}", yes(now))),
            t.since_boot.map(|ever| format!("since boot: {}", yes(ever))),
            t.count.map(|count| format!("count: {count}")),
        ];
        (format!("{}, {}", t.what, t.source), parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }));
    all.extend(state.rails.iter().map(|rail| {
        let volts = rail.volts.map(|volts| format!(" at {} V", text::short(volts))).unwrap_or_default();
        (
            format!("power {} {}", rail.chip, rail.label),
            format!("{} W{volts}", text::short(rail.milliwatts / 1e3)),
        )
    }));
    all.extend(state.memory.iter().flat_map(|m| {
        let of = |kib: u64| format!("{} MiB", text::mib(kib));
        [
            ("memory".to_owned(), of(m.total_kib)),
            ("memory available".to_owned(), maybe(m.available_kib, of)),
            ("swap in use".to_owned(), maybe(m.swapped_kib, of)),
        ]
    }));
    // Number the sensors that share a name, such as two fans or two packages.
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    for (i, (name, _)) in all.iter_mut().enumerate() {
        let earlier = names[..i].iter().filter(|other| *other == name).count();
        if earlier > 0 {
            name.push_str(&format!(" ({})", earlier + 1));
        }
    }
    all
}

/// One line for each combination of governor and clock limits, with its cores.
fn clocks(state: &State) -> Vec<(String, String)> {
    let alike = distinct(state.clocks.iter().map(|c| (c.governor.clone(), c.limit_mhz, c.max_mhz)));
    let line = |(governor, limit, max): (Option<String>, Option<u32>, Option<u32>)| {
        let of = state
            .clocks
            .iter()
            .filter(|c| c.governor == governor && (c.limit_mhz, c.max_mhz) == (limit, max));
        let cores: crate::board::CpuList = of.clone().map(|c| c.cpu).collect();
        let now: Vec<u32> = of.filter_map(|c| c.now_mhz).collect();
        let now = now.iter().min().zip(now.iter().max()).map(|(low, high)| match low == high {
            true => format!("{low} MHz"),
            false => format!("{low} to {high} MHz"),
        });
        let limit = limit.map(|mhz| format!("limit {mhz} MHz"));
        let max = max.map(|mhz| format!("highest {mhz} MHz"));
        let governor = governor.map(|name| format!("governor {name}"));
        let parts: Vec<String> = [now, limit, max, governor].into_iter().flatten().collect();
        (format!("clock of cores {cores}"), parts.join(", "))
    };
    alike.into_iter().map(line).collect()
}

fn protocol(results: &Results) -> Table {
    let p = &results.protocol;
    let mut list = vec![
        ("command", results.command.join(" ")),
        ("timed runs of a row", format!("at least {}", p.min_runs)),
        ("time of a row", format!("at least {} s", text::short(p.min_seconds))),
        ("rounds", p.rounds.to_string()),
        ("heads", p.head.clone()),
        ("starts", p.starts.to_string()),
    ];
    match &results.data {
        None => list.push(("data", "none".to_owned())),
        Some(data) => {
            let how = data.folds.map(|folds| format!(", {folds}-fold cross-validation")).unwrap_or_default();
            list.push(("data", data.name.clone()));
            list.push(("images", format!("{}, of which {} were held out{how}", data.images, data.held_out)));
            list.push(("classes", data.classes.join(", ")));
            list.push(("SHA-256 of the data's list", data.sha256.clone()));
        }
    }
    list.push(("layout of results.json", format!("version {}", results.schema)));
    facts("Protocol", list)
}

fn peaks(protocol: &Protocol) -> Table {
    let mut table =
        Table::new("Peaks of this machine", &["instruction set", "numbers", "threads", "GMAC/s"], 2);
    table.caption = "Multiply-accumulates from registers alone.".to_owned();
    for peak in &protocol.peaks {
        table.push([
            peak.isa.clone(),
            peak.numbers.clone(),
            peak.threads.to_string(),
            text::short(peak.gmacs),
        ]);
    }
    table
}

fn models(view: &View) -> Table {
    let mut table = Table::new("Model files", &["model", "runs on", "SHA-256 of the weights"], 3);
    let files = view.rows().iter().map(|row| {
        let sha256 = match (row.untrained, row.sha256.as_str()) {
            (true, _) => "UNTRAINED: the weights come from a seed",
            (false, "") => NOTHING,
            (false, sha256) => sha256,
        };
        [row.model.clone(), row.backend.clone(), sha256.to_owned()]
    });
    distinct(files).into_iter().for_each(|file| table.push(file));
    table
}
