use super::*;
use crate::board::boards;

/// A machine with cores given as `(midr, MHz, capacity)`.
fn machine(cores: &[((u32, u32), u32, Option<u32>)]) -> Machine {
    let cpu = |(number, &(midr, mhz, capacity)): (usize, &_)| Cpu {
        number,
        midr: Some(midr),
        max_mhz: Some(mhz),
        capacity,
        ..Cpu::default()
    };
    let cpus: Vec<Cpu> = cores.iter().enumerate().map(cpu).collect();
    let usable = (0..cpus.len()).collect();
    Machine { cpus, usable, ..Machine::default() }
}

const A55: (u32, u32) = (0x41, 0xd05);
const A76: (u32, u32) = (0x41, 0xd0b);
const A78: (u32, u32) = (0x41, 0xd41);

/// RK3588 as binned in the vendor's kernel: the two pairs of A76 differ.
fn rk3588() -> Machine {
    let little = [(A55, 1800, Some(397)); 4];
    machine(&[&little[..], &[(A76, 2256, Some(1000)); 2], &[(A76, 2400, Some(1024)); 2]].concat())
}

fn board(name: &str) -> Option<&'static Board> {
    boards().iter().find(|board| board.name == name)
}

/// Threads and cores chosen for a request.
fn chosen(
    machine: &Machine,
    board: Option<&Board>,
    threads: Option<usize>,
    cpus: Option<&str>,
) -> (usize, String) {
    let request = Request { threads, cpus: cpus.map(|text| text.parse().unwrap()) };
    let cores = choose(machine, board, &request, 64).unwrap().cores;
    (cores.threads(), cores.cpus().to_string())
}

#[test]
fn equal_cores_are_left_to_the_system() {
    let machine = machine(&[(A76, 2400, None); 4]);
    for board in [None, board("raspberry-pi-5")] {
        assert_eq!(chosen(&machine, board, None, None), (4, String::new()));
        assert_eq!(chosen(&machine, board, Some(9), None), (9, String::new()));
        assert_eq!(chosen(&machine, board, None, Some("1,3")), (2, "1,3".to_owned()));
        assert_eq!(chosen(&machine, board, Some(1), Some("1,3")), (1, "1,3".to_owned()));
    }
}

#[test]
fn a_file_can_leave_equal_cores_to_others() {
    let machine = machine(&[(A76, 2400, None); 4]);
    let mut board = board("raspberry-pi-5").unwrap().clone();
    board.threads.as_mut().unwrap().count = 3.try_into().unwrap();
    assert_eq!(chosen(&machine, Some(&board), None, None), (3, String::new()));
    assert_eq!(chosen(&machine, Some(&board), Some(4), None), (4, String::new()));
    assert_eq!(choose(&machine, Some(&board), &Request::default(), 2).unwrap().cores.threads(), 2);
}

#[test]
fn big_cores_come_first_and_clusters_are_mixed_only_when_asked() {
    for board in [None, board("rock-5b"), board("generic-aarch64")] {
        let machine = rk3588();
        assert_eq!(chosen(&machine, board, None, None), (4, "4-7".to_owned()));
        assert_eq!(chosen(&machine, board, Some(2), None), (2, "4-7".to_owned()));
        assert_eq!(chosen(&machine, board, Some(6), None), (6, "0,1,4-7".to_owned()));
        assert_eq!(chosen(&machine, board, Some(20), None), (20, "0-7".to_owned()));
        assert_eq!(chosen(&machine, board, None, Some("0-1")), (2, "0,1".to_owned()));
        let request = |threads| Request { threads, cpus: None };
        let spilled = |threads| choose(&machine, board, &request(threads), 64).unwrap().spilled;
        assert!(spilled(Some(5)) && !spilled(Some(4)) && !spilled(None));
    }
}

#[test]
fn a_container_keeps_to_its_cores_and_its_time() {
    let mut machine = rk3588();
    machine.usable = "2-5".parse().unwrap();
    let rock = board("rock-5b");
    assert_eq!(chosen(&machine, rock, None, None), (2, "4,5".to_owned()));
    assert_eq!(chosen(&machine, rock, Some(8), None), (8, "2-5".to_owned()));
    let request = Request { threads: None, cpus: Some("5-6".parse().unwrap()) };
    let error = choose(&machine, rock, &request, 64).unwrap_err().to_string();
    assert!(error.contains("cores 5,6") && error.contains("2-5"), "{error}");
    // A quota of one core's CPU time.
    assert_eq!(choose(&machine, rock, &Request::default(), 1).unwrap().cores.threads(), 1);
    // First none of the big cores, then no cores at all.
    machine.usable = "1-2".parse().unwrap();
    assert_eq!(chosen(&machine, rock, None, None), (2, String::new()));
    machine.usable = CpuList::default();
    assert_eq!(choose(&machine, rock, &Request::default(), 3).unwrap().cores, 3.into());
}

#[test]
fn one_core_type_at_two_clocks_is_two_clusters_of_the_file() {
    let cores = [&[(A55, 1958, None); 4][..], &[(A78, 2400, None); 3], &[(A78, 2707, None)]].concat();
    let machine = machine(&cores);
    let rb3 = board("rb3-gen2");
    let names = |board| {
        let groups = named_groups(&machine, board);
        groups.iter().map(|g| format!("{} {}", g.name, g.group.cpus)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(names(rb3), "prime 7; gold 4-6; silver 0-3");
    assert_eq!(names(None), "prime 7; big 4-6; little 0-3");
    assert_eq!(chosen(&machine, rb3, None, None), (4, "4-7".to_owned()));
    assert_eq!(chosen(&machine, None, None, None), (1, "7".to_owned()));
}

#[test]
fn cores_that_the_file_does_not_know_come_last() {
    let machine = machine(&[(A78, 3000, None), (A76, 2400, None), (A76, 2400, None)]);
    let groups = named_groups(&machine, board("rock-5b"));
    let names: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["big", "cluster0"]);
    assert_eq!(chosen(&machine, board("rock-5b"), None, None), (2, "1,2".to_owned()));
}
