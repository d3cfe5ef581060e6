//! Boards, on recorded trees: `tests/boards/NAME/{proc,sys}` (see the README there).

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use microraptor::board::sensors::{ClockFall, CpuTimes, Load, ProcessMemory, State, Supply, cpu_times};
use microraptor::board::{BoardReport, CacheShare, Cores, Request, Root};
use tempfile::{TempDir, tempdir};

const TREES: [&str; 6] =
    ["jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5", "rb3-gen2", "rock-5b", "x86-laptop"];

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards").join(name)
}

fn report(root: &Path) -> BoardReport {
    BoardReport::read(&Root::recorded(root), None, &Request::default(), 64).unwrap()
}

/// Files in a folder and its subfolders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { all.extend(files(&entry)) } else { all.push(entry) }
    }
    all.sort();
    all
}

/// A copy of a tree with additional files. File names with a colon, which Windows cannot check out, occur only as
/// additions.
fn copy(name: &str, more: &[(&str, &str)]) -> TempDir {
    let copy = tempdir().unwrap();
    let from = tree(name);
    let put = |path: &Path, bytes: &[u8]| {
        let path = copy.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for file in files(&from) {
        put(file.strip_prefix(&from).unwrap(), &fs::read(&file).unwrap());
    }
    more.iter().for_each(|(path, text)| put(Path::new(path), text.as_bytes()));
    copy
}

/// Name, cores and MHz of each cluster.
fn clusters(report: &BoardReport) -> String {
    let line = |g: &microraptor::board::NamedGroup| {
        format!("{} {} {}", g.name, g.group.cpus, g.group.max_mhz.unwrap_or(0))
    };
    report.clusters.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Subjects of the warnings.
fn warnings(report: &BoardReport) -> Vec<&str> {
    report.warnings.iter().map(|w| w.about).collect()
}

#[test]
fn each_tree_is_recognised_with_its_clusters_and_cores() {
    let by_name = "its model name";
    // Tree, board file, reason for the match, clusters, selected cores. Four threads are chosen for each.
    for (name, board, by, groups, cpus) in [
        ("raspberry-pi-4", "raspberry-pi-4", by_name, "all 0-3 1800", ""),
        ("raspberry-pi-5", "raspberry-pi-5", by_name, "all 0-3 2400", ""),
        ("rock-5b", "rock-5b", by_name, "big 4-7 2400; little 0-3 1800", "4-7"),
        ("jetson-orin-nano", "jetson-orin-nano", by_name, "all 0-3 1510", ""),
        ("rb3-gen2", "rb3-gen2", by_name, "prime 7 2707; gold 4-6 2400; silver 0-3 1958", "4-7"),
        ("x86-laptop", "generic-x86-64", "its architecture alone", "big 0-3 4400; little 4-7 3300", "0-3"),
    ] {
        let report = report(&tree(name));
        let recognised = report.recognised.as_ref().unwrap();
        assert_eq!((recognised.board.name.as_str(), recognised.by.as_str()), (board, by), "{name}");
        assert_eq!(clusters(&report), groups, "{name}");
        let cores = &report.choice.cores;
        assert_eq!((cores.threads(), cores.cpus().to_string().as_str()), (4, cpus), "{name}");
        // The board file's features of its cores match the tree.
        assert!(!warnings(&report).contains(&"features"), "{name}: {:?}", report.warnings);
    }
}

#[test]
fn a_board_is_known_by_its_chip_and_a_name_is_worth_more() {
    let model = "proc/device-tree/model";
    let other = copy("raspberry-pi-4", &[(model, "Some Carrier\0")]);
    let found = report(other.path()).recognised.unwrap();
    assert_eq!(
        (found.board.name.as_str(), found.by.as_str()),
        ("raspberry-pi-4", "compatible \"raspberrypi,4-model-b\"")
    );

    let chip =
        [(model, "Some Carrier\0"), ("proc/device-tree/compatible", "acme,carrier\0rockchip,rk3588\0")];
    let found = report(copy("rock-5b", &chip).path()).recognised.unwrap();
    assert_eq!((found.board.name.as_str(), found.by.as_str()), ("rock-5b", "compatible \"rockchip,rk3588\""));

    let unknown = [(model, "Some Carrier\0"), ("proc/device-tree/compatible", "acme,carrier\0acme,chip\0")];
    let report = report(copy("rock-5b", &unknown).path());
    assert_eq!(report.recognised.as_ref().unwrap().board.name, "generic-aarch64");
    assert_eq!(clusters(&report), "big 4-7 2400; little 0-3 1800");
    assert_eq!(report.clusters[0].group.core.as_deref(), Some("Cortex-A76"));
}

#[test]
fn warnings_are_about_what_the_trees_have() {
    for (name, expected) in [
        ("raspberry-pi-4", &["governor", "throttled"][..]),
        ("raspberry-pi-5", &[]),
        ("rock-5b", &["governor"]),
        ("jetson-orin-nano", &["governor", "clock", "throttled", "cores"]),
        ("rb3-gen2", &["throttled"]),
        ("x86-laptop", &["governor", "battery", "throttled", "throttled"]),
    ] {
        assert_eq!(warnings(&report(&tree(name))), expected, "{name}");
    }
    let orin = report(&tree("jetson-orin-nano"));
    let text: Vec<&str> = orin.warnings.iter().map(|w| w.text.as_str()).collect();
    assert!(text[1].contains("held to 960 of 1510 MHz"), "{text:?}");
    assert_eq!(text[2], "over-current since boot, 3 times (soctherm_oc)");
    assert_eq!(
        text[3],
        "cluster all: 4 of the file's 6 Cortex-A78AE cores are on; cores 4,5 are switched off"
    );

    let hot = copy("rock-5b", &[("sys/class/thermal/thermal_zone1/temp", "85000")]);
    assert!(warnings(&report(hot.path())).contains(&"hot"));
    // A kernel that hides the dot product.
    let cpuinfo = fs::read_to_string(tree("raspberry-pi-5").join("proc/cpuinfo")).unwrap();
    let plain = copy("raspberry-pi-5", &[("proc/cpuinfo", &cpuinfo.replace(" asimddp", ""))]);
    assert_eq!(report(plain.path()).warnings[0].text, "cluster all: the kernel does not report asimddp");
}

#[test]
fn a_container_that_holds_little_cores_only_gets_those() {
    let status = [("proc/self/status", "Name:\tcat\nCpus_allowed_list:\t1-3\n")];
    let report = report(copy("rock-5b", &status).path());
    assert_eq!(report.machine.usable.to_string(), "1-3");
    assert_eq!((report.choice.cores.threads(), report.choice.cores.cpus().len()), (3, 0));
}

#[test]
fn threads_that_share_a_cache_have_a_part_each() {
    let share = |root: &Path, cpus: &str, threads: usize| {
        let cores = Cores::new(threads, cpus.parse().unwrap());
        let share = CacheShare::of(&Root::recorded(root), &cores)?;
        Some((share.l2 >> 10, share.last >> 10))
    };
    let all = |name: &str, threads: usize| {
        CacheShare::of(&Root::recorded(tree(name)), &Cores::from(threads)).map(|s| (s.l2 >> 10, s.last >> 10))
    };
    assert_eq!(all("raspberry-pi-5", 1), Some((512, 2048)));
    assert_eq!(all("raspberry-pi-5", 4), Some((512, 512)));
    assert_eq!(share(&tree("rock-5b"), "4-7", 4), Some((512, 768)));
    assert_eq!(share(&tree("rock-5b"), "0-3", 2), Some((128, 1536)));
    // The tree has no cache information. The board file states that the cluster shares the second level.
    assert_eq!(all("raspberry-pi-4", 1), Some((1024, 1024)));
    assert_eq!(all("raspberry-pi-4", 4), Some((256, 256)));
    // The system's list of sharing cores takes precedence.
    let list = "sys/devices/system/cpu/cpu4/cache/index3/shared_cpu_list";
    let two = copy("rock-5b", &[(list, "4-5")]);
    assert_eq!(share(two.path(), "4", 1), Some((512, 3072)));
    assert_eq!(share(two.path(), "1,4", 2), Some((512, 3072)));
    let nothing = tempdir().unwrap();
    assert_eq!(share(nothing.path(), "0-3", 4), None);
}

#[test]
fn sensors_are_read_with_their_units() {
    let orin = State::read(&Root::recorded(tree("jetson-orin-nano")));
    let rails: Vec<String> =
        orin.rails.iter().map(|r| format!("{} {} {:.1}", r.chip, r.label, r.milliwatts)).collect();
    // 5024 mV x 928 mA. The sum of currents (curr4) has no voltage and is not a rail.
    assert_eq!(rails, ["ina3221 VDD_IN 4662.3", "ina3221 VDD_CPU_GPU_CV 682.2", "ina3221 VDD_SOC 1364.4"]);
    let clock = &orin.clocks[3];
    assert_eq!(
        (clock.cpu, clock.now_mhz, clock.limit_mhz, clock.max_mhz),
        (3, Some(729), Some(960), Some(1510))
    );
    // cv0 to cv2 are switched off and cannot be read.
    assert_eq!(orin.temperatures.len(), 6);
    assert_eq!((orin.temperatures[0].celsius, orin.temperatures[0].passive_celsius), (47.312, Some(99.0)));
    let memory = orin.memory.unwrap();
    assert_eq!(
        (memory.total_kib, memory.available_kib, memory.swapped_kib),
        (7801096, Some(6180244), Some(0))
    );

    // A battery's voltage and current (in0, curr1) are not a rail either. An INA219 reports power directly.
    let ina219 = [
        ("sys/class/hwmon/hwmon9/name", "ina219"),
        ("sys/class/hwmon/hwmon9/in1_input", "12040"),
        ("sys/class/hwmon/hwmon9/power1_input", "7500000"),
    ];
    let laptop = State::read(&Root::recorded(copy("x86-laptop", &ina219).path()));
    assert_eq!(laptop.rails.len(), 1);
    assert_eq!((laptop.rails[0].milliwatts, laptop.rails[0].volts), (7500.0, Some(12.04)));
}

#[test]
fn a_supply_is_a_battery_when_that_feeds_the_machine() {
    let supply = |more: &[(&str, &str)]| State::read(&Root::recorded(copy("x86-laptop", more).path())).supply;
    let folder = |file: &str| format!("sys/class/power_supply/{file}");
    let (mains, status, other) = (folder("ADP1/online"), folder("BAT0/status"), folder("BAT1/type"));
    let is = |on_battery, percent| Some(Supply { on_battery, percent });
    // The keyboard's battery, at 5 %, does not count.
    assert_eq!(supply(&[]), is(true, Some(71)));
    assert_eq!(supply(&[(&mains, "1"), (&status, "Charging")]), is(false, Some(71)));
    // Two batteries, one of them kept full; and a battery with an unknown status.
    let second = [(other.as_str(), "Battery"), (&folder("BAT1/capacity"), "98")];
    assert_eq!(supply(&second), is(true, Some(84)));
    assert_eq!(supply(&[(&status, "Unknown")]), is(true, Some(71)));
    assert_eq!(
        supply(&[(&status, "Unknown"), (&folder("USBC0/type"), "USB"), (&folder("USBC0/online"), "1")]),
        is(false, Some(71))
    );
    let orin =
        |more: &[(&str, &str)]| State::read(&Root::recorded(copy("jetson-orin-nano", more).path())).supply;
    assert_eq!(orin(&[]), None);
    assert_eq!(orin(&[(&folder("usb/type"), "USB"), (&folder("usb/online"), "0")]), is(false, None));

    let laptop = report(&tree("x86-laptop"));
    let battery = laptop.warnings.iter().find(|w| w.about == "battery").unwrap();
    assert!(battery.text.starts_with("runs on battery (71 % charged), "), "{}", battery.text);
}

#[test]
fn power_modes_are_read_with_their_names() {
    let mode = |name: &str, more: &[(&str, &str)]| {
        State::read(&Root::recorded(copy(name, more).path())).power_mode.text().unwrap_or_default()
    };
    let status = "var/lib/nvpmodel/status";
    assert_eq!(mode("jetson-orin-nano", &[]), "nvpmodel 1 7W");
    assert_eq!(mode("jetson-orin-nano", &[(status, "pmode:0000 fmode:quiet\n")]), "nvpmodel 0 15W");
    assert_eq!(mode("jetson-orin-nano", &[(status, "pmode:0003\n")]), "nvpmodel 3");
    assert_eq!(mode("jetson-orin-nano", &[(status, "pmode:\n")]), "");
    assert_eq!(mode("x86-laptop", &[]), "profile balanced, boost on");
    let pstate = "sys/devices/system/cpu/intel_pstate/no_turbo";
    assert_eq!(mode("x86-laptop", &[(pstate, "1")]), "profile balanced, boost off");
    assert_eq!(mode("rock-5b", &[("sys/devices/system/cpu/cpufreq/boost", "0")]), "boost off");
    assert_eq!(mode("raspberry-pi-5", &[]), "");
}

#[test]
fn load_is_what_others_do() {
    let read = |stat: &str, own: &str| {
        let more = [("proc/stat", stat), ("proc/self/stat", own)];
        cpu_times(&Root::recorded(copy("raspberry-pi-5", &more).path()))
    };
    // The process name contains brackets and spaces; utime and stime are 412 and 38.
    let own =
        |ticks: u32| format!("7 (a) (b) R 1 7 4120 34816 7 4194304 9120 0 3 0 {ticks} 38 99 99 20 0 4 0");
    let four = "cpu0 1\ncpu1 1\ncpu2 1\ncpu3 1\nintr 5\n";
    let before = read(&format!("cpu  1000 100 200 8000 500 10 20 30 700 0\n{four}"), &own(412)).unwrap();
    assert_eq!(before, CpuTimes { busy: 1330, idle: 8500, steal: 30, own: 450, cpus: 4 });
    // 400 ticks: 100 our own, 60 of other processes, 20 stolen, the rest idle.
    let after = read(&format!("cpu  1100 110 230 8200 520 15 35 50 900 0\n{four}"), &own(512)).unwrap();
    assert_eq!(after.since(&before), Some(Load { others: 80.0 / 400.0, own: 0.25, steal: 0.05 }));
    assert_eq!(before.since(&before), None);
    // Counters that went back, and numbers that are too large.
    assert_eq!(before.since(&after), None);
    let most = format!("cpu  {0} {0} {0} {0} {0} {0} {0} {0}\n", u64::MAX);
    assert!(read(&most, &own(9)).unwrap().since(&before).is_some());
    for (stat, own) in
        [("cpu  1 2 3\n", own(1)), ("intr 1\n", own(1)), (most.as_str(), "7 (a R 1 2".to_owned())]
    {
        assert_eq!(read(stat, &own), None);
    }

    let state = State::read(&Root::recorded(tree("x86-laptop")));
    assert_eq!((state.cpu_times.unwrap().own, state.cpu_times.unwrap().cpus), (450, 8));
    assert_eq!(state.load_average, Some([0.52, 0.58, 0.59]));
    let memory = ProcessMemory { resident_kib: 99244, peak_kib: Some(131072) };
    assert_eq!(state.process_memory, Some(memory));
}

/// Reads this process, if the system has /proc.
#[test]
fn own_time_and_memory_grow_with_what_the_process_does() {
    let root = Root::live();
    let Some(before) = cpu_times(&root) else {
        support::missing("no /proc");
        return;
    };
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 200 {
        std::hint::black_box(start.elapsed());
    }
    let after = cpu_times(&root).unwrap();
    if after.own == 0 {
        support::missing("an emulator's /proc/self/stat has no times");
        return;
    }
    let load = after.since(&before).unwrap();
    assert!(load.own > 0.0 && load.own <= 1.0 && load.others >= 0.0, "{load:?}");
    let memory = State::read(&root).process_memory.unwrap();
    assert!(memory.resident_kib > 100 && memory.peak_kib.is_none_or(|peak| peak >= memory.resident_kib / 2));
}

/// Throttling that starts during a measurement.
#[test]
fn what_slowed_the_machine_between_two_readings_is_told() {
    let since = |name: &str, before: &[(&str, &str)], after: &[(&str, &str)]| {
        let read = |more: &[(&str, &str)]| State::read(&Root::recorded(copy(name, more).path()));
        read(after).throttled_since(&read(before))
    };
    let flags = "sys/devices/platform/soc/soc:firmware/get_throttled";
    let pi = |before: &str, after: &str| since("raspberry-pi-5", &[(flags, before)], &[(flags, after)]);
    assert_eq!(pi("0", "0"), [""; 0]);
    // Earlier throttling does not count.
    assert_eq!(pi("50000", "50000"), [""; 0]);
    assert_eq!(pi("0", "50005"), ["under-voltage now (firmware)", "throttled now (firmware)"]);
    assert_eq!(pi("80008", "80000"), ["soft temperature limit before (firmware)"]);
    assert_eq!(pi("20002", "20002"), ["clock capped before and now (firmware)"]);
    assert_eq!(pi("0", "10000"), ["under-voltage in between (firmware)"]);

    let events = "sys/class/hwmon/hwmon2/oc2_event_cnt";
    let orin = |before: &str, after: &str| since("jetson-orin-nano", &[(events, before)], &[(events, after)]);
    assert_eq!(orin("3", "3"), [""; 0]);
    assert_eq!(orin("3", "5"), ["over-current in between, 2 times (soctherm_oc)"]);
    assert_eq!(orin("5", "3"), [""; 0]);

    let count = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count";
    let found = since("x86-laptop", &[(count, "100")], &[(count, "170")]);
    assert_eq!(found, ["core over its temperature limit in between, 70 times (thermal_throttle)"]);

    // A cooling device reports its current step, not a count of events.
    let step = "sys/class/thermal/cooling_device0/cur_state";
    let kind = ("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0");
    let found = since("rock-5b", &[kind, (step, "0")], &[kind, (step, "2")]);
    assert_eq!(found, ["clock lowered for heat now (cooling cpufreq-cpu0)"]);
    let found = since("rock-5b", &[kind, (step, "2")], &[(kind.0, "fan"), (step, "0")]);
    assert_eq!(found, ["clock lowered for heat before (cooling cpufreq-cpu0)"]);
}

#[test]
fn clocks_that_fell_are_told_core_by_core() {
    let read = |more: &[(&str, &str)]| State::read(&Root::recorded(copy("raspberry-pi-5", more).path()));
    let file = |cpu: u8, name: &str| format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}");
    let (now, limit) = (file(1, "scaling_cur_freq"), file(2, "scaling_max_freq"));
    let before = read(&[(&now, "2400000"), (&limit, "2400000")]);
    let after = read(&[(&now, "1500000"), (&limit, "2300000")]);
    let clock = ClockFall { cpu: 1, what: "clock", from_mhz: 2400, to_mhz: 1500 };
    let limit = ClockFall { cpu: 2, what: "limit", from_mhz: 2400, to_mhz: 2300 };
    let both = [clock, limit];
    assert_eq!(after.clock_change(&before, 0.05), both[..1]);
    assert_eq!(after.clock_change(&before, 0.01), both);
    assert!(after.clock_change(&before, 0.5).is_empty() && before.clock_change(&after, 0.0).is_empty());
    assert!(after.clock_change(&State::default(), 0.0).is_empty());
}

#[test]
fn energy_counters_are_listed_even_where_only_root_may_read_them() {
    let rapl = [
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n"),
        ("sys/class/powercap/intel-rapl:0:0/name", "core\n"),
        ("sys/class/powercap/intel-rapl:0:0/energy_uj", "123456789\n"),
        ("sys/class/powercap/intel-rapl/enabled", "1\n"),
    ];
    let state = State::read(&Root::recorded(copy("x86-laptop", &rapl).path()));
    let found: Vec<_> = state.energies.iter().map(|e| (e.name.as_str(), e.microjoules)).collect();
    assert_eq!(found, [("package-0", None), ("core", Some(123456789))]);
    assert_eq!(state.energies[0].wraps_at, Some(262143328850));
}

#[test]
fn flags_of_the_raspberry_pi_firmware() {
    let at = |path: &str, flags: &str| {
        let report = report(copy("raspberry-pi-5", &[(path, flags)]).path());
        report.warnings.into_iter().map(|w| w.text).collect::<Vec<_>>()
    };
    let paths = [
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
        "sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled",
    ];
    for path in paths {
        assert_eq!(
            at(path, "50005\n"),
            ["under-voltage now (firmware)", "throttled now (firmware)"],
            "{path}"
        );
        assert_eq!(at(path, "80000\n"), ["soft temperature limit since boot (firmware)"]);
        assert_eq!(at(path, "0x0\n"), [""; 0]);
        assert_eq!(at(path, "never\n"), [""; 0]);
    }
}

/// Files of every tree hold nonsense, first one at a time, then all at once. Less may be reported, but nothing else
/// may happen.
#[test]
fn hostile_trees_never_panic() {
    let junk: [&[u8]; 6] = [
        b"",
        b"99999999999999999999999999",
        b"-9223372036854775808",
        b"0-4294967295,7-3,,\n",
        &[0xff, 0xfe, 0, 0x1b, b'[', b'2', b'J', 0x80],
        b"processor : 4294967295\nCPU part : 0xfffffffffffff\nFeatures\nMemTotal: -1 kB\n",
    ];
    let asked = Request { threads: Some(usize::MAX), cpus: None };
    for name in TREES {
        let copy = copy(name, &[]);
        let root = Root::recorded(copy.path());
        let all = files(copy.path());
        // Only every third file, because the cores of a cluster have the same files.
        for (i, file) in all.iter().enumerate().step_by(3) {
            let good = fs::read(file).unwrap();
            fs::write(file, junk[i / 3 % junk.len()]).unwrap();
            BoardReport::read(&root, None, &asked, usize::MAX).unwrap();
            fs::write(file, good).unwrap();
        }
        for bytes in junk {
            all.iter().for_each(|file| fs::write(file, bytes).unwrap());
            let report = BoardReport::read(&root, None, &asked, 4).unwrap();
            let text = serde_json::to_string(&report).unwrap();
            assert!(!text.contains("\\u001b"), "{name}");
        }
        // Folders in place of files.
        for file in &all {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }
        let report = BoardReport::read(&root, None, &Request::default(), 4).unwrap();
        assert!(report.recognised.is_none() && report.state == State::default() || name == "x86-laptop");
    }
    let nothing = report(Path::new("/nonexistent"));
    assert!(nothing.recognised.is_none() && nothing.clusters.is_empty() && nothing.warnings.is_empty());
    assert_eq!(nothing.state, State::default());
}

/// Opening a pipe in place of a file would block.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_is_not_opened() {
    let copy = copy("raspberry-pi-4", &[]);
    let path = copy.path().join("proc/meminfo");
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        support::missing("no mkfifo");
        return;
    }
    assert_eq!(report(copy.path()).state.memory, None);
}
