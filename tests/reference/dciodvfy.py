"""What dciodvfy (Debian's dicom3tools) says of the objects that tests/output writes. Needs nothing else.

    MICRORAPTOR_KEEP=kept cargo test --test output
    python3 tests/reference/dciodvfy.py kept

Every error must be there in the source file too, such as a UID below a root that does not exist.
"""

import json
import subprocess
import sys
from pathlib import Path


def dciodvfy(path):
    """Lines of errors, and of warnings."""
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    lines = (run.stderr + run.stdout).splitlines()
    return [[line for line in lines if line.startswith(kind)] for kind in ("Error", "Warning")]


def cause(error):
    """What is wrong, whichever attribute it is in."""
    return error.split(" in (0x")[0]


def judge(path, source):
    """Errors of an object, each with whether its source has it too, and warnings."""
    errors, warnings = dciodvfy(path)
    inherited = {cause(line) for line in dciodvfy(source)[0]}
    return [(line, cause(line) in inherited) for line in errors], warnings


def main():
    folder = Path(sys.argv[1])
    cases = sorted(folder.glob("*.seg.dcm"))
    assert cases, f"no objects in {folder}"
    failed = 0
    for seg in cases:
        name = seg.name.removesuffix(".seg.dcm")
        source = json.loads((folder / f"{name}.json").read_text())["sources"][0]
        for path in (seg, folder / f"{name}.sr.dcm"):
            for line, known in judge(path, source)[0]:
                failed += not known
                print(f"{path.name}: {line}{' (as in the source)' if known else ''}")
    print(f"dciodvfy: {len(cases)} segmentations and as many reports, {failed} errors of their own")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
