"""The table of promises: what the documents say that a reader may rely on, and the tests that hold it."""

import re

from .parts import ROOT

HEAD = """\
# Promises, and the tests that hold them

Each has its identifier below its sentence in the documents. A test is FILE::FUNCTION, a file of tests, or a script; `cargo
test` and `.ci/run` run them. tests/promises.rs fails if a promise has no test, or one that is not there or is left out.

| identifier | where | promise | tests |
| --- | --- | --- | --- |
"""


def places():
    """The documents that have each identifier."""
    found = {}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]:
        for names in re.findall(r"^\s*<!-- promise: (.*) -->$", path.read_text(), re.M):
            for name in names.split(", "):
                place = str(path.relative_to(ROOT))
                if place not in found.setdefault(name, []):
                    found[name].append(place)
    return found


def markdown(table):
    where = places()
    text = HEAD
    for entry in table["promise"]:
        tests = "<br>".join(f"`{test}`" for test in entry["tests"])
        says = " ".join(entry["says"].split()).replace("|", "\\|")
        text += f"| {entry['id']} | {', '.join(where.get(entry['id'], []))} | {says} | {tests} |\n"
    return text
