//! Made-up but plausible results of several shapes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::board::sensors::{Clock, MemoryState, State, Temperature, Throttle};
use crate::board::{Cpu, Machine};
use crate::profile::*;

/// Names that could corrupt a file if not escaped.
pub const HOSTILE: [&str; 4] = [
    "<script>alert('x')</script>",
    "a\"b' onload='x' ]]> --> & </svg>",
    "pipe|`tick`\n# new*line*",
    "../../\u{0}\u{202e}é漢",
];

/// Parameters of a made-up sweep.
pub struct Sweep<'a> {
    pub models: &'a [&'a str],
    pub sizes: &'a [(usize, usize)],
    pub kinds: &'a [&'a str],
    pub threads: &'a [usize],
    pub metric: Option<&'a str>,
    pub details: bool,
}

pub const FULL: Sweep<'_> = Sweep {
    models: &["dinov3-vits16", "deit-tiny", "dinov3-vitb16"],
    sizes: &[(128, 128), (224, 224), (320, 320), (384, 384), (512, 512)],
    kinds: &["int8", "f32", "fp16"],
    threads: &[1, 4],
    metric: Some("AUC"),
    details: true,
};

/// Three models, five sizes, three precisions, two thread counts.
pub fn full() -> Results {
    let mut results = sweep(&FULL);
    results.rows[7].verdict = Verdict {
        valid: false,
        reasons: vec![
            "other processes took 31% of the cores".into(),
            "medians of the rounds differ by 14%".into(),
        ],
    };
    results.rows[20].verdict.valid = false;
    results.rows[20].verdict.reasons = vec!["the clock fell from 2400 to 1500 MHz".into()];
    results.rows[0].verdict.reasons = vec!["governor ondemand, not performance".into()];
    results
}

pub fn sweep(sweep: &Sweep) -> Results {
    let mut rows = Vec::new();
    for (m, model) in sweep.models.iter().enumerate() {
        for kind in sweep.kinds {
            for &(height, width) in sweep.sizes {
                for &threads in sweep.threads {
                    let seed = rows.len() as u64;
                    rows.push(row(model, m, kind, (height, width), threads, sweep, seed));
                }
            }
        }
    }
    let labels: Vec<String> = rows.iter().map(Row::label).collect();
    let several = sweep.metric.is_some() && rows.len() > 3;
    Results {
        schema: SCHEMA,
        environment: environment(),
        command: ["microraptor", "profile", "--models", "a b.safetensors", "--data", "phantoms"]
            .map(String::from)
            .to_vec(),
        protocol: protocol(),
        data: sweep.metric.map(|_| data()),
        outcomes: Vec::new(),
        tests: if several { tests(&labels) } else { Vec::new() },
        why: if several { sweep.models.iter().take(3).map(|model| why(model)).collect() } else { Vec::new() },
        decision: several.then(|| Decision {
            limits: vec!["p90 latency at most 40 ms".into()],
            row: Some(2),
            label: Some(labels[2].clone()),
            within_limits: Some(0.998),
            best: Some(0.71),
            reason: "It has the highest AUC of the rows within the limits.".into(),
        }),
        rows,
    }
}

fn why(model: &str) -> Why {
    let cells: Vec<f64> = (0..14 * 12).map(|i| ((i * 7919) % 97) as f64 / 970.0).collect();
    Why {
        model: model.into(),
        sha256: "0".repeat(64),
        backend: "microraptor int8".into(),
        height: 224,
        width: 192,
        images: 16,
        rows: 14,
        cols: 12,
        patches: cells.iter().sum::<f64>() / 9.0,
        cls: 1.25,
        cells,
    }
}

