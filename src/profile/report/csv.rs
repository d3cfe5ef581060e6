//! The results as CSV: one line per row of the table.

use std::collections::BTreeMap;

use super::super::{Latency, Results, Row, Verdict, distinct};
use crate::board::CpuList;

/// Names and values of the columns of one row.
type Fields = Vec<(String, String)>;

/// Writes the rows as CSV. Individual runs are in `results.json` only. Columns of scenarios, operators, meters and
/// rounds, such as `operator.fc1.ms`, exist if any row has a value for them.
pub fn csv(results: &Results) -> Vec<u8> {
    let rows: Vec<Fields> = results.rows.iter().map(fields).collect();
    let names = match rows.is_empty() {
        true => fields(&nothing()).into_iter().map(|(name, _)| name).collect(),
        false => columns(&rows),
    };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let written = csv.write_record(&names).and_then(|()| {
        rows.into_iter().try_for_each(|row| {
            let values: BTreeMap<String, String> = row.into_iter().collect();
            csv.write_record(names.iter().map(|name| values.get(name).map_or("", String::as_str)))
        })
    });
    written.expect("all records are of one length, and memory takes them");
    csv.into_inner().expect("memory takes what is written")
}

/// An empty row, used only for the names of its columns.
fn nothing() -> Row {
    Row {
        model: String::new(),
        sha256: String::new(),
        backend: String::new(),
        precision: None,
        isa: None,
        untrained: false,
        height: 0,
        width: 0,
        threads: 0,
        cores: CpuList::default(),
        macs: None,
        gmacs: None,
        of_peak: None,
        latency: Latency::default(),
        rounds: Vec::new(),
        runs_ms: Vec::new(),
        scenarios: Vec::new(),
        stages: None,
        operators: Vec::new(),
        energy: Vec::new(),
        cold: None,
        verdict: Verdict::default(),
        accuracy: None,
    }
}

/// Names of all columns: first those that every row has, then those of scenarios, stages and so on, by group.
fn columns(rows: &[Fields]) -> Vec<String> {
    let mut names = distinct(rows.iter().flatten().map(|(name, _)| name.as_str()));
    let group = |name: &str| {
        let groups = ["scenario.", "stage.", "operator.", "energy.", "cold.", "round."];
        groups.iter().position(|group| name.starts_with(group)).map_or(0, |place| place + 1)
    };
    names.sort_by_key(|name| group(name));
    names.into_iter().map(str::to_owned).collect()
}

fn fields(row: &Row) -> Fields {
    let mut fields = Fields::new();
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    add("model", row.model.clone());
    add("sha256", row.sha256.clone());
    add("backend", row.backend.clone());
    add("precision", row.precision.clone().unwrap_or_default());
    add("isa", row.isa.clone().unwrap_or_default());
    add("untrained", row.untrained.to_string());
    add("height", row.height.to_string());
    add("width", row.width.to_string());
    add("threads", row.threads.to_string());
    add("cores", row.cores.to_string());
    add("macs", whole(row.macs));
    add("gmacs", number(row.gmacs));
    add("of_peak", number(row.of_peak));
    latency("", &row.latency, &mut add);
    let accuracy = row.accuracy.as_ref();
    add("metric", accuracy.map(|a| a.metric.clone()).unwrap_or_default());
    add("value", number(accuracy.map(|a| a.value)));
    add("low", number(accuracy.and_then(|a| a.low)));
    add("high", number(accuracy.and_then(|a| a.high)));
    add("images", whole(accuracy.map(|a| a.images as u64)));
    add("valid", row.verdict.valid.to_string());
    add("reasons", row.verdict.reasons.join("; "));
    details(row, &mut add);
    fields
}

/// Adds the columns that not every row has.
fn details(row: &Row, add: &mut impl FnMut(&str, String)) {
    for s in &row.scenarios {
        let prefix = format!("scenario.{}.{}.", s.name, s.images);
        latency(&prefix, &s.latency, add);
        add(&format!("{prefix}images_per_second"), number(Some(s.images_per_second)));
        add(&format!("{prefix}fps"), number(s.fps));
        add(&format!("{prefix}dropped"), whole(s.dropped.map(|n| n as u64)));
        add(&format!("{prefix}missed"), whole(s.missed.map(|n| n as u64)));
        add(&format!("{prefix}deadline_ms"), number(s.deadline_ms));
    }
    if let Some(s) = &row.stages {
        let all = [
            ("decode", Some(s.decode_ms)),
            ("resize", Some(s.resize_ms)),
            ("embed", Some(s.embed_ms)),
            ("blocks", Some(s.blocks_ms)),
            ("head", s.head_ms),
            ("total", Some(s.total_ms)),
        ];
        all.into_iter().for_each(|(name, ms)| add(&format!("stage.{name}_ms"), number(ms)));
        add("stage.images", s.images.to_string());
    }
    for op in &row.operators {
        let prefix = format!("operator.{}.", op.name);
        add(&format!("{prefix}ms"), number(Some(op.ms)));
        add(&format!("{prefix}share"), number(Some(op.share)));
        add(&format!("{prefix}gmacs"), number(op.gmacs));
        add(&format!("{prefix}of_peak"), number(op.of_peak));
    }
    for use_ in &row.energy {
        add(&format!("energy.{}.joules_per_frame", use_.meter), number(Some(use_.joules_per_frame)));
        add(&format!("energy.{}.watts", use_.meter), number(Some(use_.watts)));
    }
    if let Some(cold) = &row.cold {
        add("cold.load_ms", number(Some(cold.load_ms)));
        add("cold.first_ms", number(Some(cold.first_ms)));
        add("cold.process_ms", number(Some(cold.process_ms)));
        add("cold.resident_kib", whole(cold.resident_kib));
        add("cold.peak_kib", whole(cold.peak_kib));
    }
    for (i, round) in row.rounds.iter().enumerate() {
        let prefix = format!("round.{}.", i + 1);
        add(&format!("{prefix}runs"), round.runs.to_string());
        add(&format!("{prefix}median_ms"), number(Some(round.median_ms)));
        add(&format!("{prefix}mhz"), whole(round.mhz.map(u64::from)));
        add(&format!("{prefix}celsius"), number(round.celsius));
        add(&format!("{prefix}other_load"), number(round.other_load));
        add(&format!("{prefix}throttled"), round.throttled.join("; "));
    }
}

fn latency(prefix: &str, l: &Latency, add: &mut impl FnMut(&str, String)) {
    add(&format!("{prefix}runs"), l.runs.to_string());
    let all = [
        ("min_ms", Some(l.min_ms)),
        ("p50_ms", Some(l.p50_ms)),
        ("p50_low_ms", l.p50_low_ms),
        ("p50_high_ms", l.p50_high_ms),
        ("p90_ms", Some(l.p90_ms)),
        ("p95_ms", Some(l.p95_ms)),
        ("p99_ms", Some(l.p99_ms)),
        ("p999_ms", Some(l.p999_ms)),
        ("max_ms", Some(l.max_ms)),
        ("mean_ms", Some(l.mean_ms)),
        ("std_ms", Some(l.std_ms)),
    ];
    all.into_iter().for_each(|(name, value)| add(&format!("{prefix}{name}"), number(value)));
}

/// A number in full precision; empty if missing or not finite.
fn number(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

fn whole(value: Option<u64>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}
