//! The listener: who may call, what is stored, and bytes that are damaged.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use microraptor::node::{Command, Event, Listener, Queue, Rules, converse};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::wire::*;

struct Node {
    folder: tempfile::TempDir,
    queue: Arc<Queue>,
    listener: Option<Listener>,
    address: SocketAddr,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Node {
    fn start(change: impl FnOnce(&mut Rules)) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let keep = Duration::from_secs(86400);
        let queue = Arc::new(Queue::open(folder.path(), vec!["key".into()], keep, 0).unwrap());
        let mut rules = Rules::new("RAPTOR".parse().unwrap());
        change(&mut rules);
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (kept, local) = (events.clone(), "127.0.0.1:0".parse().unwrap());
        let report = Arc::new(move |event| kept.lock().unwrap().push(event));
        let listener = Listener::start(local, queue.clone(), rules, None, report).unwrap();
        let address = listener.address();
        Node { folder, queue, listener: Some(listener), address, events }
    }

    fn usual() -> Node {
        Node::start(|_| {})
    }

    fn call(&self, contexts: &[(&str, &str)]) -> Caller {
        let mut caller = Caller::call(self.address, "RAPTOR", "PROBE", contexts);
        assert_eq!(caller.receive().unwrap().0, 2, "A-ASSOCIATE-AC");
        caller
    }

    /// Sends an object, and returns the status.
    fn send(&self, class: &str, instance: &str, object: &[u8]) -> Option<u16> {
        let mut caller = self.call(&[(CAPTURE, IMPLICIT)]);
        caller.send(&data(1, true, true, &store(class, instance)));
        for (n, part) in object.chunks(1000).enumerate() {
            caller.send(&data(1, false, (n + 1) * 1000 >= object.len(), part));
        }
        caller.status()
    }

    /// Whether it still answers.
    fn lives(&self) -> bool {
        let mut caller = self.call(&[(VERIFICATION, IMPLICIT)]);
        caller.send(&data(1, true, true, &echo()));
        let answered = caller.status() == Some(0);
        caller.send(&pdu(5, &[0; 4]));
        answered && caller.receive() == Some((6, vec![0; 4]))
    }

    fn refusals(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let reason = |event: &Event| match event {
            Event::Refused { reason, .. } | Event::Closed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        events.iter().filter_map(reason).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.stop(Duration::from_millis(200));
        }
    }
}

fn entries(folder: &Path) -> usize {
    folder.read_dir().unwrap().count()
}

#[test]
fn an_object_is_stored_as_it_came_and_only_once() {
    let node = Node::usual();
    let object = object(CAPTURE, "1.2.3.4.5");
    assert_eq!(node.send(CAPTURE, "1.2.3.4.5", &object), Some(0));
    assert_eq!(node.send(CAPTURE, "1.2.3.4.5", &object), Some(0));
    assert_eq!(node.queue.waiting(), [1, 0]);
    let work = node.queue.take(Duration::ZERO).unwrap().unwrap();
    let file = std::fs::read(&work.path).unwrap();
    assert_eq!((&file[128..132], &file[file.len() - object.len()..]), (&b"DICM"[..], &object[..]));
    let samples = microraptor::input::dicom_samples(&work.path).unwrap();
    assert_eq!((samples.shape, samples.bytes), ([1, 8, 8, 1], vec![7; 64]));
    let events = node.events.lock().unwrap();
    let duplicates: Vec<bool> = events
        .iter()
        .filter_map(|event| match event {
            Event::Stored { duplicate, .. } => Some(*duplicate),
            _ => None,
        })
        .collect();
    assert_eq!(duplicates, [false, true]);
    drop(events);
    assert!(node.lives());
}

#[test]
fn wrong_objects_get_their_statuses_and_leave_nothing() {
    let node = Node::start(|rules| rules.max_object = 4096);
    let uid = "1.2.3.4.5";
    let good = object(CAPTURE, uid);
    // Another object than the command says, and none at all.
    assert_eq!(node.send(CAPTURE, "1.2.3.4.6", &good), Some(0xA900));
    assert_eq!(node.send(CAPTURE, uid, &object("1.2.840.10008.5.1.4.1.1.2", uid)), Some(0xA900));
    assert_eq!(node.send(CAPTURE, uid, &good[..good.len() - 10]), Some(0xC000));
    assert_eq!(node.send(CAPTURE, uid, &[0xFF; 999]), Some(0xC000));
    // A class that is not the context's, an instance that is no UID, more bytes than are taken.
    assert_eq!(node.send(REPORT, uid, &good), Some(0x0122));
    assert_eq!(node.send(CAPTURE, "../../1", &good), Some(0x0117));
    assert_eq!(node.send(CAPTURE, uid, &[0; 9000]), Some(0xA700));
    assert_eq!(node.queue.waiting(), [0, 0]);
    for folder in ["tmp", "incoming"] {
        assert_eq!(entries(&node.folder.path().join(folder)), 0, "{folder}");
    }
    assert_eq!(node.send(CAPTURE, uid, &good), Some(0));
}

