"""Tries what docs/faults.md says was survived, and prints its table: what, how much, and the command that does it alone.

    python tests/reference/faults.py --binary target/release/microraptor --only stream,audit     # a minute; CI does this
    python tests/reference/faults.py --binary target/release/microraptor --features hal,node-tls # all but what takes hours
    python tests/reference/faults.py --only fuzz --seconds 60                                    # 60 s for each reader
    python tests/reference/faults.py --binary target/release/microraptor --only stream --hours 24 --fps 30

Each part runs the command that stands in its row and reads the figures from what it prints; a part that fails ends the
program. `--features` are those of `cargo test`; `node` needs a program with the feature node, dcmtk and Orthanc. Needs
Python's standard library alone; Linux.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def said(command, fails=False):
    """What a command prints."""
    here = [sys.executable, *command[1:]] if command[0] == "python" else command
    done = subprocess.run(here, cwd=ROOT, capture_output=True, text=True)
    if done.returncode and not fails:
        sys.exit(f"error: {shlex.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def tests(args, *more):
    """`cargo test` of one file."""
    features = ["--features", args.features] if args.features else []
    return ["cargo", "test", "--locked", *features, "--test", *more]


def script(name, args, *more):
    """One of the scripts beside this one, for the program that was given."""
    return ["python", f"tests/reference/{name}.py", "--binary", args.binary, *map(str, more)]


def passed(text):
    """How many tests passed."""
    return sum(map(int, re.findall(r"^test result: ok\. (\d+) passed", text, re.M)))


def damaged(args):
    command = tests(args, "damaged", "--", "--nocapture")
    text = said(command)
    found = dict(re.findall(r"^(?:test \w+ \.\.\. )?(\w+): (\d+) damaged files$", text, re.M))
    assert len(found) >= 13, found
    finds = len(list((ROOT / "tests" / "golden" / "finds").iterdir()))
    readers = ", ".join(f"{name} {count}" for name, count in sorted(found.items()))
    total = sum(map(int, found.values()))
    yield "damaged files, each read whole", f"{total}: {readers}", command
    yield "inputs that fuzzing found in the past, read again", f"{finds}", command


def arguments(args):
    command = tests(args, "cli", "--", "bad_input::", "limits::", "own_files::", "interrupted::", "audit::")
    yield "tests of the program with bad files and arguments, limits, kills and full disks", f"{passed(said(command))}", command


def bits(args):
    command = tests(args, "bits", "--", "--nocapture")
    found = re.findall(r"([\w-]+): (.*) agree$", said(command), re.M)
    assert found
    isas = {isas for _, isas in found}
    yield "architectures whose features have one digest", f"{len(found)}, on {' / '.join(isas)}, 1, 2 and 5 threads", command


def stream(args):
    fast = args.fps is None
    rest = ("--frames", args.frames) if fast else ("--hours", args.hours, "--fps", args.fps)
    command = script("soak", args, *rest, "--audit")
    # The program says on standard error how its audit log ends.
    found = json.loads([line for line in said(command).splitlines() if line.startswith("{")][-1])
    figure = (
        f"{found['frames']} frames, {found['dropped']} dropped, {found['growth_kib']} KiB of growth; age "
        f"{found['age_p50_ms']} ms (median), {found['age_p99_ms']} ms (99%)"
    )
    yield "frames of a stream, each answered as alone and found in the audit log", figure, command


def audit(args):
    command = script("audit", args, "--changes", args.changes)
    lines = [json.loads(line) for line in said(command).splitlines() if line.startswith("{")]
    found = next(line["found"] for line in lines if "found" in line)
    broken, tried = (sum(int(text.split(" of ")[part]) for text in found.values()) for part in (0, 1))
    yield "changes of an audit log, on which hashlib and `audit verify` agree", f"{tried}, of which {broken} break it", command
    full = next(line["full disk"] for line in lines if "full disk" in line)
    if isinstance(full, dict):
        figure = f"{full['lost_and_said']} lines lost, and said; {full['given_before_the_stop']} answers given and logged, then exit code 2"
    else:
        figure = full
    yield "a full disk below the audit log of a stream (go-on; stop)", figure, command


def node(args):
    command = script("node", args, "--kills", args.kills, "--only", "kills", "--only", "full")
    lines = [line for line in said(command).splitlines() if line.startswith("{")]
    parts = {line["part"]: line for line in map(json.loads, lines)}
    kills = parts["kills"]
    figure = f"{kills['kills']} kills, {kills['objects']} objects, {kills['results_in_orthanc']} results in Orthanc, none twice, none lost"
    yield "SIGKILL of a DICOM node at random moments", figure, command
    kinds = sum(isinstance(reasons, list) for reasons in parts["full"].values())
    assert kinds == 2, parts["full"]
    yield "a full disk below its queue", "nothing acknowledged that is not on the disk; answered when there is space again", command


def fuzz(args):
    command = ["fuzz/run", *(["--onnx"] if args.onnx else []), str(args.seconds), *args.targets]
    found = re.findall(r"^(\w+) +(\d+) executions .* (\d+) finds$", said(command, fails=True), re.M)
    assert found, "no target ran"
    finds = sum(int(finds) for _, _, finds in found)
    readers = ", ".join(f"{name} {count}" for name, count, _ in found)
    yield f"executions of each fuzz target in {args.seconds} s", f"{readers}; {finds} finds", command


PARTS = {"damaged": damaged, "arguments": arguments, "bits": bits, "stream": stream, "audit": audit, "node": node, "fuzz": fuzz}


def machine():
    """What this runs on."""
    names = re.findall(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/microraptor")
    parser.add_argument("--only", help="parts, separated by commas: " + ", ".join(PARTS))
    parser.add_argument("--features", default="", help="of `cargo test`")
    parser.add_argument("--frames", type=int, default=10000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--fps", type=float)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzz target")
    parser.add_argument("--onnx", action="store_true", help="fuzz the readers of ONNX too")
    parser.add_argument("--targets", nargs="*", default=[], help="fuzz targets, instead of all")
    args = parser.parse_args()
    parts = args.only.split(",") if args.only else list(PARTS)
    print(f"{datetime.date.today()}, {machine()}\n\n| tried | figure | command |\n|---|---|---|", flush=True)
    for part in parts:
        for what, figure, command in PARTS[part](args):
            print(f"| {what} | {figure} | `{shlex.join(command)}` |", flush=True)


if __name__ == "__main__":
    main()
