//! Messages of pyigtl (tests/reference/make_igtl.py) are read; connections on this machine are lost, made again and
//! flooded.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::message::{HEADER, Header, Stamp, message, string};
use super::*;
use crate::input::{InputError, LabelMap, ReadOptions, Spacing, Window};
use crate::live::source::{Frame, Grabbed, Source};
use crate::live::view::Turn;

const LONG: Duration = Duration::from_secs(60);

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/igtl");
    std::fs::read(format!("{folder}/{name}.igtl")).unwrap()
}

fn read_with(bytes: &[u8], options: &ReadOptions) -> Vec<Result<IgtlMessage, InputError>> {
    let mut reader = IgtlReader::new("probe", bytes, options);
    std::iter::from_fn(|| reader.next(&mut |_| true).transpose()).collect()
}

/// The only message, which is a picture.
fn picture(bytes: &[u8], options: &ReadOptions) -> IgtlPicture {
    let mut all = read_with(bytes, options);
    match (all.len(), all.pop()) {
        (1, Some(Ok(IgtlMessage::Picture(picture)))) => picture,
        (count, last) => panic!("{count} messages, the last one {last:?}"),
    }
}

/// What is wrong with the only message.
fn lost(bytes: &[u8]) -> String {
    let mut all = read_with(bytes, &ReadOptions::default());
    match (all.len(), all.pop()) {
        (1, Some(Ok(IgtlMessage::Lost(problem)))) => problem.to_string(),
        (count, last) => panic!("{count} messages, the last one {last:?}"),
    }
}

/// A message of pyigtl, with bytes of its body changed and the sum made right.
fn changed(name: &str, changes: &[(usize, &[u8])]) -> Vec<u8> {
    let bytes = golden(name);
    let mut body = bytes[HEADER..].to_vec();
    for (at, new) in changes {
        body[*at..at + new.len()].copy_from_slice(new);
    }
    message("IMAGE", "Probe", Stamp(0), &body)
}

#[test]
fn pictures_of_each_kind_are_read() {
    let grey = picture(&golden("grey"), &ReadOptions::default());
    let counted: Vec<u8> = (0..80).collect();
    assert_eq!((grey.image.width(), grey.image.height()), (10, 8));
    assert_eq!(grey.image.pixels().as_bytes(), counted);
    let Some(Spacing { slices: None, rows, columns }) = grey.geometry.spacing else { panic!("it is known") };
    assert!((rows - 0.2).abs() < 1e-7 && (columns - 0.3).abs() < 1e-7, "{rows} {columns}");
    assert_eq!((grey.place.stamp, grey.place.coordinates), (Stamp((1_700_000_000 << 32) | (1 << 31)), 2));
    assert!(grey.exposed.elapsed() < LONG, "a time years ago is not that of the exposure");

    let colours: Vec<u8> = (0..240).collect();
    let rgb = picture(&golden("rgb-metadata"), &ReadOptions::default());
    assert_eq!((rgb.image.pixels().as_bytes(), rgb.place.coordinates), (&colours[..], 1));
    let rgba = picture(&golden("rgba"), &ReadOptions::default());
    let colours: Vec<u8> = (0..320_u16).filter(|at| at % 4 != 3).map(|at| at as u8).collect();
    assert_eq!(rgba.image.pixels().as_bytes(), colours);

    // 20 times the place, less 1000, in the window from -160 to 240.
    let window = Some(Window { center: 40.0, width: 400.0 });
    let options = ReadOptions { window, ..ReadOptions::default() };
    for name in ["int16-little", "float32-big"] {
        let image = picture(&golden(name), &options).image;
        let mut row = [0.0; 10];
        image.read_row(4, &mut row);
        let expected = |x: usize| ((20.0 * (40 + x) as f32 - 840.0) / 400.0).clamp(0.0, 1.0);
        assert!(row.iter().enumerate().all(|(x, &v)| (v - expected(x)).abs() < 1e-4), "{name} {row:?}");
    }
}

