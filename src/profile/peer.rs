//! Peers: other programs as rows of the table. A peer reads paths of images and answers with features.
//!
//! The command is started once for each size and number of threads (`{size}`, `{height}`, `{width}` and `{threads}` in
//! it are replaced). It reads one path per line from standard input and answers each with one line on standard output:
//! numbers separated by spaces or commas, a JSON array, or a JSON object `{"features": [...], "ms": 12.5}`, where `ms`
//! is the time of the model alone, measured by the peer. Without `ms`, the row's latency is the time from request to
//! answer, including decoding and resizing.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{PeerError, ProfileError};
use crate::vit::Size;

/// Maximum length of a peer's line, in bytes; 100,000 features need a tenth of it.
const MAX_LINE: u64 = 16 << 20;

/// Timeout for an answer. It must be long enough for the peer to load its model before the first answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Timeout for the last output of a peer that no longer accepts paths.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program to compare against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Name of the peer in the table.
    pub name: String,
    /// The shell command that starts the peer.
    pub command: String,
}

impl PeerSpec {
    /// Value of [`Row::backend`](super::Row::backend) for this peer.
    pub fn backend(&self) -> String {
        format!("peer {}", self.name)
    }
}

impl FromStr for PeerSpec {
    type Err = String;

    /// Parses `NAME=COMMAND`.
    fn from_str(text: &str) -> Result<PeerSpec, String> {
        match text.split_once('=').map(|(name, command)| (name.trim(), command.trim())) {
            Some((name, command)) if !name.is_empty() && !command.is_empty() => {
                Ok(PeerSpec { name: name.to_owned(), command: command.to_owned() })
            }
            _ => {
                Err("write NAME=COMMAND, such as onnxruntime='python peer.py model.onnx {size} {threads}'"
                    .into())
            }
        }
    }
}

/// A peer's answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub features: Vec<f32>,
    /// Time as measured by the peer, or by us if it did not report one.
    pub seconds: f64,
    /// Whether the peer measured the time.
    pub own_clock: bool,
}

/// A running peer.
pub(super) struct Peer {
    name: String,
    child: Child,
    questions: ChildStdin,
    answers: Receiver<Result<String, PeerError>>,
    image: PathBuf,
}