fn row(
    model: &str,
    place: usize,
    kind: &str,
    (height, width): (usize, usize),
    threads: usize,
    sweep: &Sweep,
    seed: u64,
) -> Row {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scale = [1.0, 0.35, 3.4][place % 3] * (1.0 + place as f64 / 50.0);
    let precision = ["int8", "f32", "fp16"].iter().find(|p| kind.ends_with(**p)).map(|p| (*p).to_owned());
    let speed = match kind {
        "int8" => 1.0,
        "fp16" => 2.3,
        "f32" => 2.1,
        _ => 3.0,
    };
    let pixels = (height * width) as f64;
    let ms = 14.0 * scale * speed * (pixels / 50176.0).powf(1.15) / (threads as f64).powf(0.85);
    let runs: Vec<f64> = (0..180)
        .map(|_| {
            let tail: f64 = rng.random::<f64>();
            ms * (1.0 + 0.06 * tail.powi(3) + if tail > 0.985 { 0.5 * rng.random::<f64>() } else { 0.0 })
        })
        .collect();
    let ours = !kind.contains(' ');
    let value = 0.955
        - 0.14 * (-(pixels.sqrt()) / 150.0).exp()
        - 0.02 * (1.0 - [0.5, 0.0, 1.0][place % 3])
        - if kind == "int8" { 0.002 } else { 0.0 };
    let accuracy = sweep.metric.map(|metric| Accuracy {
        metric: metric.into(),
        value,
        low: Some(value - 0.021),
        high: Some(value + 0.017),
        images: 240,
    });
    let mut row = Row {
        model: model.into(),
        sha256: if ours { format!("{:064x}", 0x00c0_ffee_u64 + place as u64) } else { String::new() },
        backend: if ours { format!("microraptor {kind}") } else { kind.into() },
        precision,
        isa: ours.then(|| "neon-i8mm".into()),
        untrained: model.starts_with("untrained"),
        height,
        width,
        threads,
        cores: (4..4 + threads).collect(),
        macs: ours.then_some((4.6e9 * scale * pixels / 50176.0) as u64),
        gmacs: None,
        of_peak: None,
        latency: Latency::from_seconds(runs.iter().map(|ms| ms / 1e3).collect()),
        rounds: Vec::new(),
        runs_ms: runs,
        scenarios: Vec::new(),
        stages: None,
        operators: Vec::new(),
        energy: Vec::new(),
        cold: None,
        verdict: Verdict { valid: true, reasons: Vec::new() },
        accuracy,
    };
    if sweep.details && ours {
        details(&mut row, ms);
    }
    row.rate();
    row
}

fn details(row: &mut Row, ms: f64) {
    let round = |i: usize| Round {
        runs: 60,
        median_ms: ms * (1.0 + i as f64 / 100.0),
        mhz: Some(2400 - 10 * i as u32),
        clocks: vec![],
        celsius: Some(51.0 + i as f64),
        other_load: Some(0.02),
        throttled: if i == 2 { vec!["cooling cpufreq-cpu4".into()] } else { vec![] },
    };
    row.rounds = (0..3).map(round).collect();
    let scenario = |name: &str, images: usize, camera: bool| Scenario {
        name: name.into(),
        images,
        latency: row.latency.clone(),
        images_per_second: 1000.0 * images as f64 / ms,
        fps: camera.then_some(30.0),
        dropped: camera.then_some(17),
        missed: camera.then_some(3),
        deadline_ms: camera.then_some(33.3),
    };
    row.scenarios =
        vec![scenario("MultiStream", 8, false), scenario("Offline", 64, false), scenario("Camera", 1, true)];
    row.stages = Some(Stages {
        images: 24,
        decode_ms: 6.1,
        resize_ms: 2.2,
        embed_ms: ms * 0.05,
        blocks_ms: ms * 0.95,
        head_ms: Some(0.08),
        total_ms: ms + 8.4,
    });
    let shares = [
        ("embed", 0.04),
        ("norm", 0.05),
        ("quantise", 0.04),
        ("qkv", 0.17),
        ("attention", 0.21),
        ("proj", 0.07),
        ("fc1", 0.19),
        ("gelu", 0.05),
        ("fc2", 0.16),
        ("final norm", 0.01),
    ];
    let operator = |(name, share): (&str, f64)| OperatorShare {
        name: name.into(),
        ms: ms * share,
        share,
        gmacs: name.starts_with("fc").then_some(61.3),
        numbers: name.starts_with("fc").then(|| "int8".into()),
        of_peak: name.starts_with("fc").then_some(0.62),
    };
    row.operators = shares.map(operator).to_vec();
    row.energy = vec![EnergyUse {
        meter: "ina3221 VDD_IN".into(),
        feeds: Some("the whole module".into()),
        joules_per_frame: ms * 0.0071,
        watts: 7.1,
    }];
    row.cold = Some(ColdStart {
        load_ms: 210.0,
        first_ms: ms * 2.0,
        process_ms: 240.0 + ms * 2.0,
        resident_kib: Some(121_000),
        peak_kib: Some(163_840),
    });
}

