"""Feeds `microraptor stream` for a long time, and watches it: no growth of memory or descriptors, no slower answers.

    python tests/reference/soak.py --binary target/release/microraptor --frames 10000           # as fast as it answers
    python tests/reference/soak.py --binary target/release/microraptor --frames 600 --fps 30    # like a probe
    python tests/reference/soak.py --binary target/release/microraptor --hours 24 --fps 30
    python tests/reference/soak.py --binary target/release/microraptor --frames 600 --fps 30 --watched
    python tests/reference/soak.py --binary target/release/microraptor --frames 600 --fps 30 --audit

`--watched` is with somebody who looks at the page all the time, and metrics that are read each second (a build with the
feature page). `--audit` is with an audit log, in which each line of the stream must be found.

Frames are phantoms of `microraptor demo`, as YUV4MPEG2 through a pipe. Needs Python's standard library alone; Linux.
"""

import argparse
import hashlib
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

import audit


def grey(path):
    """Width, height and grey pixels of an 8-bit PNG without interlacing."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and colour in (0, 2), path
        packed += body if kind == b"IDAT" else b""
        at += length + 12
    step = 3 if colour == 2 else 1
    raw, stride = zlib.decompress(packed), width * step
    last, rows = bytes(stride), []
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride):
            left, up = line[i - step] if i >= step else 0, last[i]
            corner = last[i - step] if i >= step else 0
            near = min((abs(left + up - corner - v), k, v) for k, v in enumerate((left, up, corner)))[2]
            line[i] = (line[i] + (0, left, up, (left + up) // 2, near)[kind]) & 255
        rows.append(bytes(line[::step]))
        last = line
    return width, height, b"".join(rows)


def resident(pid):
    """Resident memory in KiB, and open descriptors."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return memory, len(os.listdir(f"/proc/{pid}/fd"))


def feed(pipe, frames, fps, count, seconds, sent):
    """Writes frames until `count` or `seconds` are reached; notes when each was complete."""
    width, height = frames[0][:2]
    start = time.time()
    try:
        pipe.write(f"YUV4MPEG2 W{width} H{height} Ip Cmono XCOLORRANGE=FULL\n".encode())
        number = 0
        while number < count and time.time() - start < seconds:
            if fps:
                time.sleep(max(0.0, start + number / fps - time.time()))
            pipe.write(b"FRAME\n" + frames[number % len(frames)][2])
            pipe.flush()
            if number == 0:
                sent.append(time.time())
            number += 1
        pipe.close()
    except BrokenPipeError:
        pass


