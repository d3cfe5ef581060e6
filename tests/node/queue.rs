//! The queue after the process was killed: the folder is put into every state between two steps, and opened again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use microraptor::node::{Queue, QueueError, Stored, Unsent, Work};

const DAY: Duration = Duration::from_secs(86400);
const NOW: Duration = Duration::ZERO;
const UID: &str = "1.2.826.0.1.3680043.8.498.1";
const KEYS: [&str; 2] = ["00000000000000aa", "00000000000000bb"];

fn open(root: &Path) -> Queue {
    Queue::open(root, KEYS.map(str::to_owned).to_vec(), DAY, 0).unwrap()
}

fn store(queue: &Queue, uid: &str) -> Stored {
    let mut arrival = queue.receive(uid).unwrap();
    arrival.write(b"an object").unwrap();
    queue.store(arrival, uid).unwrap()
}

/// Answers `work` with two results.
fn answer(queue: &Queue, work: &Work) {
    let folder = queue.folder(work).unwrap();
    for name in ["1.seg.dcm", "2.sr.dcm"] {
        fs::write(folder.join(name), name).unwrap();
    }
    queue.answered(work, &folder).unwrap();
}

fn unsent(queue: &Queue, key: &str) -> Vec<Unsent> {
    queue.unsent(key, &|_, _| false, NOW)
}

/// Takes everything in the queue to its end; the results that each destination got, with those that were begun before.
fn finish(queue: &Queue) -> Vec<(String, String, bool)> {
    while let Some(work) = queue.take(NOW).unwrap() {
        answer(queue, &work);
    }
    let mut sent = Vec::new();
    for key in KEYS {
        for one in unsent(queue, key) {
            queue.trying(&one, key).unwrap();
            queue.sent(&one, key).unwrap();
            sent.push((key.to_owned(), one.name, one.tried));
        }
    }
    assert_eq!(queue.waiting(), [0, 0]);
    sent
}

/// Every file and folder below `root`, but the lock.
fn tree(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.remove("lock");
    for name in ["tmp", "incoming", "outgoing", "done", "failed", "tries"] {
        found.remove(name);
    }
    found
}

#[test]
fn an_object_goes_through_the_queue_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    assert_eq!(store(&queue, UID), Stored::New);
    assert_eq!(store(&queue, UID), Stored::Duplicate);
    let work = queue.take(NOW).unwrap().unwrap();
    assert_eq!(
        (work.uid.as_str(), work.tries, fs::read(&work.path).unwrap()),
        (UID, 1, b"an object".to_vec())
    );
    answer(&queue, &work);
    assert_eq!(store(&queue, UID), Stored::Duplicate);
    let sent = finish(&queue);
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(.., again)| !again));
    assert_eq!(store(&queue, UID), Stored::Duplicate);
    assert_eq!(tree(folder.path()), BTreeSet::from([format!("done/{UID}")]));
}

#[test]
fn every_state_of_the_folder_recovers() {
    // Each line: files that are there when the process was killed, how many results are sent after the start, and how
    // many of these were begun before.
    let outgoing = |names: &[&str]| names.iter().map(|n| format!("outgoing/{UID}/{n}")).collect::<Vec<_>>();
    let results = ["1.seg.dcm", "2.sr.dcm"];
    let marker = |name: &str, key: &str, ending: &str| format!("{name}.{key}.{ending}");
    let [a, b] = KEYS;
    let some = [marker(results[0], a, "sent"), marker(results[1], a, "try")];
    let all: Vec<String> =
        results.iter().flat_map(|name| KEYS.map(|key| marker(name, key, "sent"))).collect();
    let with = |more: &[String]| {
        let names: Vec<&str> = results.into_iter().chain(more.iter().map(String::as_str)).collect();
        outgoing(&names)
    };
    let incoming = format!("incoming/{UID}.dcm");
    let done = format!("done/{UID}");
    let cases: Vec<(&str, Vec<String>, usize, usize)> = vec![
        ("received in part", vec![format!("tmp/1-{UID}")], 0, 0),
        ("stored", vec![incoming.clone()], 4, 0),
        ("taken", vec![incoming.clone(), format!("tries/{UID}")], 4, 0),
        ("answered in part", vec![incoming.clone(), format!("tmp/2-{UID}/1.seg.dcm")], 4, 0),
        ("answered", [with(&[]), vec![incoming.clone(), format!("tries/{UID}")]].concat(), 4, 0),
        ("object removed", [with(&[]), vec![format!("tries/{UID}")]].concat(), 4, 0),
        ("trying", with(&[marker(results[0], b, "try")]), 4, 1),
        ("sent in part", with(&some), 3, 1),
        ("all sent", with(&all), 0, 0),
        ("done", [with(&all), vec![done.clone()]].concat(), 0, 0),
        ("removed in part", [outgoing(&results[1..]), vec![done.clone()]].concat(), 0, 0),
        ("removed", vec![done.clone()], 0, 0),
        // A power cut brings back what was removed last.
        ("done, and the object is back", vec![done.clone(), incoming.clone()], 0, 0),
        ("put aside in part", vec![incoming.clone(), format!("failed/{UID}.txt")], 4, 0),
    ];
    for (name, files, sent, again) in cases {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        for file in &files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
        let queue = open(folder.path());
        let got = finish(&queue);
        assert_eq!(got.len(), sent, "{name}: {got:?}");
        assert_eq!(got.iter().filter(|(.., again)| *again).count(), again, "{name}");
        let left = if name == "received in part" { BTreeSet::new() } else { BTreeSet::from([done.clone()]) };
        let mut found = tree(folder.path());
        found.remove(&format!("tries/{UID}"));
        assert_eq!(found, left, "{name}");
        // What was acknowledged is known, and what was not is new.
        let expected = if name == "received in part" { Stored::New } else { Stored::Duplicate };
        assert_eq!(store(&queue, UID), expected, "{name}");
    }
}

