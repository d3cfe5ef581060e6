//! The sender: a destination that is down, that breaks off, and that refuses; the destination is a listener of ours where
//! it takes objects, whose class it must know, or a socket where it does not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use microraptor::node::{AeTitle, Destination, Event, Queue, Retry, Sender};

use super::wire::pdu;

/// A report, as far as C-STORE is concerned.
fn write_result(path: &Path) {
    let class = "1.2.840.10008.5.1.4.1.1.88.22";
    let mut object = InMemDicomObject::new_empty();
    for (tag, value) in [(tags::SOP_CLASS_UID, class), (tags::SOP_INSTANCE_UID, "2.25.7")] {
        object.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(value)));
    }
    let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
    object.with_meta(meta).unwrap().write_to_file(path).unwrap();
}

/// A queue with an object whose result is to be sent to `destination`.
fn queue(folder: &Path, destination: &Destination) -> Arc<Queue> {
    let keep = Duration::from_secs(86400);
    let queue = Queue::open(folder, vec![destination.key()], keep, 0).unwrap();
    let mut arrival = queue.receive("1.2.3").unwrap();
    arrival.write(b"object").unwrap();
    queue.store(arrival, "1.2.3").unwrap();
    let work = queue.take(Duration::ZERO).unwrap().unwrap();
    let results = queue.folder(&work).unwrap();
    write_result(&results.join("1.sr.dcm"));
    queue.answered(&work, &results).unwrap();
    Arc::new(queue)
}

/// Answers a request for an association: the first context is accepted with Explicit VR, or none.
fn accept(socket: &mut std::net::TcpStream, contexts: &[(u8, u8)]) {
    read_pdu(socket);
    let item = |kind: u8, body: &[u8]| [&[kind, 0], &(body.len() as u16).to_be_bytes()[..], body].concat();
    let mut body = [&[0, 1, 0, 0][..], &[b' '; 32], &[0; 32]].concat();
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (number, result) in contexts {
        let syntax = item(0x40, b"1.2.840.10008.1.2.1");
        body.extend(item(0x21, &[&[*number, 0, *result, 0], &syntax[..]].concat()));
    }
    body.extend(item(0x50, &item(0x51, &16384_u32.to_be_bytes())));
    socket.write_all(&pdu(2, &body)).unwrap();
}

fn read_pdu(socket: &mut std::net::TcpStream) -> u8 {
    let mut head = [0; 6];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize];
    socket.read_exact(&mut body).unwrap();
    head[0]
}

/// Answers a C-STORE with `status`.
fn respond(socket: &mut std::net::TcpStream, message: u16, status: u16) {
    let element = super::wire::element;
    let response = [
        element(0, 0x0100, &0x8001_u16.to_le_bytes()),
        element(0, 0x0120, &message.to_le_bytes()),
        element(0, 0x0800, &0x0101_u16.to_le_bytes()),
        element(0, 0x0900, &status.to_le_bytes()),
    ];
    socket.write_all(&super::wire::data(3, true, true, &response.concat())).unwrap();
}

#[test]
fn a_result_is_sent_until_it_is_taken_and_then_never_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let destination: Destination = format!("ARCHIVE@127.0.0.1:{port}").parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(folder.path(), &destination);
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let kept = events.clone();
    let millis = Duration::from_millis;
    let retry = Retry { first: millis(50), most: millis(200), patience: millis(2000) };
    let title: AeTitle = "RAPTOR".parse().unwrap();
    let report = Arc::new(move |event| kept.lock().unwrap().push(event));
    let sender = Sender::start(queue.clone(), destination, title, None, retry, report).unwrap();

    // It hangs up at once; then it takes no context of the result; then it breaks off before the answer.
    drop(listener.accept().unwrap());
    let (mut socket, _) = listener.accept().unwrap();
    accept(&mut socket, &[(1, 0), (3, 3)]);
    let _ = read_pdu(&mut socket);
    drop(socket);
    let (mut socket, _) = listener.accept().unwrap();
    accept(&mut socket, &[(1, 0), (3, 0)]);
    assert_eq!([read_pdu(&mut socket), read_pdu(&mut socket)], [4, 4]);
    drop(socket);
    // It refuses; then it takes it, with a warning.
    let (mut socket, _) = listener.accept().unwrap();
    accept(&mut socket, &[(1, 0), (3, 0)]);
    assert_eq!([read_pdu(&mut socket), read_pdu(&mut socket)], [4, 4]);
    respond(&mut socket, 1, 0xA700);
    drop(socket);
    let (mut socket, _) = listener.accept().unwrap();
    accept(&mut socket, &[(1, 0), (3, 0)]);
    assert_eq!([read_pdu(&mut socket), read_pdu(&mut socket)], [4, 4]);
    respond(&mut socket, 1, 0xB000);

    let start = Instant::now();
    while queue.waiting() != [0, 0] {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", events.lock().unwrap());
        std::thread::sleep(millis(10));
    }
    sender.stop(Duration::from_secs(3));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing is sent again");
    let events = events.lock().unwrap();
    let sent: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Sent { .. })).collect();
    let [Event::Sent { object, result, status, .. }] = sent[..] else { panic!("{events:?}") };
    assert_eq!((object.as_str(), result.as_str(), status.as_str()), ("1.2.3", "2.25.7", "B000"));
    let problems: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Unsent { problem, .. } => Some(problem.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        problems.iter().any(|problem| problem.contains("does not take objects of the class")),
        "{problems:?}"
    );
    assert!(problems.iter().any(|problem| problem.contains("status A700")), "{problems:?}");
}