def watch(listening, got):
    """Looks at the page, or reads the metrics each second, until the program ends; what came goes to `got`."""
    try:
        if listening["what"] == "live-page":
            with urllib.request.urlopen(listening["url"] + "events") as events:
                got["messages"] = got["pictures"] = 0
                for line in events:
                    got["messages"] += line.startswith(b"data:")
                    got["pictures"] += b'"jpeg":' in line
        while listening["what"] == "metrics":
            with urllib.request.urlopen(listening["url"]) as text:
                assert b"microraptor_frames_total" in text.read()
            got["scrapes"] = got.get("scrapes", 0) + 1
            time.sleep(1)
    except OSError:
        pass  # The program has ended.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--frames", type=int, default=10**12)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--fps", type=float, help="frames a second; without it the next one waits")
    parser.add_argument("--deadline", type=float, default=200.0, help="milliseconds")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--watched", action="store_true", help="read the metrics each second, and look at the page")
    parser.add_argument("--scraped", action="store_true", help="read the metrics each second")
    parser.add_argument("--audit", action="store_true", help="write an audit log, and check it")
    args = parser.parse_args()
    binary = os.path.abspath(args.binary)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = lambda *command: subprocess.run([binary, *map(str, command)], check=True, capture_output=True, text=True)
        run("demo", "-o", folder / "demo", "--phantoms", 8, "--seed", 3, "--sizes", 64)
        head = folder / "demo" / "class.safetensors"
        pictures = sorted((folder / "demo" / "phantoms" / "images").glob("*.png"))
        frames = [grey(path) for path in pictures]
        alone = [json.loads(line)["heads"] for line in run("predict", "demo", "--head", head, *pictures).stdout.splitlines()]
        policy = "newest" if args.fps else "every"
        command = [binary, "stream", "demo", "--head", head, "--policy", policy, "--threads", args.threads]
        command += ["--deadline", str(args.deadline), "-"]
        command += ["--metrics", "0"] if args.watched or args.scraped else []
        command += ["--live-page", "0"] if args.watched else []
        log = folder / "audit.jsonl"
        command += ["--audit", str(log)] if args.audit else []
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            started = json.loads(process.stdout.readline())
            assert started["event"] == "started", started
            got = {}
            for _ in range(args.watched + (args.watched or args.scraped)):
                listening = json.loads(process.stdout.readline())
                threading.Thread(target=watch, args=(listening, got), daemon=True).start()
            sent = []
            feeder = threading.Thread(target=feed, args=(process.stdin, frames, args.fps, args.frames, args.hours * 3600, sent), daemon=True)
            feeder.start()
            times, ages, memory, digests, first, ended = [], [], [], [], None, None
            for line in process.stdout:
                digests.append(hashlib.sha256(line.rstrip(b"\n")).hexdigest())
                line = json.loads(line)
                if line["event"] == "ended":
                    ended = line
                    break
                assert line["event"] == "frame" and line["picture"] == "usual", line
                first = first or time.time()
                expected = alone[(line["frame"] - 1) % len(alone)]
                assert line["heads"] == expected, f"frame {line['frame']}: {line['heads']}, and alone {expected}"
                times.append(line["ms"]["resize"] + line["ms"]["backbone"] + line["ms"]["head"])
                ages.append(line["ms"]["age"])
                if len(times) % 500 == 1:
                    memory.append(resident(process.pid))
            feeder.join()
            assert process.wait() == 0 and ended and ended["reason"] == "end of source", ended
            if args.audit:
                logged = [line["line_sha256"] for line in audit.chain([log])[0] if line["event"] == "answer"]
                assert logged == digests[:-1], "an answer is not in the audit log"
                got["audit_bytes_per_frame"] = round(log.stat().st_size / len(logged))
        finally:
            process.kill()
    report(args, times, ages, memory, ended, first - sent[0], got)


def report(args, times, ages, memory, ended, first, got):
    """Prints what was seen; fails if something grows or gets slower."""
    p99 = lambda values: statistics.quantiles(values, n=100)[98]
    half = len(times) // 2

    # Of blocks of 200 frames, the median of their p99: a guest of a shared machine is put aside for a while now and then,
    # which is in one block, and no drift.
    def tail(values):
        blocks = [values[i : i + 200] for i in range(0, len(values) - 199, 200)] or [values]
        return statistics.median(map(p99, blocks))

    # The first tenth warms up: buffers, the allocator.
    after = memory[max(1, len(memory) // 10) :] or memory
    growth, descriptors = after[-1][0] - after[0][0], after[-1][1] - after[0][1]
    found = {
        "frames": ended["frames"],
        "answered": ended["answered"],
        "dropped": ended["dropped"],
        "late": ended["late"],
        "first_answer_ms": round(1e3 * first, 1),
        "age_p50_ms": round(statistics.median(ages), 2),
        "age_p99_ms": round(p99(ages), 2),
        "work_p99_ms": [round(tail(times[:half]), 3), round(tail(times[half:]), 3)],
        "work_p50_ms": [round(statistics.median(times[:half]), 3), round(statistics.median(times[half:]), 3)],
        "resident_kib": after[-1][0],
        "growth_kib": growth,
        "descriptors": after[-1][1],
        **got,
    }
    print(json.dumps(found))
    problems = []
    if ended["answered"] + ended["dropped"] != ended["frames"] or ended["lost"] or ended["withheld"]:
        problems.append("frames are not accounted for")
    if args.watched and args.fps and got["pictures"] < 5 * ended["frames"] / args.fps:
        problems.append("the page got fewer than five pictures a second")
    if args.fps and first > 0.2:
        problems.append("the first answer took more than 200 ms")
    if growth > 1024 or descriptors > 0:
        problems.append(f"memory grew by {growth} KiB, descriptors by {descriptors}")
    for name, slack in (("work_p50_ms", 0.2), ("work_p99_ms", 1.0)):
        # Whoever looks comes and goes: of few frames a slower half says nothing.
        if (half >= 250 or not args.watched) and found[name][1] > 1.25 * found[name][0] + slack:
            problems.append(f"answers became slower ({name})")
    if problems:
        sys.exit("error: " + "; ".join(problems))


if __name__ == "__main__":
    main()
