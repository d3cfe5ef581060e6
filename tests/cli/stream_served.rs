//! What `stream` serves over the network: metrics, and the page. The clients here know no more than TCP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::common::*;
use super::stream::{Bench, Running};

const LONG: Duration = Duration::from_secs(60);

/// The URL of the next line, which says `what` listens; host with port, and path.
fn listening(running: &mut Running, what: &str) -> (String, String) {
    let line = running.next();
    assert_eq!((&line["event"], &line["what"]), (&"listening".into(), &what.into()));
    let url = line["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let (host, path) = url.split_once('/').unwrap();
    (host.to_owned(), format!("/{path}"))
}

fn connect(host: &str) -> TcpStream {
    let (_, port) = host.rsplit_once(':').unwrap();
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends bytes, and reads the answer to its end: status, head and body.
fn answer(host: &str, request: &str) -> (u16, String, String) {
    let mut stream = connect(host);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

fn get(host: &str, path: &str) -> (u16, String, String) {
    answer(host, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn metrics_are_those_of_the_lines() {
    let bench = Bench::new();
    let mut running =
        bench.start(&["--policy", "every", "--deadline", "60000", "--metrics", "0", "--stall", "0.3"]);
    let (host, path) = listening(&mut running, "metrics");
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    let mut ages = Vec::new();
    let mut line = serde_json::Value::Null;
    for number in 0..4 {
        running.send(&bench.picture(number));
        line = running.next();
        ages.push(line["ms"]["age"].as_f64().unwrap() / 1e3);
    }
    running.send(&bench.picture(4)[..300]);
    running.send(&bench.picture(5));
    assert_eq!(running.next()["event"], "lost");
    ages.push(running.next()["ms"]["age"].as_f64().unwrap() / 1e3);
    assert_eq!(running.next()["event"], "stalled");
    let (status, head, body) = get(&host, &path);
    assert_eq!(status, 200);
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    let value = |sample: &str| -> f64 {
        let found = body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{sample} is not in {body}")).parse().unwrap()
    };
    for (name, count) in
        [("", 6.0), ("_answered", 5.0), ("_withheld", 0.0), ("_dropped", 0.0), ("_lost", 1.0), ("_late", 0.0)]
    {
        assert_eq!(value(&format!("microraptor_frames{name}_total")), count, "{name}");
    }
    for bound in [0.001, 0.005, 0.033, 0.1, 5.0] {
        let below = ages.iter().filter(|&&age| age <= bound).count() as f64;
        assert_eq!(
            value(&format!("microraptor_age_seconds_bucket{{le=\"{bound}\"}}")),
            below,
            "{bound} {ages:?}"
        );
    }
    assert!((value("microraptor_age_seconds_sum") - ages.iter().sum::<f64>()).abs() < 1e-9);
    assert_eq!(value("microraptor_stage_seconds_count{stage=\"backbone\"}"), 5.0);
    assert_eq!(
        (value("microraptor_stalled"), value("microraptor_stuck"), value("microraptor_deadline_seconds")),
        (1.0, 0.0, 60.0)
    );
    assert!(value("microraptor_since_last_frame_seconds") >= 0.3);
    assert!(value("process_resident_memory_bytes") > 1e6);
    let digest = line["heads"][0]["sha256"].as_str().unwrap();
    assert_eq!(
        value(&format!("microraptor_head_info{{place=\"1\",head=\"head\",sha256=\"{digest}\"}}")),
        1.0
    );
    let folder = bench.path("");
    assert!(!body.contains(folder.to_str().unwrap()), "a path may name a patient");
    running.finish();
}

#[test]
fn what_is_no_request_of_ours_is_refused() {
    let bench = Bench::new();
    let mut running = bench.start(&["--metrics", "127.0.0.1:0"]);
    let (host, _) = listening(&mut running, "metrics");
    assert_eq!(get(&host, "/").0, 404);
    let status = |request: &str| answer(&host, request).0;
    assert_eq!(status("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405);
    // Another site's name, which resolves to this machine.
    assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n"), 403);
    assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), 403);
    assert_eq!(status("\u{16}\u{3}\u{1}\u{2}\r\n\r\n"), 400);
    let field = format!("A: {}\r\n", "a".repeat(20_000));
    assert_eq!(status(&format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")), 431);
    let taken =
        failure(&[&"stream", &tiny_model(), &"--head", &bench.path("head.safetensors"), &"--metrics", &host]);
    assert!(taken.contains(&format!("--metrics {host}: cannot listen there")), "{taken}");
    running.finish();
}

/// Connections that say nothing, or a byte now and then, neither hold frames up nor keep others out for long.
#[test]
fn idle_connections_hold_nothing_up() {
    let bench = Bench::new();
    let mut running = bench.start(&["--policy", "every", "--metrics", "0"]);
    let (host, path) = listening(&mut running, "metrics");
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect(&host)).collect();
    let threads = format!("/proc/{}/task", running.child.id());
    let started = Instant::now();
    for number in 0..20 {
        running.send(&bench.picture(number));
        assert_eq!(running.next()["event"], "frame");
        // Those that are closed already answer with an error.
        idle.iter_mut().for_each(|stream| drop(stream.write(b"G")));
    }
    if !emulated() {
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        let count = std::fs::read_dir(&threads).unwrap().count();
        assert!(count < 24 + 20, "{count} threads");
    }
    // The first ones are given up after five seconds, whatever they still send.
    let started = Instant::now();
    loop {
        let mut stream = connect(&host);
        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 OK\r\n") {
            break;
        }
        assert!(started.elapsed() < LONG, "nobody else is answered");
        idle.iter_mut().for_each(|stream| drop(stream.write(b"E")));
        std::thread::sleep(Duration::from_millis(200));
    }
    running.finish();
}

#[cfg(not(feature = "page"))]
#[test]
fn a_build_without_the_page_says_so() {
    let bench = Bench::new();
    let message = failure(&[
        &"stream",
        &tiny_model(),
        &"--head",
        &bench.path("head.safetensors"),
        &"--live-page",
        &"0",
    ]);
    assert!(message.contains("--features page"), "{message}");
}

#[cfg(feature = "page")]
mod page {
    use std::io::{BufRead, BufReader};

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    /// Somebody who looks.
    struct Viewer(BufReader<TcpStream>);

    impl Viewer {
        /// Looks, and is told of what is there.
        fn new(host: &str, query: &str) -> Viewer {
            let mut stream = connect(host);
            stream
                .write_all(format!("GET /events{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
                .unwrap();
            let mut viewer = Viewer(BufReader::new(stream));
            let (mut head, mut line) = (String::new(), String::new());
            while line != "\r\n" {
                line.clear();
                viewer.0.read_line(&mut line).unwrap();
                head.push_str(&line);
            }
            assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{head}");
            assert!(!head.to_lowercase().contains("access-control"), "{head}");
            viewer.next();
            viewer
        }

        fn next(&mut self) -> Value {
            let mut line = String::new();
            while !line.starts_with("data: ") {
                line.clear();
                assert!(self.0.read_line(&mut line).unwrap() > 0, "more is told");
            }
            json(&line[6..])
        }

        /// The next message of which `of` is true.
        fn until(&mut self, of: impl Fn(&Value) -> bool) -> Value {
            let started = Instant::now();
            loop {
                let message = self.next();
                if of(&message) {
                    return message;
                }
                assert!(started.elapsed() < LONG, "{message}");
            }
        }
    }

    #[test]
    fn a_viewer_sees_the_newest_frame_with_its_values_and_no_name() {
        let bench = Bench::new();
        let watched = bench.path("Doe^Jane");
        std::fs::create_dir(&watched).unwrap();
        let options =
            [watched.to_str().unwrap(), "--live-page", "0", "--stall", "0.5", "--on-stall", "blank"];
        let mut running = bench.start_on(&options, &[]);
        let (host, path) = listening(&mut running, "live-page");
        assert_eq!(path, "/");
        let mut viewer = Viewer::new(&host, "");
        std::fs::write(watched.join("Roe^Mary.png"), bench.picture(0)).unwrap();
        let line = running.next();
        assert!(line["file"].as_str().unwrap().contains("Roe^Mary"), "{line}");
        let message = viewer.until(|message| !message["picture"].is_null());
        let picture = &message["picture"];
        for name in ["frame", "exposed", "picture", "dropped", "ms"] {
            assert_eq!(picture["said"][name], line[name], "{name}");
        }
        assert_eq!(picture["said"]["heads"][0]["probabilities"], line["heads"][0]["probabilities"]);
        assert_eq!(
            (&picture["said"]["heads"][0]["head"], &message["told"]["state"]),
            (&"head".into(), &"running".into())
        );
        assert_eq!(message["told"]["counts"]["answered"], 1);
        let shown = image::load_from_memory(&STANDARD.decode(picture["jpeg"].as_str().unwrap()).unwrap())
            .unwrap()
            .into_luma8();
        let sent = image::load_from_memory(&bench.picture(0)).unwrap().into_luma8();
        assert_eq!(shown.dimensions(), sent.dimensions());
        let differences = shown.pixels().zip(sent.pixels()).map(|(a, b)| u64::from(a.0[0].abs_diff(b.0[0])));
        let mean = differences.sum::<u64>() as f64 / f64::from(sent.width() * sent.height());
        assert!(mean < 8.0, "{mean}");
        std::fs::write(watched.join("Roe^Mary2.png"), &bench.picture(1)[..90]).unwrap();
        assert_eq!(running.next()["event"], "lost");
        let lost = viewer.until(|message| message["told"]["counts"]["lost"] == 1);
        assert_eq!(running.next()["event"], "stalled");
        let stalled = viewer.until(|message| message["told"]["state"] == "stalled");
        assert_eq!(stalled["told"]["blank"], true);
        for message in [message, lost, stalled] {
            let text = message.to_string();
            assert!(
                !text.contains("Doe") && !text.contains("Roe") && !text.contains("head.safetensors"),
                "{text}"
            );
        }
        std::fs::remove_dir_all(&watched).unwrap();
        assert_eq!(
            viewer.until(|message| message["told"]["state"] == "ended")["told"]["counts"]["frames"],
            2
        );
        running.finish();
    }

    #[test]
    fn only_the_secret_opens_it_to_other_machines() {
        let bench = Bench::new();
        let mut running = bench.start(&["--live-page", "0.0.0.0:0"]);
        let (host, path) = listening(&mut running, "live-page");
        let token = path.strip_prefix("/?token=").unwrap();
        assert!(token.len() == 32 && !host.starts_with("0.0.0.0"), "{host}{path}");
        let wrong = format!("{}0", &token[..31]).replace('0', "1");
        for refused in
            ["/", "/events", "/?token=", &format!("/?token={wrong}"), &format!("/events?token={wrong}")]
        {
            assert_eq!(get(&host, refused).0, 403, "{refused}");
        }
        let (status, head, body) = get(&host, &path);
        assert_eq!(status, 200);
        for field in [
            "default-src 'none'; script-src 'sha256-",
            "frame-ancestors 'none'",
            "Referrer-Policy: no-referrer",
        ] {
            assert!(head.contains(field), "{field}: {head}");
        }
        assert!(
            !head.to_lowercase().contains("access-control")
                && !body.contains(token)
                && !body.contains("http")
        );
        Viewer::new(&host, path.strip_prefix('/').unwrap());
        running.finish();
    }

    /// The ninth is told so; those who do not read are skipped, and given up.
    #[test]
    fn viewers_are_few_and_hold_nothing_up() {
        let bench = Bench::new();
        let mut running = bench.start(&["--policy", "every", "--live-page", "0"]);
        let (host, _) = listening(&mut running, "live-page");
        let mut viewers: Vec<Viewer> = (0..8).map(|_| Viewer::new(&host, "")).collect();
        assert_eq!(get(&host, "/events").0, 503);
        let started = Instant::now();
        for number in 0..60 {
            running.send(&bench.picture(number));
            assert_eq!(running.next()["frame"], number + 1);
        }
        assert!(emulated() || started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        let last = viewers[7].until(|message| message["told"]["counts"]["answered"] == 60);
        assert_eq!(last["told"]["state"], "running");
        drop(viewers);
        // Their places are free when they are found to be gone.
        let started = Instant::now();
        while get_status(&host) == 503 {
            assert!(started.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(100));
        }
        running.finish();
    }

    /// The status of another viewer.
    fn get_status(host: &str) -> u16 {
        let mut stream = connect(host);
        stream.write_all(format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8_lossy(&status[9..]).parse().unwrap()
    }
}
