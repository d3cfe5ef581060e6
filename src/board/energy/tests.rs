use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::sampler::Mean;
use super::*;
use crate::board::MeterError;
use crate::board::sensors::Energy;

/// 1 W at first, then 2 W; every third reading fails.
#[derive(Default)]
struct Steps(Arc<AtomicU32>);

impl PowerMeter for Steps {
    fn name(&self) -> String {
        "steps".to_owned()
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        let reading = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if reading.is_multiple_of(3) {
            let reason = MeterError::Other("the wire is off".to_owned());
            return Err(BoardError::Meter { meter: self.name(), reason });
        }
        Ok(if reading == 1 { 1000.0 } else { 2000.0 })
    }
}

/// A meter that can never be read.
struct Dead;

impl PowerMeter for Dead {
    fn name(&self) -> String {
        "dead".to_owned()
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        let reason = MeterError::Other("nothing answers".to_owned());
        Err(BoardError::Meter { meter: self.name(), reason })
    }
}

/// A meter that counts energy: 5 J per reading.
struct Counter(f64);

impl PowerMeter for Counter {
    fn name(&self) -> String {
        "counter".to_owned()
    }

    fn milliwatts(&mut self) -> Result<f64, BoardError> {
        self.0 += 5.0;
        Ok(1.0)
    }

    fn joules(&mut self) -> Option<f64> {
        Some(self.0)
    }
}

#[test]
fn a_mean_over_time_is_made_of_trapezoids() {
    let mean = |readings: &[(f64, f64)]| {
        let mut mean = Mean::default();
        readings.iter().for_each(|&(seconds, value)| mean.add(seconds, value));
        mean.value()
    };
    assert_eq!(mean(&[]), None);
    assert_eq!(mean(&[(3.0, 7.0)]), Some(7.0));
    assert_eq!(mean(&[(3.0, 7.0), (3.0, 8.0)]), Some(8.0));
    // A ramp in steps of various lengths, and a pulse.
    assert_eq!(mean(&[(0.0, 0.0), (1.0, 1.0), (4.0, 4.0), (10.0, 10.0)]), Some(5.0));
    assert_eq!(mean(&[(0.0, 1.0), (1.0, 1.0), (1.0, 3.0), (3.0, 3.0)]), Some((1.0 + 6.0) / 3.0));
}

#[test]
fn the_sampler_reads_until_it_is_stopped_and_counts_what_fails() {
    let count = Arc::new(AtomicU32::new(0));
    let meters: Vec<Box<dyn PowerMeter>> =
        vec![Box::new(Steps(count.clone())), Box::new(Dead), Box::new(Counter(2.0))];
    let sampler = Sampler::start(meters, Duration::from_millis(2));
    while count.load(Ordering::Relaxed) < 30 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let [steps, dead, counter] = &sampler.stop()[..] else { panic!("three meters") };
    assert!(steps.seconds >= 0.05 && steps.readings >= 20 && steps.failed >= 10, "{steps:?}");
    let mean = steps.milliwatts.unwrap();
    assert!(mean > 1000.0 && mean <= 2000.0, "{steps:?}");
    assert!((steps.joules.unwrap() - mean / 1e3 * steps.seconds).abs() < 1e-9);
    assert_eq!(steps.error.as_deref(), Some("steps: the wire is off"));

    assert_eq!((dead.readings, dead.milliwatts, dead.joules), (0, None, None));
    assert!(dead.failed >= 2 && dead.error.as_deref() == Some("dead: nothing answers"));

    // Energy counted by the hardware is not integrated from readings.
    assert_eq!(counter.joules, Some(5.0 * counter.readings as f64));
    assert!((counter.milliwatts.unwrap() - counter.joules.unwrap() / counter.seconds * 1e3).abs() < 1e-6);
}

#[test]
fn a_sampler_that_is_stopped_at_once_or_dropped_ends_at_once() {
    let measured = Sampler::start(vec![Box::new(Steps::default())], Duration::from_secs(3600)).stop();
    assert_eq!(measured[0].readings, 2);
    drop(Sampler::start(vec![Box::new(Steps::default())], Duration::from_secs(3600)));
    assert!(Sampler::start(Vec::new(), DEFAULT_INTERVAL).stop().is_empty());
}

fn energy(zone: &str, name: &str, microjoules: Option<u64>) -> Energy {
    Energy { zone: zone.to_owned(), name: name.to_owned(), microjoules, wraps_at: Some(10_000_000) }
}