#[test]
fn only_those_who_may_call_are_accepted() {
    let node = Node::start(|rules| rules.allowed = ["PROBE".parse().unwrap()].into());
    for (called, calling, answer) in [
        ("RAPTOR", "PROBE", (2, None)),
        // Source 1, the user of the service: 3 and 7 for the titles that call and are called (PS3.8, 9.3.4).
        ("RAPTOR", "OTHER", (3, Some([1, 1, 3]))),
        ("OTHER", "PROBE", (3, Some([1, 1, 7]))),
    ] {
        let mut caller = Caller::call(node.address, called, calling, &[(VERIFICATION, IMPLICIT)]);
        let (kind, body) = caller.receive().unwrap();
        assert_eq!((kind, answer.1.map(|_| [body[1], body[2], body[3]])), answer, "{called} {calling}");
    }
    let any = Node::start(|rules| rules.any_called = true);
    let mut caller = Caller::call(any.address, "OTHER", "PROBE", &[(VERIFICATION, IMPLICIT)]);
    assert_eq!(caller.receive().unwrap().0, 2);
}

#[test]
fn contexts_that_cannot_be_read_are_refused() {
    let node = Node::usual();
    let contexts = [
        (CAPTURE, EXPLICIT),
        (REPORT, EXPLICIT),
        // MPEG2, and HTJ2K.
        (CAPTURE, "1.2.840.10008.1.2.4.100"),
        (CAPTURE, "1.2.840.10008.1.2.4.201"),
        ("1.2.840.10008.5.1.4.1.1.128", EXPLICIT),
        ("1.2.840.10008.5.1.4.1.1.104.1", EXPLICIT),
        (CAPTURE, "1.2.840.10008.1.2.4.90"),
    ];
    let mut caller = Caller::call(node.address, "RAPTOR", "PROBE", &contexts);
    let (kind, body) = caller.receive().unwrap();
    assert_eq!(kind, 2);
    // Items of the kind 21: number, nothing, result (PS3.8, 9.3.3.2), after 68 bytes and the application context.
    let mut results = Vec::new();
    let mut rest = &body[68..];
    while let Some((&[kind, _, a, b], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([a, b]));
        if kind == 0x21 {
            results.push((after[0], after[2]));
        }
        rest = &after[length..];
    }
    assert_eq!(results, [(1, 0), (3, 3), (5, 4), (7, 4), (9, 3), (11, 3), (13, 0)]);
    // A message in a context that was refused ends the association.
    caller.send(&data(3, true, true, &store(REPORT, "1.2.3")));
    assert_eq!(caller.receive().unwrap().0, 7, "A-ABORT");
}

#[test]
fn there_are_only_so_many_associations_and_silence_ends_them() {
    let node = Node::start(|rules| (rules.max_associations, rules.idle) = (2, Duration::from_secs(1)));
    let first = node.call(&[(VERIFICATION, IMPLICIT)]);
    // One that says nothing counts too.
    let mut silent = Caller::new(node.address);
    std::thread::sleep(Duration::from_millis(200));
    let mut third = Caller::call(node.address, "RAPTOR", "PROBE", &[(VERIFICATION, IMPLICIT)]);
    let (kind, body) = third.receive().unwrap();
    // Transient, by the provider's presentation layer, a local limit.
    assert_eq!((kind, &body[1..4]), (3, &[2, 3, 2][..]));
    let start = Instant::now();
    // A byte now and then is no PDU.
    while silent.receive().is_some() {}
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(first);
    std::thread::sleep(Duration::from_millis(200));
    assert!(node.lives());
    assert!(node.refusals().iter().any(|reason| reason.contains("nothing came for 1 s")));
}

