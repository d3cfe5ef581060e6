#!/usr/bin/env python3
"""Reads the RustSec advisory database (https://github.com/RustSec/advisory-db), and writes what it has on our crates.

    git clone https://github.com/RustSec/advisory-db
    packaging/advisories.py advisory-db                # writes packaging/advisories.toml
    packaging/advisories.py --as-database DIR          # writes that file as a database again, for cargo-audit

DATABASE is a clone, or its bare repository. What is written are facts: which crates were looked up, in which state of the
database, and which versions each advisory is about, also those that are fixed in the versions that we use. Whether one
touches us is for cargo-audit to say (tests/reference/papers.py asks it), and what we do about it is written by hand in
packaging/anomalies.toml. Needs Python 3.11 and git.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "packaging" / "advisories.toml"
HEAD = """\
# What the RustSec advisory database has on the crates of Cargo.lock, fixed or not. Written by packaging/advisories.py;
# the decisions are in packaging/anomalies.toml.
"""


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: git {' '.join(words)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def locked(files):
    """Names of the crates of lock files that come from a registry."""
    packages = [package for file in files for package in tomllib.loads(Path(file).read_text())["package"]]
    return sorted({package["name"] for package in packages if "source" in package})


def advisories(database, names):
    """The advisories on these crates, by identifier, without those that were withdrawn."""
    found = {}
    for path in git(database, "ls-tree", "-r", "--name-only", "HEAD", "crates/").splitlines():
        _, name, file = path.split("/")
        if name not in names or not file.startswith("RUSTSEC-"):
            continue
        text = git(database, "show", f"HEAD:{path}")
        entry = tomllib.loads(text.split("```toml")[1].split("```")[0])
        about = entry["advisory"]
        if "withdrawn" not in about:
            found[about["id"]] = {
                "id": about["id"],
                "crate": name,
                "date": str(about["date"]),
                "kind": about.get("informational", "vulnerability"),
                "patched": entry["versions"].get("patched", []),
                "unaffected": entry["versions"].get("unaffected", []),
            }
    return [found[key] for key in sorted(found)]


def line(key, value):
    # A JSON string or list of strings is one of TOML.
    return f"{key} = {json.dumps(value)}\n"


def write_facts(file, database, names, found):
    text = HEAD + "\n[database]\n"
    text += line("url", "https://github.com/RustSec/advisory-db")
    text += line("commit", git(database, "rev-parse", "HEAD"))
    text += line("date", git(database, "show", "-s", "--format=%cs", "HEAD"))
    text += "# The crates that were looked up.\ncrates = [\n"
    text += "".join(f"    {json.dumps(name)},\n" for name in names) + "]\n"
    for advisory in found:
        text += "\n[[advisory]]\n" + "".join(line(key, value) for key, value in advisory.items())
    file.write_text(text)


def as_database(folder):
    """The facts in the layout that cargo-audit reads, with those that were read later, one by one."""
    later = tomllib.loads(FACTS.with_name("anomalies.toml").read_text()).get("later", [])
    for advisory in tomllib.loads(FACTS.read_text())["advisory"] + later:
        text = "```toml\n[advisory]\n" + line("id", advisory["id"]) + line("package", advisory["crate"])
        text += line("date", advisory["date"])
        if advisory["kind"] != "vulnerability":
            text += line("informational", advisory["kind"])
        text += "[versions]\n" + line("patched", advisory["patched"]) + line("unaffected", advisory["unaffected"])
        path = Path(folder) / "crates" / advisory["crate"] / f"{advisory['id']}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}```\n\n# {advisory['kind']}\n\nhttps://rustsec.org/advisories/{advisory['id']}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", nargs="?", help="a clone of the advisory database")
    parser.add_argument("--lock", action="append", default=[], help="further lock files whose crates are looked up")
    parser.add_argument("-o", "--output", type=Path, default=FACTS)
    parser.add_argument("--as-database", metavar="DIR", help="write packaging/advisories.toml as a database")
    arguments = parser.parse_args()
    if arguments.as_database:
        as_database(arguments.as_database)
    elif arguments.database:
        names = locked([ROOT / "Cargo.lock", *arguments.lock])
        found = advisories(arguments.database, set(names))
        write_facts(arguments.output, arguments.database, names, found)
        state = git(arguments.database, "show", "-s", "--format=%cs", "HEAD")
        print(f"{len(names)} crates, {len(found)} advisories, as of {state}")
    else:
        parser.error("give the folder of the database")


if __name__ == "__main__":
    main()
