//! Any other program as a row: it reads the names of images and answers with features.
//!
//! The command is started once for each size and number of threads (`{size}`, `{height}`, `{width}` and `{threads}` in it
//! are replaced). It gets one path a line on standard input, and answers each with one line on standard output: numbers
//! between spaces or commas, or a JSON array, or a JSON object `{"features": [...], "ms": 12.5}`, where `ms` is its own clock's
//! reading of the model alone. Without it the row's time is from the question to the answer, decoding and resizing in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ProfileError;
use crate::vit::Size;

/// A peer's line longer than this is not read: 100,000 features take a tenth of it.
const MAX_LINE: u64 = 16 << 20;

/// A peer that is silent for so long has failed. The first answer waits for its model to load.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the answer of one that has ended is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its name in the table.
    pub name: String,
    /// The command, for a shell.
    pub command: String,
}

impl PeerSpec {
    /// What [`Row::backend`](super::Row::backend) says of it.
    pub fn backend(&self) -> String {
        format!("peer {}", self.name)
    }
}

impl FromStr for PeerSpec {
    type Err = String;

    /// Reads `NAME=COMMAND`.
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

/// What a peer answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub features: Vec<f32>,
    /// By its own clock, or else by ours.
    pub seconds: f64,
    /// Whether it was its own.
    pub own_clock: bool,
}

/// A peer that runs.
pub(super) struct Peer {
    name: String,
    child: Child,
    questions: ChildStdin,
    answers: Receiver<Result<String, String>>,
    image: PathBuf,
}

impl Peer {
    /// Starts it. [`Peer::run`] will ask about `image`.
    pub fn start(spec: &PeerSpec, size: Size, threads: usize, image: &Path) -> Result<Peer, ProfileError> {
        let name = spec.name.clone();
        let failed = |reason: String| ProfileError::Peer { name: name.clone(), reason };
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
            .map_err(|e| failed(format!("cannot be started: {e}")))?;
        let (questions, output) = (child.stdin.take(), child.stdout.take());
        let (Some(questions), Some(output)) = (questions, output) else {
            return Err(failed("has no pipes".to_owned()));
        };
        // Bounded: a peer that talks unasked waits, and is found out at the next question.
        let (send, answers) = sync_channel(1);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while send.send(read_line(&mut output)).is_ok() {}
        });
        Ok(Peer { name: spec.name.clone(), child, questions, answers, image: image.to_owned() })
    }

    /// Asks about its image.
    pub fn run(&mut self) -> Result<Answer, ProfileError> {
        let image = self.image.clone();
        self.ask(&image)
    }

    /// Asks about `image`.
    ///
    /// # Errors
    /// [`ProfileError::Peer`]: it has ended, is silent, or says something else than numbers.
    pub fn ask(&mut self, image: &Path) -> Result<Answer, ProfileError> {
        let start = Instant::now();
        let asked = writeln!(self.questions, "{}", image.display()).and_then(|()| self.questions.flush());
        // One that does not take the path has ended; what it said before tells why.
        let patience = if asked.is_ok() { PATIENCE } else { LAST_WORDS };
        let line = match self.answers.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Ok(Err(reason)) => return Err(self.failed(reason)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.failed(format!("has not answered for {} s", patience.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.failed("has ended".to_owned())),
        };
        let seconds = start.elapsed().as_secs_f64();
        let (features, ms) = parse(&line).map_err(|reason| self.failed(reason))?;
        if let Err(error) = asked {
            return Err(self.failed(format!("does not take the next path ({error})")));
        }
        Ok(Answer { features, seconds: ms.map_or(seconds, |ms| ms / 1e3), own_clock: ms.is_some() })
    }

    fn failed(&self, reason: String) -> ProfileError {
        ProfileError::Peer { name: self.name.clone(), reason }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(output: &mut impl BufRead) -> Result<String, String> {
    let mut line = Vec::new();
    let read = Read::by_ref(output).take(MAX_LINE).read_until(b'\n', &mut line);
    match read {
        Ok(0) => {
            Err("ended without an answer: run its command by hand, it reads paths and prints features".into())
        }
        Ok(_) if !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE => {
            Err(format!("printed a line of more than {} MiB", MAX_LINE >> 20))
        }
        Ok(_) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[derive(Deserialize)]
struct Object {
    features: Vec<f32>,
    ms: Option<f64>,
}

/// Features, and milliseconds by the peer's clock.
fn parse(line: &str) -> Result<(Vec<f32>, Option<f64>), String> {
    let text = line.trim();
    let shown = || text.chars().take(60).collect::<String>().replace(char::is_control, " ");
    let (features, ms) = if text.starts_with('{') {
        let object: Object =
            serde_json::from_str(text).map_err(|e| format!("answered '{}': {e}", shown()))?;
        (object.features, object.ms)
    } else {
        let inner = text.trim_start_matches('[').trim_end_matches(']');
        let words = inner.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        let numbers: Result<Vec<f32>, _> = words.map(str::parse::<f32>).collect();
        (numbers.map_err(|_| format!("answered '{}', which are no numbers", shown()))?, None)
    };
    if features.is_empty() || features.iter().any(|v| !v.is_finite()) {
        return Err(format!("answered '{}': {} finite features", shown(), features.len()));
    }
    if ms.is_some_and(|ms| !(ms > 0.0 && ms.is_finite())) {
        return Err(format!("answered '{}': its time is no positive number", shown()));
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
            assert_eq!(parse(text), Ok((features, ms)));
        }
        for text in ["", "one two", "nan", "{\"features\": []}", r#"{"features": [1], "ms": -1}"#, "{"] {
            let problem = parse(text).unwrap_err();
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