fn tests(labels: &[String]) -> Vec<PairedTest> {
    let test = |b: usize, p: f64| PairedTest {
        a: labels[0].clone(),
        b: labels[b].clone(),
        metric: "AUC".into(),
        difference: -0.0021 * b as f64,
        low: Some(-0.0021 * b as f64 - 0.003),
        high: Some(-0.0021 * b as f64 + 0.003),
        p: Some(p),
        test: "DeLong".into(),
    };
    vec![test(1, 0.21), test(2, 0.034), test(3, 0.000_04)]
}

fn data() -> DataInfo {
    DataInfo {
        name: "ultrasound/breast".into(),
        sha256: "ab".repeat(32),
        images: 780,
        held_out: 240,
        folds: Some(5),
        classes: vec!["benign".into(), "malignant".into()],
    }
}

fn protocol() -> Protocol {
    let peak = |numbers: &str, threads, gmacs| Peak {
        isa: "neon-i8mm".into(),
        numbers: numbers.into(),
        threads,
        gmacs,
    };
    Protocol {
        min_runs: 100,
        min_seconds: 3.0,
        rounds: 3,
        head: "linear".into(),
        starts: 2,
        peaks: vec![peak("int8", 1, 98.7), peak("f32", 1, 24.4), peak("int8", 4, 380.0)],
    }
}

fn environment() -> Environment {
    let cpu = |number: usize| Cpu {
        number,
        midr: Some(if number < 4 { (0x41, 0xd05) } else { (0x41, 0xd0b) }),
        max_mhz: Some(if number < 4 { 1800 } else { 2400 }),
        cache_kib: [(1, 64), (2, 512), (3, 3072)].into(),
        ..Cpu::default()
    };
    let state = |celsius: f64, mhz: u32| State {
        clocks: (0..8)
            .map(|cpu| Clock {
                cpu,
                governor: Some("ondemand".into()),
                now_mhz: Some(mhz),
                limit_mhz: Some(2400),
                max_mhz: Some(2400),
            })
            .collect(),
        temperatures: vec![Temperature { zone: "soc-thermal".into(), celsius, passive_celsius: Some(85.0) }],
        throttles: vec![Throttle {
            source: "firmware".into(),
            what: "under-voltage",
            now: Some(false),
            since_boot: Some(true),
            count: None,
        }],
        memory: Some(MemoryState {
            total_kib: 8_052_000,
            available_kib: Some(6_900_000),
            swapped_kib: Some(0),
        }),
        ..State::default()
    };
    let mut environment = Environment::read(&crate::board::Root::live(), None);
    environment.cpu = "Orange Pi 5 Plus".into();
    environment.cores = 8;
    environment.unix_time = 1_795_636_048;
    environment.machine = Machine {
        model: Some("Orange Pi 5 Plus".into()),
        compatible: vec!["xunlong,orangepi-5-plus".into(), "rockchip,rk3588".into()],
        cpus: (0..8).map(cpu).collect(),
        usable: (0..8).collect(),
        ..Machine::default()
    };
    environment.before = state(44.4, 2208);
    environment.after = Some(state(63.1, 2400));
    environment
}