#[test]
fn packages_are_counted_once_and_over_a_wrap() {
    let at = |first, second, other| {
        vec![
            energy("intel-rapl:0", "package-0", first),
            energy("intel-rapl:0:0", "core", other),
            energy("intel-rapl:0:1", "dram", other),
            energy("intel-rapl:1", "package-1", second),
            energy("intel-rapl:2", "psys", other),
            energy("intel-rapl-mmio:0", "package-0", first),
        ]
    };
    let before = at(Some(9_000_000), Some(0), Some(0));
    // The first counter wraps at 10 J, the second grows by 2 J.
    assert_eq!(package_joules(&before, &at(Some(500_000), Some(2_000_000), Some(9))), Some(3.5));
    assert_eq!(package_joules(&before, &before), Some(0.0));
    // An unreadable package is skipped. If no package is readable the result is `None`, not 0 J.
    assert_eq!(package_joules(&before, &at(None, Some(2_000_000), Some(9))), Some(2.0));
    assert_eq!(package_joules(&before, &at(None, None, Some(9))), None);
    assert_eq!(package_joules(&[], &before), None);
    // A counter that was reset and has no range, and nonsensical values.
    let mut after = vec![energy("intel-rapl:0", "package-0", Some(1))];
    after[0].wraps_at = None;
    assert_eq!(package_joules(&before, &after), None);
    after[0].wraps_at = Some(0);
    assert_eq!(package_joules(&before, &after), Some(1e-6));
}

#[test]
fn rapl_adds_up_over_several_wraps_and_survives_a_reading_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("sys/class/powercap/intel-rapl:0");
    // Windows does not allow a colon in a name.
    if fs::create_dir_all(&zone).is_err() {
        return crate::support::missing("no file may be called so");
    }
    let put = |file: &str, text: &str| fs::write(zone.join(file), text).unwrap();
    put("name", "package-0\n");
    put("max_energy_range_uj", "10000000\n");
    let root = Root::recorded(folder.path());
    assert!(RaplMeter::open(&root).is_none(), "not readable");
    put("energy_uj", "1000000\n");
    let mut meter = RaplMeter::open(&root).unwrap();
    for (counter, joules) in [("4000000", 3.0), ("9000000", 8.0), ("2000000", 11.0), ("1000000", 20.0)] {
        put("energy_uj", counter);
        assert!(meter.milliwatts().unwrap() > 0.0);
        assert_eq!(meter.joules(), Some(joules));
    }
    put("energy_uj", "");
    let error = meter.milliwatts().unwrap_err().to_string();
    assert!(error.starts_with("RAPL (package, ") && error.contains("only root may"), "{error}");
    assert_eq!(meter.joules(), None);
    put("energy_uj", "3000000");
    meter.milliwatts().unwrap();
    assert_eq!(meter.joules(), Some(22.0));
}

#[test]
fn the_rail_of_the_whole_module_is_the_boards_meter() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards/jetson-orin-nano");
    let root = Root::recorded(tree);
    let board = Board::named("jetson-orin-nano").unwrap();
    let found = meters(&root, Some(&board));
    assert_eq!(found.len(), 1);
    let mut meter = RailMeter::of_board(&root, &board).unwrap();
    assert_eq!(meter.name(), "ina3221 VDD_IN (the whole module)");
    assert_eq!(meter.name(), found[0].name());
    assert!((meter.milliwatts().unwrap() - 5024.0 * 928.0 / 1e3).abs() < 1e-9);

    // If no rail feeds everything, the first is used; if that is missing, none.
    let mut order = board.clone();
    order.sensors.power.rotate_left(1);
    assert_eq!(RailMeter::of_board(&root, &order).unwrap().name(), meter.name());
    order.sensors.power.pop();
    assert!(RailMeter::of_board(&root, &order).unwrap().name().contains("VDD_CPU_GPU_CV (CPU, GPU"));
    order.sensors.power[0].label = "VDD_OUT".to_owned();
    assert!(RailMeter::of_board(&root, &order).is_none());
    assert!(meters(&root, None).is_empty());
    assert_eq!(RailMeter::find(&root, "ina3221", "VDD_SOC").unwrap().name(), "ina3221 VDD_SOC");
}

#[test]
fn a_rail_that_goes_away_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let hwmon = folder.path().join("sys/class/hwmon/hwmon3");
    fs::create_dir_all(&hwmon).unwrap();
    fs::write(hwmon.join("name"), "ina219").unwrap();
    fs::write(hwmon.join("power1_input"), "7500000").unwrap();
    let mut meter = RailMeter::find(&Root::recorded(folder.path()), "ina219", "1").unwrap();
    assert_eq!(meter.milliwatts(), Ok(7500.0));
    fs::remove_file(hwmon.join("power1_input")).unwrap();
    let error = meter.milliwatts().unwrap_err().to_string();
    assert!(error.starts_with("ina219 1: the kernel no longer gives its power"), "{error}");
}
