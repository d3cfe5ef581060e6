//! THIRD-PARTY.txt, which `--version --verbose` prints, is made of the dependencies as they are now.

use std::collections::BTreeSet;
use std::process::Command;

const NOTICES: &str = include_str!("../THIRD-PARTY.txt");
const AGAIN: &str = "make THIRD-PARTY.txt again: docs/packages.md has the command";

/// The lines `  name version` of the notices.
fn named() -> BTreeSet<&'static str> {
    let indented = NOTICES.lines().filter_map(|line| line.strip_prefix("  "));
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    indented
        .filter(|line| {
            line.split_once(' ').is_some_and(|(name, version)| is_name(name) && is_version(version))
        })
        .collect()
}

#[test]
fn every_dependency_is_named_and_no_other() {
    let named = named();
    assert!(named.len() > 200, "{} crates are named", named.len());
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--workspace", "--all-features"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    // "name v1.2.3 (proc-macro) (*)"; a path follows the name of a crate of ours.
    for line in tree.lines().filter(|line| !line.contains("(/") && !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let crate_ = format!("{} {}", words[0], words[1].trim_start_matches('v'));
        assert!(named.contains(crate_.as_str()), "{crate_} is not named: {AGAIN}");
    }
    let lock = include_str!("../Cargo.lock");
    for crate_ in named {
        let (name, version) = crate_.split_once(' ').unwrap();
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{crate_} is named and not used: {AGAIN}");
    }
}

/// What lies within crates and has a licence of its own.
#[test]
fn what_crates_bring_along_is_named() {
    for text in ["SIL OPEN FONT LICENSE", "Jan de Vaan", "Universite catholique de Louvain", "Rich Felker"] {
        assert!(NOTICES.contains(text), "{text}");
    }
}

/// deny.toml accepts what packaging/about.toml accepts, of which the notices are made.
#[test]
fn one_list_of_licences() {
    let list = |text: &str, path: &[&str]| {
        let mut value: toml::Value = toml::from_str(text).unwrap();
        for key in path {
            value = value[*key].clone();
        }
        let names = value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    let noticed = list(include_str!("../packaging/about.toml"), &["accepted"]);
    assert_eq!(noticed, list(include_str!("../deny.toml"), &["licenses", "allow"]));
}
