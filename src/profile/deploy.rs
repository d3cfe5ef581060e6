//! Deployment file: the configuration chosen by a profile, for use by `predict`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Decision, DeployError, ProfileError, Row};
use crate::checkpoint::Hints;
use crate::engine;
use crate::files::write_atomically;
use crate::sealed;

/// Version of the file's layout. Version 1 had no digest of the head.
const SCHEMA: u32 = 2;

/// Maximum size of a deployment file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The configuration to run and the performance to expect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// Version of the file's layout: 2.
    pub schema: u32,
    /// The model: a path (if relative, to the deployment file's folder), or a name ([`engine::is_name`]).
    pub model: String,
    /// SHA-256 of the model's weights file.
    pub sha256: String,
    /// Path of the head, resolved like the model's; `None` if no head was trained.
    pub head: Option<String>,
    /// SHA-256 of the head's file, as returned by [`Head::read`](crate::heads::Head::read); `Some` exactly if `head`
    /// is.
    pub head_sha256: Option<String>,
    /// Input size: `224`, or `224x352` for height x width.
    pub size: String,
    /// Instruction set; `None` if other code runs the model.
    pub isa: Option<String>,
    /// Number of threads.
    pub threads: usize,
    /// Cores to pin the threads to, such as `4-7`; `None` to let the operating system choose.
    pub cores: Option<String>,
    /// Model properties given on the command line of the profile because the model's files do not state them.
    #[serde(default, skip_serializing_if = "Hints::is_empty")]
    pub hints: Hints,
    /// The measured performance.
    pub expected: Expected,
}

/// Measured performance of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Name of the machine.
    pub machine: String,
    /// Median latency of the backbone, milliseconds.
    pub p50_ms: f64,
    /// 90th percentile of the latency, milliseconds.
    pub p90_ms: f64,
    /// Whether the times were VALID.
    pub valid: bool,
    /// Name of the accuracy metric.
    pub metric: Option<String>,
    /// Accuracy on held-out images.
    pub accuracy: Option<f64>,
    /// The requested limits.
    pub limits: Vec<String>,
    /// Share of bootstrap resamples in which the configuration is within the limits, 0 to 1.
    pub within_limits: Option<f64>,
}

impl Deploy {
    /// Deployment file for `row`, which `decision` chose. `model` and `hints` are as given on the command line; `head`
    /// is the path of the head's file and its SHA-256. Paths inside `folder` are stored relative to it, others as
    /// absolute paths.
    pub fn new(
        row: &Row,
        decision: &Decision,
        machine: &str,
        (model, hints): (&Path, Hints),
        head: Option<(&Path, String)>,
        folder: &Path,
    ) -> Deploy {
        let from_folder = |path: &Path| match path.to_str() {
            Some(text) if engine::is_name(text) => text.to_owned(),
            _ => match path.strip_prefix(folder) {
                Ok(inside) if inside.to_str().is_some_and(engine::is_name) => {
                    format!("./{}", inside.display())
                }
                Ok(inside) => inside.display().to_string(),
                Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
            },
        };
        let (head, head_sha256) = head.map(|(path, sha256)| (from_folder(path), sha256)).unzip();
        Deploy {
            schema: SCHEMA,
            model: from_folder(model),
            sha256: row.sha256.clone(),
            head,
            head_sha256,
            size: row.size().to_string(),
            isa: row.isa.clone(),
            threads: row.threads,
            cores: (!row.cores.is_empty()).then(|| row.cores.to_string()),
            hints,
            expected: Expected {
                machine: machine.to_owned(),
                p50_ms: row.latency.p50_ms,
                p90_ms: row.latency.p90_ms,
                valid: row.verdict.valid,
                metric: row.accuracy.as_ref().map(|a| a.metric.clone()),
                accuracy: row.accuracy.as_ref().map(|a| a.value),
                limits: decision.limits.clone(),
                within_limits: decision.within_limits,
            },
        }
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// [`ProfileError::Write`], which names the path.
    pub fn save(&self, path: &Path) -> Result<(), ProfileError> {
        let text = toml::to_string(self).expect("plain data");
        let head = "# Written by `microraptor profile`; for `microraptor predict --deploy`.\n";
        Ok(write_atomically(path, |file| write!(file, "{head}{text}"))?)
    }

    /// As [`Deploy::read`], without the digest.
    ///
    /// # Errors
    /// As [`Deploy::read`].
    pub fn load(path: &Path) -> Result<Deploy, ProfileError> {
        Deploy::read(path).map(|(deploy, _)| deploy)
    }

    /// Reads the file and resolves its paths against the file's folder. Also returns the SHA-256, in lower-case hex, of the
    /// bytes read.
    ///
    /// # Errors
    /// [`ProfileError::Deploy`], which says what is wrong with the file.
    pub fn read(path: &Path) -> Result<(Deploy, String), ProfileError> {
        let read = || {
            let text = super::read_bounded(path, MAX_BYTES)?;
            Ok((Deploy::parse(&text)?, sealed::sha256(text.as_bytes())))
        };
        let (mut deploy, sha256) =
            read().map_err(|reason| ProfileError::Deploy { path: path.to_owned(), reason })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let found = |text: &str| folder.join(text).display().to_string();
        if !engine::is_name(&deploy.model) {
            deploy.model = found(&deploy.model);
        }
        deploy.head = deploy.head.as_deref().map(found);
        Ok((deploy, sha256))
    }

    /// Parses and checks the text of a file; paths stay as they are written.
    fn parse(text: &str) -> Result<Deploy, DeployError> {
        let deploy: Deploy = toml::from_str(text).map_err(|e| DeployError::Parse(e.message().to_owned()))?;
        if deploy.schema != SCHEMA {
            return Err(DeployError::Schema { found: deploy.schema, expected: SCHEMA });
        }
        if deploy.head.is_some() != deploy.head_sha256.is_some() {
            return Err(DeployError::Head);
        }
        for digest in [&deploy.sha256].into_iter().chain(&deploy.head_sha256) {
            if digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(DeployError::Digest(digest.clone()));
            }
        }
        Ok(deploy)
    }

