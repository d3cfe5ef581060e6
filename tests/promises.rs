//! Each promise of the documents has an identifier, and tests that hold it (docs/promises.toml).
//!
//! The identifiers stand in a comment below the paragraph, the table or the item of a list: `<!-- promise: ID, ID -->`. A
//! paragraph with one of [`WORDS`] in it, which sound like a promise, has such a comment or `<!-- no promise -->`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What sounds like a promise, in lower case.
const WORDS: [&str; 18] = [
    "never",
    "always",
    "guarantee",
    "guarantees",
    "guaranteed",
    "promised",
    "bit identical",
    "to the bit",
    "bit for bit",
    "same bits",
    "same bytes",
    "exit code",
    "is an error",
    "refuse",
    "refuses",
    "refused",
    "terminates",
    "is safe",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    promise: Vec<Promise>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    id: String,
    says: String,
    tests: Vec<String>,
}

/// A paragraph, a table or an item of a list.
#[derive(Default)]
struct Block {
    line: usize,
    text: String,
    promises: Vec<String>,
    exempt: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table() -> Vec<Promise> {
    let table: Table = toml::from_str(&read(&root().join("docs/promises.toml"))).unwrap();
    table.promise
}

/// Documents that promise, by their name in the repository.
fn documents() -> BTreeMap<String, String> {
    let folder = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = folder.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let own = ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    docs.chain(own)
        .map(|path| (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), read(&path)))
        .collect()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut fenced, mut table) = (false, false, false);
    for (at, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.starts_with("```") {
            (fenced, open) = (!fenced, false);
        } else if fenced {
        } else if let Some(comment) = content.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            let Some(block) = blocks.last_mut().filter(|_| open) else { continue };
            block.exempt |= comment == "no promise";
            let named = comment.strip_prefix("promise: ").unwrap_or("").split(", ");
            block.promises.extend(named.filter(|id| !id.is_empty()).map(str::to_owned));
        } else if content.is_empty() || line.starts_with('#') || !open && line.starts_with("    ") {
            open = false;
        } else {
            let begins =
                content.starts_with("- ") || content.starts_with("* ") || content.starts_with('|') != table;
            if !open || begins {
                blocks.push(Block { line: at + 1, ..Block::default() });
                open = true;
            }
            table = content.starts_with('|');
            if let Some(block) = blocks.last_mut() {
                block.text = format!("{} {content}", block.text);
            }
        }
    }
    blocks
}

/// Words of a text with one blank around each, without what stands between backticks.
fn words(text: &str) -> String {
    let prose: String = text.split('`').step_by(2).collect();
    let lower = prose.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    format!(" {} ", words.collect::<Vec<_>>().join(" "))
}