#[test]
fn a_spacing_that_is_none_is_not_known() {
    let spacing = |values: &[(usize, f32)]| {
        let bytes: Vec<_> = values.iter().map(|(at, value)| (12 + 4 * at, value.to_be_bytes())).collect();
        let changes: Vec<(usize, &[u8])> = bytes.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        picture(&changed("grey", &changes), &ReadOptions::default()).geometry.spacing
    };
    assert!(spacing(&[(0, 0.5)]).is_some());
    assert_eq!(spacing(&[(0, 1.0), (4, 1.0)]), None, "what a sender states that knows none");
    assert_eq!(spacing(&[(0, f32::NAN)]), None);
    assert_eq!(spacing(&[(4, f32::INFINITY)]), None);
    assert_eq!(spacing(&[(0, 0.0)]), None);
    assert_eq!(spacing(&[(1, 0.1)]), None, "rows and columns are not at right angles");
    // Turned by 90 degrees in space, rows and columns are what they were.
    let turned = spacing(&[(0, 0.0), (1, 0.3), (3, 0.2), (4, 0.0)]).unwrap();
    assert!((turned.rows - 0.2).abs() < 1e-7 && (turned.columns - 0.3).abs() < 1e-7);
}

#[test]
fn what_cannot_be_answered_honestly_is_refused() {
    assert!(lost(&golden("volume")).contains("10x8x3: send single pictures"));
    assert!(lost(&golden("two-components")).contains("has 2 components"));
    assert!(lost(&golden("int16-little")).contains("trained with --window"));
    let part: [(usize, &[u8]); 2] = [(66, &[0, 5]), (60, &[0, 1])];
    for (at, new, problem) in [
        (part[0].0, part[0].1, "sub-volume"),
        (part[1].0, part[1].1, "sub-volume"),
        (3, &[9], "unknown type 9"),
        (4, &[3], "byte order 3"),
        (5, &[0], "coordinate system 0"),
        (6, &[0, 7, 0, 8, 0, 1, 0], "sub-volume"),
    ] {
        let message = lost(&changed("grey", &[(at, new)]));
        assert!(message.starts_with("probe: IMAGE 'Probe': ") && message.contains(problem), "{message}");
    }
    // Other sizes than there are pixels for, and pictures too small.
    let sized =
        |size: [u8; 2]| changed("grey", &[(6, &[0, size[0], 0, size[1]]), (66, &[0, size[0], 0, size[1]])]);
    assert!(lost(&sized([10, 9])).contains("has 80 bytes of pixels"));
    assert!(lost(&sized([20, 4])).contains("20x4 px"));
    assert!(lost(&message("IMAGE", "Probe", Stamp(0), &[0; 71])).contains("ends within its header"));
    let large =
        [&message("IMAGE", "Probe", Stamp(0), &[])[..42], &(65_u64 << 20).to_be_bytes(), &[0; 8]].concat();
    let mut all = IgtlReader::new(
        "probe",
        large.chain(std::io::repeat(0)).take(58 + (65 << 20)),
        &ReadOptions::default(),
    );
    let Ok(Some(IgtlMessage::Lost(problem))) = all.next(&mut |_| true) else { panic!("it is too large") };
    assert!(problem.to_string().contains("at most 67108864"), "{problem}");
}

