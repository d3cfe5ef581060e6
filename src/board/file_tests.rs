use super::*;

const NAMES: [&str; 12] = [
    "generic-aarch64",
    "generic-x86-64",
    "imx8m-plus",
    "jetson-agx-orin",
    "jetson-nano",
    "jetson-orin-nano",
    "jetson-thor",
    "jetson-xavier-nx",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "rb3-gen2",
    "rock-5b",
];

#[test]
fn every_file_is_a_board_that_agrees_with_itself() {
    for name in NAMES {
        assert_eq!(Board::named(name).unwrap().name, name);
    }
    for board in boards() {
        let name = &board.name;
        let generic = board.recognise.architecture.is_some();
        assert_eq!(generic, board.clusters.is_empty(), "{name}");
        assert_eq!(generic, board.memory.is_none(), "{name}");
        assert_eq!(generic, board.threads.is_none(), "{name}");
        for cluster in &board.clusters {
            assert!(cluster.features.iter().any(|f| f == "asimd"), "{name}");
            assert!(cluster.caches.l2_kib > Some(cluster.caches.l1d_kib), "{name}");
            assert!(cluster.caches.l3_kib.is_none_or(|l3| Some(l3) > cluster.caches.l2_kib), "{name}");
            if let Some(core) = crate::board::cores::arm_core((cluster.implementer, cluster.part)) {
                assert_eq!(cluster.core, core, "{name}");
            }
        }
        // The default clusters include the first one.
        if let (Some(threads), Some(first)) = (&board.threads, board.clusters.first()) {
            assert!(threads.clusters.contains(&first.name), "{name}");
        }
        let pins = [&board.pins.trigger, &board.pins.status, &board.pins.busy];
        let headers: Vec<_> = pins.into_iter().flatten().map(|pin| pin.header).collect();
        let distinct: std::collections::BTreeSet<_> = headers.iter().collect();
        assert!(headers.is_empty() || (headers.len() == 3 && distinct.len() == 3), "{name}");
    }
}

/// Bandwidth equals the data rate times a bus width: `LPDDR4X-4267` on 32 bits.
#[test]
fn bandwidths_are_data_rate_times_a_width_of_the_bus() {
    for (board, memory) in boards().iter().filter_map(|b| Some((b, b.memory.as_ref()?))) {
        let rate: f64 = memory.kind.rsplit('-').next().unwrap().parse().unwrap();
        let bits = memory.bandwidth_gbs * 8e3 / rate;
        let near = |width: f64| (bits / width - 1.0).abs() < 0.01;
        assert!([32.0, 64.0, 128.0, 256.0].into_iter().any(near), "{}: {bits} bits", board.name);
    }
}

#[test]
fn no_two_boards_are_recognised_by_the_same_text() {
    for (i, a) in boards().iter().enumerate() {
        for b in &boards()[i + 1..] {
            let both = |a: &[String], b: &[String]| a.iter().any(|text| b.contains(text));
            assert!(!both(&a.recognise.model, &b.recognise.model), "{} {}", a.name, b.name);
            assert!(!both(&a.recognise.compatible, &b.recognise.compatible), "{} {}", a.name, b.name);
        }
    }
}

/// A file with every kind of value, which the tests below corrupt.
const GOOD: &str = r#"title = "My board"
soc = "X1"

[recognise]
model = ["My board"]

[[clusters]]
name = "big"
core = "Cortex-A76"
implementer = 0x41
part = 0xd0b
count = 2
max_mhz = 2000
features = ["asimd"]
caches = { l1d_kib = 64, l2_kib = 512 }

[memory]
sizes_gib = [
    2,
    4,
]
kind = "LPDDR4-3200"
bandwidth_gbs = 12.8

[threads]
clusters = ["big"]
count = 2
"#;