/// What is wrong with the name of a test.
fn problem(test: &str) -> Option<String> {
    let (path, function) = test.split_once("::").map_or((test, None), |(path, name)| (path, Some(name)));
    let file = root().join(path);
    if !file.is_file() {
        return Some(format!("there is no {path}"));
    }
    let text = read(&file);
    if path.starts_with(".ci/") {
        return (!read(&root().join(".ci/run")).contains(path)).then(|| "it is not run by .ci/run".into());
    }
    if path.starts_with("python/tests/") {
        let name = function.unwrap_or("test_");
        return (!text.contains(&format!("def {name}("))).then(|| "there is no such function".into());
    }
    if path.ends_with(".py") {
        let name = file.file_name()?.to_str()?.to_owned();
        let scripts = fs::read_dir(root().join(".ci")).unwrap().map(|entry| read(&entry.unwrap().path()));
        return (!scripts.into_iter().any(|script| script.contains(&name)))
            .then(|| "no script of .ci runs it".into());
    }
    // A part of a test of several files is named by its first one.
    let parts: Vec<&str> = path.split('/').collect();
    if let ["tests", folder, name] = parts[..] {
        let main = PathBuf::from("tests").join(folder).join("main.rs");
        let module = format!("mod {};", name.trim_end_matches(".rs"));
        let main = fs::read_to_string(root().join(main)).unwrap_or_default();
        if name != "main.rs" && !main.contains(&module) {
            return Some(format!("tests/{folder}/main.rs does not have it"));
        }
    }
    let Some(function) = function else {
        let stem = file.file_stem()?.to_str()?;
        let bare = read(&root().join("Cargo.toml")).contains(&format!("name = \"{stem}\"\nharness = false"));
        return (!bare && !text.contains("#[test]")).then(|| "it has no tests".into());
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(at) = lines.iter().position(|line| line.starts_with(&format!("fn {function}("))) else {
        return Some("there is no such function".into());
    };
    let attributes: Vec<&&str> = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
        .collect();
    if !attributes.iter().any(|line| **line == "#[test]") {
        return Some("it is no test".into());
    }
    attributes.iter().any(|line| line.starts_with("#[ignore")).then(|| "it is ignored".into())
}

#[test]
fn each_identifier_is_in_the_documents_and_in_the_table() {
    let table = table();
    let known: BTreeSet<&str> = table.iter().map(|promise| promise.id.as_str()).collect();
    assert_eq!(known.len(), table.len(), "two promises have one identifier");
    let mut named = BTreeSet::new();
    for (document, text) in documents() {
        for block in blocks(&text) {
            for id in block.promises {
                assert!(
                    known.contains(id.as_str()),
                    "{document}:{}: docs/promises.toml has no {id}",
                    block.line
                );
                named.insert(id);
            }
        }
    }
    for id in known {
        assert!(named.contains(id), "no document has the promise {id} of docs/promises.toml");
    }
}

#[test]
fn each_promise_has_tests_that_run() {
    let table = table();
    assert!(table.len() > 50, "{}", table.len());
    let mut wrong = Vec::new();
    for promise in &table {
        assert!(!promise.says.is_empty() && !promise.tests.is_empty(), "{} has no tests", promise.id);
        let problems = promise
            .tests
            .iter()
            .filter_map(|test| Some(format!("{}: {test}: {}", promise.id, problem(test)?)));
        wrong.extend(problems);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// packaging/soup.toml and packaging/anomalies.toml name tests in the same way.
#[test]
fn parts_and_their_faults_have_tests_that_run() {
    let mut wrong = Vec::new();
    for (file, kinds) in [("soup.toml", &["part"][..]), ("anomalies.toml", &["decision", "found"])] {
        let table: toml::Table = toml::from_str(&read(&root().join("packaging").join(file))).unwrap();
        for entry in kinds.iter().flat_map(|kind| table[*kind].as_array().unwrap()) {
            let tests = entry["tests"].as_array().unwrap();
            assert!(!tests.is_empty(), "{file}: an entry without tests: {entry}");
            let tests = tests.iter().map(|test| test.as_str().unwrap());
            wrong.extend(tests.filter_map(|test| Some(format!("{file}: {test}: {}", problem(test)?))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_sounds_like_a_promise_is_one() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        for block in blocks(&text) {
            let text = words(&block.text);
            let found = WORDS.iter().find(|word| text.contains(&format!(" {word} ")));
            if let Some(word) = found.filter(|_| block.promises.is_empty() && !block.exempt) {
                missing.push(format!("{document}:{}: \"{word}\"", block.line));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "give each an identifier of docs/promises.toml, <!-- promise: ID --> below it, or <!-- no promise -->:\n{}",
        missing.join("\n")
    );
}

/// The checks above see what they are made for.
#[test]
fn promises_and_tests_that_are_none_are_found() {
    let text = "It never ends.\n\n- It `never` ends.\n- Safe: it always ends.\n  <!-- promise: a, b -->\n\n| x |\n|---|\n| refused |\n<!-- no promise -->\n";
    let found = blocks(text);
    assert_eq!(found.iter().map(|block| block.line).collect::<Vec<_>>(), [1, 3, 4, 7]);
    assert!(words(&found[0].text).contains(" never ") && !words(&found[1].text).contains(" never "));
    assert_eq!(found[2].promises, ["a", "b"]);
    assert!(found[3].exempt && words(&found[3].text).contains(" refused "));
    for (test, expected) in [
        ("tests/none.rs", "there is no tests/none.rs"),
        ("tests/bits.rs::none", "there is no such function"),
        ("tests/promises.rs::words", "it is no test"),
        ("src/profile/report/tests/mod.rs::reports_to_look_at", "it is ignored"),
        ("tests/support/mod.rs", "tests/support/main.rs"),
        ("src/lib.rs", "it has no tests"),
    ] {
        let found = problem(test);
        assert!(found.as_deref().is_some_and(|found| found.contains(expected)), "{test}: {found:?}");
    }
}