/// After one wrong byte the next message is found; after half a message none is.
#[test]
fn damage_is_told() {
    let mut bytes = golden("grey");
    bytes[200] ^= 1;
    bytes.extend(golden("several"));
    let mut all = read_with(&bytes, &ReadOptions::default()).into_iter();
    let Some(Ok(IgtlMessage::Lost(problem))) = all.next() else { panic!("its sum is wrong") };
    assert!(problem.to_string().contains("wrong checksum"), "{problem}");
    let kinds: Vec<String> = all
        .map(|message| match message.unwrap() {
            IgtlMessage::Picture(_) => "picture".into(),
            IgtlMessage::Other { kind, device } => format!("{kind} {device}"),
            IgtlMessage::Lost(problem) => panic!("{problem}"),
        })
        .collect();
    assert_eq!(kinds, ["TRANSFORM ProbeToTracker", "picture", "STRING Text", "picture", "picture"]);

    let whole = golden("rgb-metadata");
    for cut in 1..whole.len() {
        let mut all = read_with(&whole[..cut], &ReadOptions::default());
        assert_eq!(all.len(), 1);
        let message = all.remove(0).unwrap_err().to_string();
        assert!(message.contains("ended within a message"), "{cut}: {message}");
    }
    for noise in
        ["HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX: y\r\n".into(), "\0".repeat(80)]
    {
        let message = read_with(noise.as_bytes(), &ReadOptions::default()).remove(0).unwrap_err().to_string();
        assert!(message.contains("no OpenIGTLink"), "{message}");
    }
}

/// Listens at a port that the system chooses.
fn listening() -> (IgtlSource, TcpStream) {
    let address = "igtl-listen://:0".parse().unwrap();
    let source = IgtlSource::open(&address, None, &ReadOptions::default()).unwrap();
    let stream = connect(&source.peers());
    (source, stream)
}

