//! Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use std::fmt::{self, Display, Write};

use super::numbers::{BOUNDS, Histogram, Numbers};
use crate::cli::stream::line::Counts;
use crate::cli::stream::web::Reading;

/// Its media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label and its value.
type Label<'a> = (&'a str, &'a str);

/// All numbers.
pub fn write(numbers: &Numbers, machine: &Reading) -> String {
    let mut out = Text::default();
    about(numbers, &mut out);
    counters(&numbers.counts, &mut out);
    out.family(
        "microraptor_age_seconds",
        "histogram",
        "From the exposure of an answered frame to its answer.",
    );
    out.histogram("microraptor_age_seconds", &[], &numbers.age);
    out.family(
        "microraptor_stage_seconds",
        "histogram",
        "Where the time of an answered frame went; wait is from the exposure to the work.",
    );
    for (stage, times) in &numbers.stages {
        out.histogram("microraptor_stage_seconds", &[("stage", *stage)], times);
    }
    let mut gauge = |name: &str, help: &str, value: f64| {
        out.family(name, "gauge", help);
        out.sample(name, &[], value);
    };
    gauge(
        "microraptor_since_last_frame_seconds",
        "Since the last frame was told of, or the start.",
        numbers.last.elapsed().as_secs_f64(),
    );
    gauge("microraptor_stalled", "1 while the source gives no frames.", f64::from(u8::from(numbers.stalled)));
    gauge("microraptor_stuck", "1 while a run does not end.", f64::from(u8::from(numbers.stuck)));
    if let Some(deadline) = numbers.deadline {
        gauge("microraptor_deadline_seconds", "The age from which an answer is late.", deadline);
    }
    if let Some(resident) = machine.resident {
        gauge("process_resident_memory_bytes", "Resident memory of the program.", resident as f64);
    }
    if !machine.temperatures.is_empty() {
        out.family("microraptor_temperature_celsius", "gauge", "Temperature of a thermal zone of the board.");
    }
    for (zone, temperature) in machine.temperatures.iter().enumerate() {
        // Several zones may be of one type.
        let labels = [("zone", zone.to_string()), ("type", temperature.zone.clone())];
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        out.sample("microraptor_temperature_celsius", &labels, temperature.celsius);
    }
    out.0
}

fn about(numbers: &Numbers, out: &mut Text) {
    out.family("microraptor_build_info", "gauge", "The program and the backbone.");
    let Numbers { model, runs_on, .. } = numbers;
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("model", &model.name),
        ("model_sha256", &model.sha256),
        ("runs_on", runs_on),
    ];
    out.sample("microraptor_build_info", &labels, 1.0);
    out.family("microraptor_head_info", "gauge", "The heads, by the names of their files.");
    for (place, head) in numbers.heads.iter().enumerate() {
        let place = (place + 1).to_string();
        let labels = [("place", place.as_str()), ("head", &head.name), ("sha256", &head.sha256)];
        out.sample("microraptor_head_info", &labels, 1.0);
    }
}

fn counters(counts: &Counts, out: &mut Text) {
    let Counts { frames, answered, withheld, dropped, lost, late } = *counts;
    let all = [
        ("frames", frames, "Frames that the source gave."),
        ("frames_answered", answered, "Frames that were answered."),
        ("frames_withheld", withheld, "Frames without answers, black or saturated."),
        ("frames_dropped", dropped, "Frames passed over, or pushed out by a newer one."),
        ("frames_lost", lost, "Frames that could not be read."),
        ("frames_late", late, "Answered frames whose answer came after the deadline."),
    ];
    for (name, value, help) in all {
        let name = format!("microraptor_{name}_total");
        out.family(&name, "counter", help);
        out.sample(&name, &[], value);
    }
}

/// The text so far.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[Label], value: impl Display) {
        let label = |(name, value): &Label| format!("{name}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A histogram's buckets, each of which counts those below it too, its sum and its count.
    fn histogram(&mut self, name: &str, labels: &[Label], times: &Histogram) {
        let mut below = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(times.counts) {
            below += count;
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", bound.as_str())]].concat(), below);
        }
        self.sample(&format!("{name}_sum"), labels, times.sum);
        self.sample(&format!("{name}_count"), labels, below);
    }

    fn line(&mut self, line: fmt::Arguments) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A label's value, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
