"""The sheet of software of unknown provenance (SOUP), IEC 62304:2006+A1:2015, 5.3.3, 5.3.4, 7.1 and 8.1.2."""

import csv
import io
import tomllib

from .parts import ROOT, Unusable

COLUMNS = ["name", "version", "maker", "licence", "role", "purpose", "requirement", "needs", "known anomalies", "verified by"]
ROLES = {
    "linked": "in the program",
    "macro": "while compiling: a macro, or used by one",
    "build": "while compiling: a build script, or used by one",
}


def missing(test):
    """What is wrong with the name of a test, PATH or PATH::FUNCTION; None if it is there."""
    path, _, function = test.partition("::")
    if not (ROOT / path).is_file():
        return f"{test}: there is no {path}"
    if function and f"fn {function}(" not in (ROOT / path).read_text():
        return f"{test}: {path} has no function {function}"
    return None


def read_purposes(path, parts):
    """The entries of packaging/soup.toml by crate, of which each crate of Cargo.toml must have one."""
    found = {}
    for entry in tomllib.loads(path.read_text())["part"]:
        for problem in filter(None, map(missing, entry["tests"])):
            raise Unusable(f"{path.name}: {problem}")
        for name, purpose in entry["crates"].items():
            if name in found:
                raise Unusable(f"{path.name}: {name} has two entries")
            found[name] = {**entry, "purpose": purpose}
    for name, version in sorted(parts.direct):
        if name not in found:
            raise Unusable(f"{path.name}: {name} {version} of Cargo.toml has no purpose there: add it to an entry, or one of its own")
    return found


def of(part, entries):
    """Entries of the anomalies that are about this version."""
    return [entry for entry in entries if entry["crate"] == part.name and part.version in entry["versions"]]


def anomalies_of(part, anomalies, facts):
    looked_up = part.name in facts["database"]["crates"]
    said = [f"{entry['id']}: {' '.join(entry['says'].split())}" for entry in of(part, anomalies.get("decision", []))]
    said += [f"{entry.get('source', 'found here')}: {entry['says']}" for entry in of(part, anomalies.get("found", []))]
    if not looked_up:
        said.append("NOT LOOKED UP")
    return said or [f"none published as of {facts['database']['date']}"]


def rows(parts, purposes, anomalies, facts):
    brought = parts.brought_by()
    for key, part in sorted(parts.crates.items()):
        through = sorted(brought[key] - {part.name})
        entry = purposes.get(part.name) if part.direct else None
        yield {
            "name": part.name,
            "version": part.version,
            # crates.io names who may publish, not a maker: the repository is where it is made.
            "maker": part.repository or ", ".join(part.authors) or "not stated",
            "licence": part.licence,
            "role": ROLES[part.role],
            "purpose": entry["purpose"] if entry else f"used by {', '.join(through)}",
            "requirement": entry["requirement"] if entry else "that of those",
            "needs": entry.get("needs", "") if entry else "",
            "known anomalies": anomalies_of(part, anomalies, facts),
            "verified by": entry["tests"] if entry else ["the tests of those"],
        }


def csv_text(parts, purposes, anomalies, facts):
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(parts, purposes, anomalies, facts):
        writer.writerow({key: "; ".join(value) if isinstance(value, list) else value for key, value in row.items()})
    return text.getvalue()


def cell(value):
    return ("<br>".join(value) if isinstance(value, list) else value).replace("|", "\\|")


def table(columns, lines):
    text = "| " + " | ".join(columns) + " |\n" + "|" + " --- |" * len(columns) + "\n"
    return text + "".join("| " + " | ".join(map(cell, line)) + " |\n" for line in lines)


def markdown(parts, purposes, anomalies, facts):
    every = list(rows(parts, purposes, anomalies, facts))
    direct = [row for row, key in zip(every, sorted(parts.crates)) if parts.crates[key].direct]
    others = [row for row, key in zip(every, sorted(parts.crates)) if not parts.crates[key].direct]
    database, rust = facts["database"], parts.compiler
    text = f"""\
# SOUP of Microraptor {parts.version}

Software of unknown provenance in the sense of IEC 62304:2006+A1:2015. Target {parts.target}, features
{", ".join(parts.features)}.

Compiled by rustc {rust["release"]} ({rust["commit-hash"][:12]}, LLVM {rust["LLVM version"]}), whose standard library is in the
program. Every crate comes from crates.io, with the SHA-256 in Cargo.lock (also in the bill of materials). All need 64-bit
Linux with glibc 2.35 or later on x86-64 or ARM; what one needs beyond that is in its row.

Known anomalies are those of the RustSec advisory database at {database["date"]} (commit {database["commit"][:12]}), as
cargo-audit finds them for these versions, and what was found while Microraptor was written. Crates without an entry have
none there at that date; that says nothing about anomalies that nobody reported.

## Used directly

"""
    columns = ["name", "version", "maker", "licence", "purpose", "requirement", "needs", "known anomalies", "verified by"]
    text += table(columns, [[row[key] for key in columns] for row in direct])
    text += "\n## Known anomalies, and what is done about them\n\n"
    present = set(parts.crates)
    lines = []
    for entry in anomalies.get("decision", []) + anomalies.get("found", []):
        if any((entry["crate"], version) in present for version in entry["versions"]):
            lines.append([
                entry.get("id", entry.get("source", "found here")),
                f"{entry['crate']} {', '.join(entry['versions'])}",
                entry["says"],
                entry.get("exposure", ""),
                entry["decision"] + (f" ({entry['decided']})" if "decided" in entry else ""),
                entry["tests"],
            ])
    text += table(["identifier", "crate", "what", "where it touches us", "decision", "verified by"], lines)
    text += "\n## Brought along by these\n\n"
    columns = ["name", "version", "maker", "licence", "role", "purpose", "known anomalies"]
    return text + table(columns, [[row[key] for key in columns] for row in others])