fn connect(peers: &IgtlPeers) -> TcpStream {
    let stream = TcpStream::connect(peers.local().unwrap()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn frame(source: &mut IgtlSource) -> Frame {
    match source.next().unwrap() {
        Some(Grabbed::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

fn receive(stream: &mut TcpStream) -> (Header, Vec<u8>) {
    let mut bytes = [0; HEADER];
    stream.read_exact(&mut bytes).unwrap();
    let header = Header::parse(&bytes).unwrap();
    let mut body = vec![0; header.body as usize];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(super::message::sum(&body), header.crc);
    (header, body)
}

#[test]
fn answers_go_to_all_and_pictures_come_from_one() {
    let (mut source, mut probe) = listening();
    let peers = source.peers();
    peers.say("started", true);
    // A device that sends none that can be read holds no other up.
    let volume = golden("volume")[HEADER..].to_vec();
    probe.write_all(&message("IMAGE", "Volumes", Stamp(0), &volume)).unwrap();
    assert!(matches!(source.next().unwrap(), Some(Grabbed::Lost { number: 1, .. })));
    probe.write_all(&golden("grey")).unwrap();
    assert_eq!((frame(&mut source).number, receive(&mut probe).0.kind.as_str()), (2, "STRING"));
    let mut slicer = connect(&peers);
    assert_eq!(receive(&mut slicer).1, b"\0\x03\0\x07started");
    // Pictures of a second peer or a second device would be mixed with those of the first.
    slicer.write_all(&golden("grey")).unwrap();
    slicer.write_all(&message("GET_STATUS", "", Stamp(0), &[])).unwrap();
    let (header, body) = receive(&mut slicer);
    assert_eq!((header.kind.as_str(), &body[..2]), ("STATUS", &[0, 13][..]), "not ready");
    probe.write_all(&golden("several")).unwrap();
    assert_eq!(frame(&mut source).number, 3);
    let last = frame(&mut source);
    assert_eq!(
        (last.number, last.image.pixels().as_bytes().len()),
        (4, 240),
        "that of 'Other' is passed over"
    );

    let map = LabelMap::new(1, 10, 8, (0..80).collect()).unwrap();
    peers.status(IgtlStatus::Answering);
    peers.answer(4, Some("{}"), &[(2, &map)], Turn::Quarter);
    for stream in [&mut probe, &mut slicer] {
        assert_eq!(receive(stream).0.kind, "STATUS");
        let (text, content) = receive(stream);
        assert_eq!((text.device.as_str(), &content[..]), ("microraptor", &b"\0\x03\0\x02{}"[..]));
        let (mask, content) = receive(stream);
        assert_eq!((mask.kind.as_str(), mask.device.as_str()), ("IMAGE", "microraptor-mask-2"));
        assert_eq!(mask.stamp, Stamp((1_700_000_000 << 32) | (1 << 31)));
        // The header is that of the picture, but for its three components and its version.
        let sent = golden("rgb-metadata");
        assert_eq!((content[2], &content[5..72]), (1, &sent[HEADER + 12 + 5..HEADER + 12 + 72]));
        assert_eq!(content[72], map.labels[7], "turned back");
    }
    slicer.write_all(&message("GET_CAPABIL", "", Stamp(0), &[])).unwrap();
    let (header, body) = receive(&mut slicer);
    assert_eq!((header.kind.as_str(), body.len(), &body[..5]), ("CAPABILITY", 72, &b"IMAGE"[..]));
    // When the first one goes, the next takes its place.
    drop(probe);
    let started = Instant::now();
    while peers.link().lock().feeds() {
        assert!(started.elapsed() < LONG);
    }
    slicer.write_all(&golden("grey")).unwrap();
    assert_eq!(frame(&mut source).number, 5);
    assert_eq!(peers.left_out(), 0);
}

#[test]
fn a_lost_connection_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Nobody is there at first.
    drop(listener);
    let address = format!("igtl://127.0.0.1:{port}").parse().unwrap();
    let mut source = IgtlSource::open(&address, Some("Probe".into()), &ReadOptions::default()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let whole = golden("grey");
    // Ends that are in order, within a message, and after what is no message.
    for (count, end) in [&b""[..], &whole[..100], &[b'x'; 58]].into_iter().enumerate() {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&golden("several")).unwrap();
        let numbers = [frame(&mut source).number, frame(&mut source).number];
        assert_eq!(numbers, [2 * count as u64 + 1, 2 * count as u64 + 2]);
        stream.write_all(end).unwrap();
    }
}

/// Whoever does not read is left out, and nobody waits for it.
#[test]
fn a_slow_peer_is_not_waited_for() {
    let (mut source, mut probe) = listening();
    let peers = source.peers();
    let large = "x".repeat(60_000);
    let started = Instant::now();
    for number in 1..=400 {
        probe.write_all(&golden("grey")).unwrap();
        assert_eq!(frame(&mut source).number, number);
        peers.answer(number, Some(&large), &[], Turn::None);
        peers.say("event", false);
    }
    assert!(started.elapsed() < LONG);
    assert!(peers.left_out() > 100, "{}", peers.left_out());
    // A text that no STRING holds is left out too.
    let before = peers.left_out();
    peers.say(&"x".repeat(70_000), false);
    assert!(peers.left_out() > before && string("d", Stamp(0), &large).is_some());
}

#[test]
fn only_so_many_connect() {
    let (source, mut first) = listening();
    let peers = source.peers();
    peers.say("started", true);
    let mut others: Vec<TcpStream> = (0..9).map(|_| connect(&peers)).collect();
    let told = |stream: &mut TcpStream| stream.read(&mut [0; 100]).unwrap() > 0;
    assert!(told(&mut first));
    assert_eq!(others.iter_mut().filter_map(|stream| told(stream).then_some(())).count(), 7);
    // One goes, and another has its place.
    drop(first);
    let started = Instant::now();
    while !told(&mut connect(&peers)) {
        assert!(started.elapsed() < LONG);
    }
}

/// A peer that stops within a message is given up, and others can send.
#[test]
fn a_peer_that_is_silent_within_a_message_is_given_up() {
    let (mut source, mut probe) = listening();
    probe.write_all(&golden("grey")[..150]).unwrap();
    let started = Instant::now();
    let mut byte = [0];
    assert_eq!(probe.read(&mut byte).unwrap(), 0, "it was closed");
    assert!(started.elapsed() > Duration::from_secs(4));
    let mut other = connect(&source.peers());
    other.write_all(&golden("grey")).unwrap();
    assert_eq!(frame(&mut source).number, 1);
}
