"""Checks audit logs by Python's hashlib and json, and `microraptor audit verify` by this.

    python tests/reference/audit.py FILE...                              # the files of one chain, the oldest first
    python tests/reference/audit.py --binary target/release/microraptor --changes 300

With `--binary`, a log is made, changed in so many random ways, and each time both must come to the same verdict; then a
stream is answered while the disk of its log is full and empty again (as root, who can mount one). Lines are also
validated against docs/audit-schema.json, if the module jsonschema is there. Linux.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZEROS = "0" * 64


def chain(paths):
    """The lines of a log that is whole, and the bytes that are in no line; ValueError for any other."""
    lines, torn, before, number = [], [], ZEROS, None
    for path in paths:
        parts = pathlib.Path(path).read_bytes().split(b"\n")
        # A log that ends with its last line and without a line feed is whole too.
        parts = parts[:-1] if parts[-1] == b"" else parts
        if not parts:
            raise ValueError(f"{path}: empty")
        loose = []
        for place, part in enumerate(parts):
            body, mark, digest = part.rpartition(b',"sha256":"')
            if not mark or len(digest) != 66 or digest[64:] != b'"}' or any(c not in b"0123456789abcdef" for c in digest[:64]):
                loose.append(part)
                continue
            if hashlib.sha256(body).hexdigest().encode() != digest[:64]:
                raise ValueError(f"{path}: line {place + 1} has another digest")
            line = json.loads(part)
            first = line["event"] in ("begin", "continued")
            if first != (place == 0):
                raise ValueError(f"{path}: line {place + 1} is out of place")
            if number is None:
                before, number = line["previous"], line["seq"] - 1
                if (line["event"] == "begin") != (before == ZEROS and number == -1):
                    raise ValueError(f"{path}: begins with no first line")
            if line["seq"] != number + 1 or line["previous"] != before:
                raise ValueError(f"{path}: line {place + 1} does not follow the one before")
            if (line["event"] == "torn") != bool(loose):
                raise ValueError(f"{path}: line {place + 1}: something is torn")
            if loose:
                rest = b"\n".join(loose)
                if len(rest) != line["torn_bytes"] or hashlib.sha256(rest).hexdigest() != line["torn_sha256"]:
                    raise ValueError(f"{path}: line {place + 1}: something else is torn")
                torn.append(len(rest))
                loose = []
            lines.append(line)
            before, number = line["sha256"], line["seq"]
        if loose:
            raise ValueError(f"{path}: ends within a line")
    return lines, torn


def validated(lines):
    """How many lines are as the schema says."""
    try:
        import jsonschema
    except ImportError:
        return None
    schema = json.loads((ROOT / "docs" / "audit-schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for line in lines:
        validator.validate(line)
    return len(lines)


def verdict(binary, path, head=None):
    """Whether `audit verify` finds the log whole."""
    command = [binary, "audit", "verify", "--json", str(path), *(["--head", head] if head else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), (path, done)
    report = json.loads(done.stdout)
    assert report["whole"] == (done.returncode == 0), report
    return report


def changed(data, draw):
    """A log that somebody or something has changed."""
    lines = data.split(b"\n")[:-1]
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    at = draw.randrange(len(data))
    way = draw.choice(["byte", "remove", "swap", "twice", "cut", "insert", "join", "field", "nothing"])
    if way == "byte":
        return way, data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
    if way == "cut":
        return way, data[:at]
    if way == "join":
        # Without its last line feed it is whole.
        ends = [place for place, byte in enumerate(data[:-1]) if byte == 10]
        end = draw.choice(ends)
        return way, data[:end] + data[end + 1 :]
    if way == "remove":
        del lines[one]
    elif way == "swap":
        lines[one], lines[two] = lines[two], lines[one]
    elif way == "twice":
        lines.insert(two, lines[one])
    elif way == "insert":
        lines.insert(one, draw.choice([b"", b"{}", lines[two][: draw.randrange(len(lines[two]))], b"\x00" * 40]))
    elif way == "field":
        # With a digest that is right: the next line tells.
        body = lines[one].rpartition(b',"sha256":"')[0].replace(b'"time":"2', b'"time":"3')
        lines[one] = body + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'
    return way, b"".join(line + b"\n" for line in lines)


def tampered(binary, log, folder, changes):
    """Changes of a log, on which both must agree; how many of each kind were found."""
    draw, data, found = random.Random(7), log.read_bytes(), {}
    other = folder / "changed.jsonl"
    for _ in range(changes):
        way, bytes_ = changed(data, draw)
        other.write_bytes(bytes_)
        try:
            chain([other])
            whole = True
        except (ValueError, KeyError):
            whole = False
        report = verdict(binary, other)
        assert report["whole"] == whole, (way, report)
        count = found.setdefault(way, [0, 0])
        count[0] += not whole
        count[1] += 1
    assert found["nothing"][0] == 0 and all(found[way][0] == found[way][1] for way in ("byte", "join", "insert")), found
    return {way: f"{broken} of {tried}" for way, (broken, tried) in sorted(found.items())}


class Stream:
    """`microraptor stream`, which is given a picture at a time."""

    def __init__(self, binary, head, log, policy):
        command = [binary, "stream", "demo", "--head", head, "--policy", "every", "--threads", "1", "--stdin", "png"]
        command += ["--stall", "0", "--audit", log, "--audit-full", policy, "-"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(list(map(str, command)), stdin=pipe, stdout=pipe, stderr=pipe)
        self.read("started")

    def read(self, event):
        """The lines up to one of `event`."""
        lines = []
        for line in self.process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"] == event:
                return lines
        raise EOFError(lines)

    def answer(self, picture):
        self.process.stdin.write(picture)
        self.process.stdin.flush()
        return self.read("frame")


def full(binary, head, pictures, folder):
    """A disk that becomes full while a stream is answered, and then is not any more."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        assert not os.environ.get("CI"), "CI can mount a file system"
        return "not tested: no file system can be mounted here"
    ballast = disk / "ballast"

    def fill():
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(512)):
                    pass
            except OSError:
                pass

    try:
        log = disk / "go-on.jsonl"
        stream, events = Stream(binary, head, log, "go-on"), []
        for number in range(60):
            # The file's last page holds a few lines more.
            if number == 10:
                fill()
            if number == 50:
                ballast.unlink()
            events += stream.answer(pictures[number % len(pictures)])
        stream.process.stdin.close()
        events += stream.read("ended")
        assert stream.process.wait() == 0, stream.process.stderr.read()
        assert sum(event["event"] == "frame" for event in events) == 60
        failed = [event for event in events if event["event"] == "audit-failed"]
        resumed = [event for event in events if event["event"] == "audit-resumed"]
        assert len(failed) == 1 and len(resumed) == 1 and "No space left" in failed[0]["problem"], (failed, resumed)
        report, (lines, torn) = verdict(binary, log), chain([log])
        lost = [line["lost_lines"] for line in lines if line["event"] == "lines-lost"]
        assert report["lost"] == resumed[0]["lost_lines"] == sum(lost), (report, resumed, lost)
        answers = [line["input"] for line in lines if line["event"] == "answer"]
        assert len(answers) + sum(lost) == 60 and answers[-1] == 60, answers
        found = {"lost_and_said": sum(lost), "torn_bytes": torn}

        log = disk / "stop.jsonl"
        stream, given = Stream(binary, head, log, "stop"), 0
        fill()
        try:
            for number in range(60):
                stream.answer(pictures[number % len(pictures)])
                given += 1
        except (EOFError, BrokenPipeError):
            pass
        errors = stream.process.stderr.read().decode()
        assert stream.process.wait() == 2 and "No space left" in errors, errors
        ballast.unlink()
        # What was torn is closed by the next run.
        stream = Stream(binary, head, log, "stop")
        stream.answer(pictures[0])
        stream.process.stdin.close()
        stream.read("ended")
        assert stream.process.wait() == 0
        lines, torn = chain([log])
        assert sum(line["event"] == "answer" for line in lines) == given + 1 < 60 and verdict(binary, log)["whole"]
        return {**found, "given_before_the_stop": given, "torn_bytes_of_stop": torn}
    finally:
        subprocess.run(["umount", disk], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--binary")
    parser.add_argument("--changes", type=int, default=300)
    args = parser.parse_args()
    if args.files:
        lines, torn = chain(args.files)
        print(json.dumps({"lines": len(lines), "torn": torn, "head": lines[-1]["sha256"], "validated": validated(lines)}))
    if not args.binary:
        return
    binary = os.path.abspath(args.binary)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = [binary, "demo", "-o", folder / "demo", "--phantoms", "8", "--seed", "3", "--sizes", "64"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        head = folder / "demo" / "class.safetensors"
        images = sorted((folder / "demo" / "phantoms" / "images").glob("*.png"))
        log = folder / "audit.jsonl"
        printed = []
        # Two runs, and between them a line that was not written to its end.
        for cut in (b'{"seq":9,"time":"20', b""):
            command = [binary, "predict", "demo", "--head", head, "--threads", "1", "--audit", log, *images[:6]]
            done = subprocess.run(list(map(str, command)), check=True, capture_output=True)
            printed += done.stdout.splitlines()
            with open(log, "ab") as file:
                file.write(cut)
        lines, torn = chain([log])
        answers = [line["line_sha256"] for line in lines if line["event"] == "answer"]
        assert answers == [hashlib.sha256(line).hexdigest() for line in printed] and torn == [19], (answers, torn)
        report = verdict(binary, log, lines[-1]["sha256"])
        assert report["head"] == {"seq": len(lines) - 1, "sha256": lines[-1]["sha256"]}, report
        assert [part["bytes"] for part in report["torn"]] == torn, report
        print(json.dumps({"lines": len(lines), "answers": len(answers), "validated": validated(lines)}), flush=True)
        print(json.dumps({"found": tampered(binary, log, folder, args.changes)}), flush=True)
        pictures = [path.read_bytes() for path in images]
        print(json.dumps({"full disk": full(binary, head, pictures, folder)}), flush=True)


if __name__ == "__main__":
    main()