impl Peer {
    /// Starts the peer. [`Peer::run`] will request the features of `image`.
    pub fn start(spec: &PeerSpec, size: Size, threads: usize, image: &Path) -> Result<Peer, ProfileError> {
        let name = spec.name.clone();
        let failed = |reason| ProfileError::Peer { name: name.clone(), reason };
        let command = spec
            .command
            .replace("{size}", &size.to_string())
            .replace("{height}", &size.height.to_string())
            .replace("{width}", &size.width.to_string())
            .replace("{threads}", &threads.to_string());
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| failed(PeerError::Start(e)))?;
        let (questions, output) = (child.stdin.take(), child.stdout.take());
        let (Some(questions), Some(output)) = (questions, output) else {
            return Err(failed(PeerError::NoPipes));
        };
        // Bounded, so that a peer that prints unrequested lines blocks; these lines are then read as the next answers.
        let (send, answers) = sync_channel(1);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while send.send(read_line(&mut output)).is_ok() {}
        });
        Ok(Peer { name: spec.name.clone(), child, questions, answers, image: image.to_owned() })
    }

    /// Requests the features of the image given to [`Peer::start`].
    pub fn run(&mut self) -> Result<Answer, ProfileError> {
        let image = self.image.clone();
        self.ask(&image)
    }

    /// Requests the features of `image`.
    ///
    /// # Errors
    /// [`ProfileError::Peer`] if the peer has exited, does not answer in time, or answers with anything but numbers.
    pub fn ask(&mut self, image: &Path) -> Result<Answer, ProfileError> {
        let start = Instant::now();
        let asked = writeln!(self.questions, "{}", image.display()).and_then(|()| self.questions.flush());
        // A peer that does not accept the path has exited; its last output may tell why.
        let patience = if asked.is_ok() { PATIENCE } else { LAST_WORDS };
        let line = match self.answers.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Ok(Err(reason)) => return Err(self.failed(reason)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.failed(PeerError::Timeout(patience.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.failed(PeerError::Ended)),
        };
        let seconds = start.elapsed().as_secs_f64();
        let (features, ms) = parse(&line).map_err(|reason| self.failed(reason))?;
        if let Err(error) = asked {
            return Err(self.failed(PeerError::Input(error)));
        }
        Ok(Answer { features, seconds: ms.map_or(seconds, |ms| ms / 1e3), own_clock: ms.is_some() })
    }

    fn failed(&self, reason: PeerError) -> ProfileError {
        ProfileError::Peer { name: self.name.clone(), reason }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The peer may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(output: &mut impl BufRead) -> Result<String, PeerError> {
    let mut line = Vec::new();
    let read = Read::by_ref(output).take(MAX_LINE).read_until(b'\n', &mut line);
    match read {
        Ok(0) => Err(PeerError::NoAnswer),
        Ok(_) if !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE => {
            Err(PeerError::LongLine(MAX_LINE))
        }
        Ok(_) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Err(error) => Err(PeerError::Output(error)),
    }
}

#[derive(Deserialize)]
struct Object {
    features: Vec<f32>,
    ms: Option<f64>,
}

/// Parses an answer into features and, if given, the milliseconds measured by the peer.
fn parse(line: &str) -> Result<(Vec<f32>, Option<f64>), PeerError> {
    let text = line.trim();
    let shown = || text.chars().take(60).collect::<String>().replace(char::is_control, " ");
    let (features, ms) = if text.starts_with('{') {
        let object: Object = serde_json::from_str(text)
            .map_err(|e| PeerError::Object { answer: shown(), error: e.to_string() })?;
        (object.features, object.ms)
    } else {
        let inner = text.trim_start_matches('[').trim_end_matches(']');
        let words = inner.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        let numbers: Result<Vec<f32>, _> = words.map(str::parse::<f32>).collect();
        (numbers.map_err(|_| PeerError::NoNumbers(shown()))?, None)
    };
    if features.is_empty() || features.iter().any(|v| !v.is_finite()) {
        return Err(PeerError::NonFinite { answer: shown(), features: features.len() });
    }
    if ms.is_some_and(|ms| !(ms > 0.0 && ms.is_finite())) {
        return Err(PeerError::Time(shown()));
    }
    Ok((features, ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &str) -> Result<Answer, String> {
        let spec = PeerSpec { name: "other".into(), command: command.into() };
        let mut peer = Peer::start(&spec, Size::square(224), 2, Path::new("a.png")).unwrap();
        peer.run().map_err(|e| e.to_string())
    }

    #[test]
    fn answers_are_read_in_each_form() {
        for (text, features, ms) in [
            ("1 2.5 -3", vec![1.0, 2.5, -3.0], None),
            ("[1, 2]", vec![1.0, 2.0], None),
            (r#"{"features": [4], "ms": 12.5, "more": 1}"#, vec![4.0], Some(12.5)),
        ] {
            assert_eq!(parse(text).unwrap(), (features, ms));
        }
        for text in ["", "one two", "nan", "{\"features\": []}", r#"{"features": [1], "ms": -1}"#, "{"] {
            let problem = parse(text).unwrap_err().to_string();
            assert!(problem.starts_with("answered '") && !problem.contains('\n'), "{problem}");
        }
        assert!("onnxruntime".parse::<PeerSpec>().unwrap_err().contains("NAME=COMMAND"));
    }

    #[test]
    fn a_peer_is_asked_and_its_faults_are_told() {
        let found = ask(r#"sh -c 'while read p; do echo "{size} {threads}"; done'"#).unwrap();
        assert_eq!((found.features, found.own_clock), (vec![224.0, 2.0], false));
        let found = ask(r#"sh -c 'while read p; do echo "{\"features\": [1], \"ms\": 4}"; done'"#).unwrap();
        assert_eq!((found.seconds, found.own_clock), (0.004, true));
        assert!(ask("true").unwrap_err().starts_with("peer other: "));
        assert!(ask("echo hello").unwrap_err().contains("no numbers"));
        assert!(ask("/nowhere/at/all").unwrap_err().starts_with("peer other: "));
    }
}
