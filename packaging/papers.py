#!/usr/bin/env python3
"""Writes what is to be filed with a program that has Microraptor in it (docs/trust.md).

    packaging/papers.py -o DIR [--features LIST] [--target TRIPLE] [--binary FILE]

DIR then holds
    microraptor.sbom.cdx.json   what the program is made of (CycloneDX 1.6), and how it hangs together
    soup.md, soup.csv           each part as IEC 62304 asks: purpose, requirement, known anomalies, tests
    promises.md                 each promise of the documents, and the tests that hold it

Parts are those that cargo resolves for these features and this target, from Cargo.lock. Nothing is looked up in a network
beyond what `cargo metadata` needs, and the same input gives the same bytes; SOURCE_DATE_EPOCH adds a time. It fails if a
part that Cargo.toml names has no purpose in packaging/soup.toml. Needs Python 3.11 and cargo.
"""

import argparse
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from paper import promises, sbom, soup  # noqa: E402
from paper.parts import ROOT, Parts, Unusable  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--features", default="", help="as cargo takes them; those of a package: packaging/deb.sh")
    parser.add_argument("--no-default-features", action="store_true")
    parser.add_argument("--target", help="the machine that it is built for; this one if none is given")
    parser.add_argument("--name", default="microraptor", help="the name of the program or library, and of its file")
    parser.add_argument("--library", action="store_true", help="it is a library, not a program")
    parser.add_argument("--binary", type=Path, help="the built file: its digest is written down")
    arguments = parser.parse_args()
    try:
        parts = Parts.resolve(arguments.features, not arguments.no_default_features, arguments.target)
        purposes = soup.read_purposes(ROOT / "packaging" / "soup.toml", parts)
        anomalies = tomllib.loads((ROOT / "packaging" / "anomalies.toml").read_text())
        facts = tomllib.loads((ROOT / "packaging" / "advisories.toml").read_text())
        table = tomllib.loads((ROOT / "docs" / "promises.toml").read_text())
        kind = "library" if arguments.library else "application"
        made = {
            f"{arguments.name}.sbom.cdx.json": sbom.render(parts, arguments.name, kind, arguments.binary),
            "soup.md": soup.markdown(parts, purposes, anomalies, facts),
            "soup.csv": soup.csv_text(parts, purposes, anomalies, facts),
            "promises.md": promises.markdown(table),
        }
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            part = arguments.output / f".{name}.part"
            part.write_text(text)
            part.replace(arguments.output / name)
    except (Unusable, OSError) as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