    /// Path or name of the model.
    pub fn model(&self) -> PathBuf {
        PathBuf::from(&self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Accuracy, Latency};

    #[test]
    fn is_read_as_it_was_written_and_finds_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let row = Row {
            sha256: "ab".repeat(32),
            height: 224,
            width: 352,
            threads: 2,
            isa: Some("avx2".into()),
            latency: Latency::from_seconds(vec![0.02; 8]),
            accuracy: Some(Accuracy { metric: "AUC".into(), value: 0.9, low: None, high: None, images: 8 }),
            ..Row::default()
        };
        let head = folder.path().join("heads/h.safetensors");
        let decision = Decision { limits: vec!["p90".into()], ..Decision::default() };
        let model = Path::new("/models/m \"x\".safetensors");
        let with_digest = || Some((head.as_path(), "cd".repeat(32)));
        let hints = Hints { heads: Some(2), mean: Some([0.485, 0.456, 0.406]), ..Hints::default() };
        let deploy = Deploy::new(&row, &decision, "board", (model, hints), with_digest(), folder.path());
        assert_eq!(deploy.head.as_deref(), Some("heads/h.safetensors"));
        let path = folder.path().join("deploy.toml");
        deploy.save(&path).unwrap();
        let found = Deploy::load(&path).unwrap();
        assert_eq!((found.model().as_path(), found.head.as_deref()), (model, head.to_str()));
        assert_eq!((&found.sha256, found.head_sha256.as_ref()), (&"ab".repeat(32), Some(&"cd".repeat(32))));
        assert_eq!((found.size.as_str(), found.expected.p90_ms), ("224x352", 20.0));
        assert_eq!(found.hints, hints);

        // A model name is stored as it is; a file with the same name is stored as a path.
        for (model, written, found) in [
            (PathBuf::from("demo"), "demo", PathBuf::from("demo")),
            ("untrained:deit-tiny".into(), "untrained:deit-tiny", "untrained:deit-tiny".into()),
            (folder.path().join("demo"), "./demo", folder.path().join("./demo")),
        ] {
            let model = (model.as_path(), Hints::default());
            let deploy = Deploy::new(&row, &decision, "board", model, with_digest(), folder.path());
            assert_eq!(deploy.model, written);
            deploy.save(&path).unwrap();
            assert!(!std::fs::read_to_string(&path).unwrap().contains("hints"));
            assert_eq!(Deploy::load(&path).unwrap().model(), found);
        }

        for (text, problem) in [("schema = 1\n", "missing field"), ("schema = ", ""), ("\u{0}", "")] {
            std::fs::write(&path, text).unwrap();
            let error = Deploy::load(&path).unwrap_err().to_string();
            assert!(
                error.contains("deploy.toml: ") && error.contains(problem) && !error.contains('\n'),
                "{error}"
            );
        }
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap().repeat(100_000)).unwrap();
        assert!(Deploy::load(&path).is_err());
        for (wrong, problem) in [
            (Deploy { schema: 1, ..deploy.clone() }, "has schema 1, this program reads 2"),
            (Deploy { head_sha256: None, ..deploy.clone() }, "go together"),
            (Deploy { head: None, ..deploy.clone() }, "go together"),
            (Deploy { sha256: "AB".repeat(32), ..deploy.clone() }, "no SHA-256"),
            (Deploy { head_sha256: Some(String::new()), ..deploy.clone() }, "no SHA-256"),
        ] {
            std::fs::write(&path, toml::to_string(&wrong).unwrap()).unwrap();
            let error = Deploy::load(&path).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