#[test]
fn bytes_that_drip_do_not_keep_a_connection() {
    use std::io::Write;
    let node = Node::start(|rules| rules.idle = Duration::from_secs(1));
    let mut caller = Caller::new(node.address);
    let request = request("RAPTOR", "PROBE", &[(VERIFICATION, IMPLICIT)]);
    let start = Instant::now();
    for byte in request.chunks(1) {
        std::thread::sleep(Duration::from_millis(50));
        if caller.0.write_all(byte).is_err() {
            break;
        }
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(node.lives());
}

/// Good bytes of a whole association, a PDU each.
fn association() -> Vec<Vec<u8>> {
    let object = object(CAPTURE, "1.2.3.4.5");
    let (begin, end) = object.split_at(100);
    vec![
        request("RAPTOR", "PROBE", &[(CAPTURE, IMPLICIT), (VERIFICATION, IMPLICIT)]),
        data(3, true, true, &echo()),
        data(1, true, true, &store(CAPTURE, "1.2.3.4.5")),
        data(1, false, false, begin),
        data(1, false, true, end),
        pdu(5, &[0; 4]),
    ]
}

/// Changes, cuts, doubles, swaps or lengthens something.
fn damage(pdus: &mut Vec<Vec<u8>>, random: &mut ChaCha8Rng) {
    let n = random.random_range(0..pdus.len());
    let length = pdus[n].len();
    if length < 6 {
        // Cut already.
        return;
    }
    match random.random_range(0..7) {
        0 => {
            let at = random.random_range(0..length);
            pdus[n][at] = random.random();
        }
        1 => pdus[n].truncate(random.random_range(0..length)),
        2 => {
            // A length, of the PDU or of what is in it.
            let at = random.random_range(2..length.min(12) - 3);
            let huge: [u8; 4] = [0xFF, 0xFF, 0xFF, random.random()];
            pdus[n][at..at + 4].copy_from_slice(&huge);
        }
        3 => {
            let twice = pdus[n].clone();
            pdus.insert(n, twice);
        }
        4 => drop(pdus.remove(n)),
        5 => pdus[n][0] = random.random_range(0..9),
        _ => {
            let more: Vec<u8> = (0..random.random_range(1..300)).map(|_| random.random()).collect();
            pdus.insert(n, more);
        }
    }
}

#[test]
fn damaged_associations_end_and_harm_nothing() {
    let node = Node::start(|rules| rules.idle = Duration::from_secs(2));
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for round in 0..100 {
        let mut pdus = association();
        for _ in 0..random.random_range(1..4) {
            if !pdus.is_empty() {
                damage(&mut pdus, &mut random);
            }
        }
        let mut caller = Caller::new(node.address);
        caller.send(&pdus.concat());
        // The connection ends whatever came: it is closed by the node, or by us when we have sent all.
        let _ = caller.0.shutdown(std::net::Shutdown::Write);
        let start = Instant::now();
        while caller.receive().is_some() {}
        assert!(start.elapsed() < Duration::from_secs(10), "round {round}");
    }
    assert!(node.lives());
    let panics = node.refusals().into_iter().filter(|reason| reason.contains("gave up")).count();
    assert_eq!(panics, 0, "the PDU reader panicked");
    assert_eq!(entries(&node.folder.path().join("tmp")), 0);
}

#[test]
fn many_more_damaged_associations_end_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Duration::from_secs(86400);
    let queue = Arc::new(Queue::open(folder.path(), vec!["key".into()], keep, 0).unwrap());
    let rules = Rules::new("RAPTOR".parse().unwrap());
    let whole = converse(&association().concat(), queue.clone(), rules.clone()).unwrap();
    assert_eq!(whole.last_chunk(), Some(&[6, 0, 0, 0, 0, 4, 0, 0, 0, 0]), "A-RELEASE-RP");
    // More of them for a machine with time.
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3000);
    let mut random = ChaCha8Rng::seed_from_u64(rounds);
    let (mut accepted, mut panics) = (0, 0);
    for _ in 0..rounds {
        let mut pdus = association();
        for _ in 0..random.random_range(1..4) {
            if !pdus.is_empty() {
                damage(&mut pdus, &mut random);
            }
        }
        match converse(&pdus.concat(), queue.clone(), rules.clone()) {
            Ok(_) => accepted += 1,
            Err(problem) => panics += u64::from(problem.contains("gave up")),
        }
    }
    assert!(accepted > rounds / 10, "{accepted} of {rounds}");
    assert_eq!(panics, 0, "the PDU reader panicked");
    assert_eq!(entries(&folder.path().join("tmp")), 0);
}

#[test]
fn huge_lengths_allocate_nothing() {
    let node = Node::start(|rules| rules.idle = Duration::from_secs(1));
    let before = resident();
    let callers: Vec<Caller> = (0..12)
        .map(|_| {
            let mut caller = node.call(&[(CAPTURE, IMPLICIT)]);
            caller.send(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]);
            caller
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(resident() < before + (64 << 20), "{before} {}", resident());
    drop(callers);
    assert!(node.lives());
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).map_or(0, |kib: usize| kib << 10)
}

#[test]
fn random_command_sets_are_read_or_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let good = store(CAPTURE, "1.2.3.4.5");
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        if let Ok(command) = Command::read(&bytes) {
            read += 1;
            assert_eq!(Command::read(&command.write()).map(|again| again.write()), Ok(command.write()));
        }
    }
    assert!(read > 1000, "{read}");
}