#[test]
fn a_destination_that_is_gone_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    answer(&queue, &work);
    for one in unsent(&queue, KEYS[0]) {
        assert!(!queue.sent(&one, KEYS[0]).unwrap());
    }
    drop(queue);
    let queue = Queue::open(folder.path(), vec![KEYS[0].to_owned()], DAY, 0).unwrap();
    assert_eq!(queue.waiting(), [0, 0]);
    assert_eq!(tree(folder.path()), BTreeSet::from([format!("done/{UID}")]));
}

/// Of the results of an object, one that is put off does not hold up the others.
#[test]
fn results_are_put_off_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    answer(&queue, &work);
    let found = queue.unsent(KEYS[0], &|uid, name| (uid, name) == (UID, "1.seg.dcm"), NOW);
    assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["2.sr.dcm"]);
}

/// A step after the rename may have failed: the answer is given again.
#[test]
fn an_answer_takes_the_place_of_one_that_was_half_given() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    let half = folder.path().join("outgoing").join(UID);
    fs::create_dir(&half).unwrap();
    fs::write(half.join("1.seg.dcm"), "as before").unwrap();
    answer(&queue, &work);
    assert_eq!(fs::read_to_string(half.join("1.seg.dcm")).unwrap(), "1.seg.dcm");
    assert_eq!(finish(&queue).len(), 4);
}

/// An object without results is done, with the next look at the queue.
#[test]
fn an_object_without_results_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    let results = queue.folder(&work).unwrap();
    queue.answered(&work, &results).unwrap();
    assert_eq!(queue.waiting(), [0, 1]);
    assert!(queue.take(NOW).unwrap().is_none());
    assert_eq!(queue.waiting(), [0, 0]);
    assert_eq!(tree(folder.path()), BTreeSet::from([format!("done/{UID}")]));
}

#[test]
fn what_failed_is_kept_and_tried_again_when_it_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    queue.failed(&work, "holds no pixel data").unwrap();
    assert!(queue.take(NOW).unwrap().is_none());
    let reason = folder.path().join(format!("failed/{UID}.txt"));
    assert_eq!(fs::read_to_string(&reason).unwrap(), "holds no pixel data\n");
    assert_eq!(store(&queue, UID), Stored::New);
    assert!(!reason.exists());
    finish(&queue);
}

#[test]
fn an_object_that_somebody_took_away_does_not_hold_the_queue_up() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, UID);
    let work = queue.take(NOW).unwrap().unwrap();
    fs::remove_file(&work.path).unwrap();
    queue.failed(&work, "cannot be read").unwrap();
    assert!(queue.take(NOW).unwrap().is_none());
}

#[test]
fn tries_are_counted_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for tries in 1..=6 {
        let queue = open(folder.path());
        if tries == 1 {
            store(&queue, UID);
        }
        let work = queue.take(NOW).unwrap().unwrap();
        assert_eq!(work.tries, tries);
        if tries == 6 {
            queue.forgive(&work);
            assert_eq!(queue.take(NOW).unwrap().unwrap().tries, 6);
        }
    }
}

#[test]
fn what_is_done_is_forgotten_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Duration::from_millis(50);
    let open = || Queue::open(folder.path(), KEYS.map(str::to_owned).to_vec(), keep, 0).unwrap();
    let queue = open();
    store(&queue, UID);
    finish(&queue);
    assert_eq!(store(&queue, UID), Stored::Duplicate);
    drop(queue);
    std::thread::sleep(2 * keep);
    let queue = open();
    assert!(queue.take(NOW).unwrap().is_none());
    assert_eq!(tree(folder.path()), BTreeSet::new());
    assert_eq!(store(&queue, UID), Stored::New);
}

#[test]
fn a_queue_belongs_to_one_process_and_refuses_wrong_names() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let second = Queue::open(folder.path(), Vec::new(), DAY, 0);
    assert!(matches!(second, Err(QueueError::Taken(_))));
    for wrong in ["", "../1", "1/2", "1..2", &"1".repeat(65)] {
        assert!(matches!(queue.receive(wrong), Err(QueueError::Uid(_))), "{wrong}");
    }
    drop(queue);
    let full = Queue::open(folder.path(), Vec::new(), DAY, u64::MAX).unwrap();
    assert!(full.receive(UID).unwrap_err().is_full());
}

#[test]
fn objects_that_come_at_once_are_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let stored: Vec<Stored> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store(&queue, UID))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(stored.iter().filter(|stored| **stored == Stored::New).count(), 1);
    assert_eq!(finish(&queue).len(), 4);
}