#[test]
fn a_bad_file_is_an_error_with_line_and_key() {
    assert!(Board::parse("mine", "mine.toml", GOOD).is_ok());
    let cases = [
        ("soc = ", "colour = \"red\"\nsoc = ", "line 2: colour: unknown field `colour`"),
        ("part = 0xd0b", "part = 0xd0b\npats = 1", "line 12: clusters.pats: unknown field `pats`"),
        ("count = 2\nmax", "count = \"two\"\nmax", "line 12: clusters.count: invalid type: string \"two\""),
        ("count = 2\nmax", "count = 0\nmax", "line 12: clusters.count: invalid value: integer `0`"),
        ("count = 2\nmax", "count = -1\nmax", "line 12: clusters.count: invalid value: integer `-1`"),
        ("count = 2\nmax", "count = 5000\nmax", "line 12: clusters.count: at most 1024 cores"),
        ("count = 2\nmax", "max", "line 7: clusters: missing field `count`"),
        ("soc = \"X1\"", "", "line 1: missing field `soc`"),
        ("max_mhz = 2000", "max_mhz = 2000.5", "line 13: clusters.max_mhz: invalid type: floating point"),
        ("    4,\n", "    \"4\",\n", "line 20: memory.sizes_gib: invalid type: string \"4\""),
        ("l2_kib = 512", "l2_kib = 0", "line 15: clusters.caches: invalid value: integer `0`"),
        (
            "= 12.8",
            "= -12.8",
            "line 23: memory.bandwidth_gbs: invalid value: -12.8, expected a number above 0",
        ),
        ("= 12.8", "= nan", "line 23: memory.bandwidth_gbs: invalid value: NaN"),
        ("[\"big\"]", "[\"huge\"]", "line 26: threads.clusters: no cluster is called 'huge'"),
        (
            "[\"big\"]\ncount = 2",
            "[\"big\"]\ncount = 3",
            "line 27: threads.count: these clusters have 2 cores",
        ),
        ("model = [\"My board\"]", "model = []", "line 4: recognise: give model, compatible, cpuinfo or"),
        (
            "model = [\"My board\"]",
            "model = [\"\"]",
            "line 4: recognise: an empty text would recognise every",
        ),
        ("title = \"My board\"", "title = \"My board", "line 1: title: "),
        ("[memory]", "[memory", "line 17: memory: "),
    ];
    for (from, to, expected) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let error = Board::parse("mine", "mine.toml", &text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("mine.toml, {expected}")), "{error}\nexpected: {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("usize") && !error.contains("u32"), "{error}");
    }
    let clusters = &GOOD[GOOD.find("[[clusters]]").unwrap()..GOOD.find("[memory]").unwrap()];
    let twice = GOOD.replacen("[memory]", &format!("{clusters}[memory]"), 1);
    let error = Board::parse("mine", "mine.toml", &twice).unwrap_err().to_string();
    assert!(error.contains("line 18: clusters.name: two clusters are called 'big'"), "{error}");
    let error = Board::parse("mine", "mine.toml", &GOOD.replacen(clusters, "", 1)).unwrap_err().to_string();
    assert!(error.contains("[[clusters]]"), "{error}");
}

#[test]
fn any_cut_of_a_file_is_an_error_and_no_panic() {
    for end in 0..GOOD.len() {
        let _ = Board::parse("cut", "cut.toml", &GOOD[..end]);
    }
    for text in ["", "\u{feff}", "= = =", "[[[[", "\u{0}\u{1}", "\"ä\" = {", "title = \"\"\"\n\n"] {
        assert!(Board::parse("junk", "junk.toml", text).is_err());
    }
}

#[test]
fn files_that_are_none_and_unknown_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.toml");
    for bytes in [vec![b'#'; 1 << 20], vec![0xff, 0xfe]] {
        std::fs::write(&file, bytes).unwrap();
        let error = Board::open(&file).unwrap_err().to_string();
        assert!(error.contains("b.toml"), "{error}");
    }
    assert!(matches!(Board::open(folder.path()), Err(BoardError::Read { .. })));
    assert!(matches!(Board::named("/nowhere/x.toml"), Err(BoardError::Read { .. })));
    let error = Board::named("pi").unwrap_err().to_string();
    assert!(error.contains("'pi'") && error.contains("raspberry-pi-5"), "{error}");
    std::fs::write(&file, GOOD).unwrap();
    assert_eq!(Board::named(file.to_str().unwrap()).unwrap().name, "b");
}
