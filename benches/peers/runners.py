"""The two ways in which a runtime is measured: a resident worker that is told "run", or our own program, started anew."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A runtime gave no answer; the message says why."""


def pinned(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


def tail(text):
    """Of what a failed program said: the line that calls itself an error, else the last two."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return " | ".join(errors[:1] or lines[-2:])[-300:] or "no message"


class Worker:
    """A process that holds a model and sleeps until it is asked (worker.py and rten/src/main.rs)."""

    def __init__(self, runtime, command, threads, cpus, folder, held):
        """`held`: variables that hold it to an instruction set."""
        self.log = folder / f"{runtime}-{threads}.log"
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), **held)
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"))
        self.process = subprocess.Popen(command, text=True, env=env, preexec_fn=pinned(cpus), **pipes)
        try:
            self.version = self.answer()["version"]
        except Failed:
            self.close()
            raise

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries print, too
                return json.loads(line)
        self.process.wait()
        raise Failed(f"exit code {self.process.returncode}: {tail(self.log.read_text())}")

    def ask(self, order):
        try:
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says why
        return self.answer()

    def time(self, runs):
        ms = self.ask(runs)["ms"]
        return float(np.median(ms)), min(ms)

    def features(self, path, names):
        """{name: values} of its outputs, or of as many as it writes."""
        shapes = self.ask("features")["shapes"]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(np.fromfile(path, np.float32), ends[:-1])
        return {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes)}

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Program:
    """Our own program: a process for each measurement, as a user would run it."""

    def __init__(self, binary, model, size, threads, cpus, image, folder, isa=None):
        self.binary, self.model, self.size, self.threads, self.cpus = binary, model, size, threads, cpus
        self.isa = ["--isa", isa] if isa else []
        self.image, self.folder = image, folder
        self.version = self.run(["--version"]).split()[-1]

    def run(self, arguments):
        command = [str(argument) for argument in [self.binary, *arguments]]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pinned(self.cpus))
        if done.returncode:
            raise Failed(f"exit code {done.returncode}: {tail(done.stderr or done.stdout)}")
        return done.stdout

    def time(self, runs):
        options = ["--sizes", self.size, "--threads", self.threads, "--runs", runs, "--seconds", 0, "--json", *self.isa]
        row = json.loads(self.run(["profile", self.model, *options]))["rows"][0]
        self.backend = row["backend"]
        return row["latency"]["p50_ms"], row["latency"]["min_ms"]

    def features(self, _path, _names):
        """What `embed` writes: cls, patch (without registers) and the outputs of a graph around."""
        from safetensors.numpy import load_file

        out = self.folder / "microraptor.safetensors"
        options = ["--size", self.size, "--threads", self.threads, *self.isa]
        self.run(["embed", self.model, self.image, "-o", out, *options])
        return load_file(out)

    def close(self):
        pass


def convert(binary, checkpoint, precision, calibration, out):
    """`microraptor convert`, again if the program is newer than what it once wrote."""
    if out.exists() and out.stat().st_mtime > Path(binary).stat().st_mtime:
        return out
    command = [binary, "convert", checkpoint, "-o", out, "--precision", precision]
    if precision == "int8":
        command += ["--calibrate", calibration]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"convert: exit code {done.returncode}: {tail(done.stderr)}")
    return out


def rust_worker():
    """Builds rten/ and returns its program."""
    manifest = HERE / "rten" / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--message-format=json", "--manifest-path", str(manifest)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    programs = [json.loads(line).get("executable") for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not any(programs):
        raise Failed(f"cargo could not build {manifest}")
    return next(filter(None, programs))


def worker_command(runtime, rust, spec, folder):
    if runtime.split("-")[0] in ("rten", "tract"):
        if not rust:
            raise Failed("its worker was not built")
        if spec["shape"][:2] != [1, 3] or spec["shape"][2] != spec["shape"][3]:
            raise Failed(f"its worker is for one square RGB image, not {spec['shape']}")
        values = (spec["model"], spec["threads"], spec["shape"][2], spec["pixels"], spec["features"])
        return [rust, runtime.split("-")[0], *map(str, values)]
    path = folder / f"{runtime}.json"
    path.write_text(json.dumps(spec))
    return [sys.executable, str(HERE / "worker.py"), str(path)]
