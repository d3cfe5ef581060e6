#!/usr/bin/env python3
"""Times Microraptor against onnxruntime, OpenVINO, ncnn, rten and tract: same weights, same image, in turns.

    cargo build --release
    python benches/peers/compare.py                                    # everything: hours
    python benches/peers/compare.py --models s --sizes 224 --threads 1 # minutes
    python benches/peers/compare.py --models segmenter.onnx --sizes 224

Each peer is a resident process that sleeps until it is its turn; ours is started for each turn. Writes report.md
and results.json to --output after each case, and prints the report. README.md says more.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import machine
import report
from inputs import PREFIX
from runners import HERE, Failed, Program, Worker, convert, rust_worker, worker_command

ROOT = HERE.parent.parent
OURS = ["microraptor-int8", "microraptor-fp16", "microraptor-f32"]
PEERS = (
    "onnxruntime-f32 onnxruntime-int8 openvino-f32 openvino-int8 openvino-int8-bf16 ncnn-f32 ncnn-int8 "
    "rten-f32 rten-int8 tract-f32"
).split()
# An instruction set, as NAME@ISA: how ours is told (--isa), and how oneDNN below OpenVINO is (ONEDNN_MAX_CPU_ISA).
ISAS = {"avx2": "AVX2", "avxvnni": "AVX2_VNNI", "avx512vnni": "AVX512_CORE_VNNI"}
PAUSE = 0.2  # seconds between turns, for the last one's threads to fall asleep


def note(text):
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def base(runtime):
    """The name without the instruction set that it is held to."""
    return runtime.split("@")[0]


def held_to(runtime):
    """The instruction set that a runtime is held to, or None."""
    return runtime.partition("@")[2] or None


def known(runtime):
    can_be_held = base(runtime).startswith(("microraptor", "openvino"))
    return base(runtime) in OURS + PEERS and (held_to(runtime) is None or (held_to(runtime) in ISAS and can_be_held))


def prepare(args, model, size):
    peers = sorted({base(runtime) for runtime in args.runtimes if base(runtime) in PEERS})
    command = [sys.executable, HERE / "prepare.py", "--work", args.work, "--model", model, "--size", size]
    command += ["--runtimes", ",".join(peers)] + (["--image", args.image] if args.image else [])
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    log = args.work / f"prepare-{Path(model).name}-{size}.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(f"preparing {model} at {size} px failed, see {log}")
    return json.loads(done.stdout.splitlines()[-1])


def start_ours(args, runtime, case, shared, cpus):
    precision = base(runtime).split("-")[1]
    model = Path(shared["checkpoint"])
    if precision != "f32":
        out = Path(shared["folder"]).parent / f"microraptor-{precision}.safetensors"
        model = convert(args.microraptor, model, precision, shared["calibration"], out)
    folder = Path(shared["folder"])
    isa = held_to(runtime)
    return Program(args.microraptor, model, case["size"], case["threads"], cpus, shared["image"], folder, isa)


def start_peer(args, runtime, case, prepared, cpus):
    if base(runtime) in prepared["errors"]:
        raise Failed(prepared["errors"][base(runtime)])
    shared, folder = prepared["shared"], Path(prepared["shared"]["folder"])
    spec = dict(runtime=base(runtime), model=prepared["files"][base(runtime)], threads=case["threads"])
    spec.update(shape=shared["shape"], pixels=shared["pixels"], features=str(folder / f"{runtime}.f32"))
    command = worker_command(runtime, args.rust, spec, folder)
    held = {"ONEDNN_MAX_CPU_ISA": ISAS[held_to(runtime)]} if held_to(runtime) else {}
    return Worker(runtime, command, case["threads"], cpus, folder, held)


def start(args, case, prepared, cpus):
    """Starts everything and compares its features; {runtime: runner}. What fails becomes an error in `case`."""
    shared, runners = prepared["shared"], {}
    expected = dict(np.load(shared["reference"]))
    for runtime in args.runtimes:
        try:
            if base(runtime) in OURS:
                runner = start_ours(args, runtime, case, shared, cpus)
            else:
                runner = start_peer(args, runtime, case, prepared, cpus)
            runners[runtime] = runner
            found = runner.features(Path(shared["folder"]) / f"{runtime}.f32", list(expected))
            graph = shared["graph"]
            cosine = report.output_cosines(found, expected) if graph else report.cosines(found, expected, PREFIX)
            case["runtimes"][runtime] = {"version": runner.version, "cosine": cosine, "rounds": []}
        except (Failed, ValueError, OSError) as error:
            fail(case, runners, runtime, error)
    return runners


def fail(case, runners, runtime, error):
    note(f"{runtime}: {error}")
    case["runtimes"][runtime] = {"error": str(error)}
    if runtime in runners:
        runners.pop(runtime).close()


def measure(args, case, runners):
    for index in range(args.rounds):
        order = list(runners)
        random.Random(index).shuffle(order)
        for runtime in order:
            time.sleep(PAUSE)
            load = os.getloadavg()[0]
            try:
                median, least = runners[runtime].time(args.runs)
            except Failed as error:
                fail(case, runners, runtime, error)
                continue
            case["runtimes"][runtime]["rounds"].append({"median_ms": median, "min_ms": least, "load": load})
        note(f"{report.title(case)}: round {index + 1} of {args.rounds}")


def run_case(args, prepared, case):
    cpus = args.cpus[: case["threads"]]
    runners = start(args, case, prepared, cpus)
    try:
        measure(args, case, runners)
    finally:
        for runner in runners.values():
            runner.close()
    return report.finish(case)


def versions(cases):
    found = {}
    for case in cases:
        for name, runtime in case["runtimes"].items():
            if "version" in runtime:
                found[name.split("-")[0]] = runtime["version"]
    return found


def save(args, results):
    results["versions"] = versions(results["cases"])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "results.json").write_text(json.dumps(results, indent=1))
    (args.output / "report.md").write_text(report.markdown(results))


def arguments():
    split = lambda text: [part for part in text.split(",") if part]
    numbers = lambda text: [int(part) for part in split(text)]
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--models", default="s,b", type=split, help="s, b (random weights), Hugging Face folders, ONNX files")
    parser.add_argument("--sizes", default="224,384,512", type=numbers)
    parser.add_argument("--threads", default="1,2", type=numbers)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--runs", default=5, type=int, help="timed runs a turn")
    parser.add_argument(
        "--runtimes",
        default=OURS + PEERS,
        type=split,
        help=f"{', '.join(OURS + PEERS)}; ours and OpenVINO's also held to an instruction set, as openvino-int8@avx2 "
        f"({', '.join(ISAS)})",
    )
    parser.add_argument("--cpus", type=numbers, help="cores to use, the first for one thread; default all allowed ones")
    parser.add_argument("--image", type=Path, help="image to run on; default a photograph of scikit-image")
    parser.add_argument("--microraptor", type=Path, default=ROOT / "target/release/microraptor", help="our program")
    work = ROOT / "target/peers"
    parser.add_argument("--work", type=Path, default=work, help="where models go (10 GB for everything)")
    parser.add_argument("--output", type=Path, help="folder for report.md and results.json; default --work")
    args = parser.parse_args()
    unknown = {runtime for runtime in args.runtimes if not known(runtime)}
    if unknown:
        parser.error(f"unknown runtimes: {', '.join(sorted(unknown))}")
    args.cpus = args.cpus or sorted(os.sched_getaffinity(0))
    if max(args.threads) > len(args.cpus):
        parser.error(f"{max(args.threads)} threads on {len(args.cpus)} cores")
    return args


def main():
    args = arguments()
    args.work, args.microraptor = args.work.resolve(), args.microraptor.resolve()
    args.output = args.output or args.work
    args.work.mkdir(parents=True, exist_ok=True)
    if not machine.has_bf16():  # it would be emulated
        args.runtimes = [runtime for runtime in args.runtimes if base(runtime) != "openvino-int8-bf16"]
    rust = any(runtime.startswith(("rten", "tract")) for runtime in args.runtimes)
    args.rust = rust_worker() if rust else None
    facts = machine.facts(args.cpus)
    results = dict(schema=1, machine=facts, rounds=args.rounds, runs=args.runs, cases=[])
    print(report.machine(facts, {}), flush=True)
    for model in args.models:
        for size in args.sizes:
            note(f"preparing {model} at {size} px")
            prepared = prepare(args, model, size)
            for threads in args.threads:
                case = dict(model=Path(model).name, size=size, threads=threads, runtimes={})
                results["cases"].append(run_case(args, prepared, case))
                save(args, results)
    print(report.markdown(results))


if __name__ == "__main__":
    main()
