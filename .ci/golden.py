"""Compares golden files that were made again with those of the repository: `golden.py MADE KEPT`.

Numbers in JSON and safetensors must agree to 1e-4 (another CPU rounds differently); the rest of these files must be equal.
Other kinds of file are encoded by libraries, and counted where their bytes differ.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open

TOLERANCE = 1e-4
# What names a version of a library.
IGNORED = {"transformers_version", "made_with", "versions"}


def near(a, b):
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def differences(a, b, place):
    """Where two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted((a.keys() | b.keys()) - IGNORED):
            if key in a and key in b:
                yield from differences(a[key], b[key], f"{place}.{key}")
            else:
                yield f"{place}.{key} is in one of them only"
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, pair in enumerate(zip(a, b)):
            yield from differences(*pair, f"{place}[{i}]")
    elif type(a) in (int, float) and type(b) in (int, float):
        if not near(a, b):
            yield f"{place}: {a} and {b}"
    elif a != b:
        yield f"{place}: {str(a)[:60]} and {str(b)[:60]}"


def tensors(path):
    # Through torch: numpy has no bfloat16.
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).double().numpy() for name in file.keys()}


def of_tensors(made, kept):
    a, b = tensors(made), tensors(kept)
    if a.keys() != b.keys():
        yield f"other tensors: {sorted(a.keys() ^ b.keys())}"
    for name in a.keys() & b.keys():
        if a[name].shape != b[name].shape:
            yield f"{name}: shapes {a[name].shape} and {b[name].shape}"
            continue
        scale = max(1.0, float(np.abs(b[name]).max(initial=0)))
        worst = float(np.abs(a[name] - b[name]).max(initial=0))
        if not worst <= TOLERANCE * scale:
            yield f"{name}: off by {worst:.2e}"


def main():
    made, kept = map(Path, sys.argv[1:])
    same, close, bytes_differ, wrong = 0, 0, [], []
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        name = path.relative_to(made)
        if not (kept / name).exists():
            wrong.append(f"{name}: is not in {kept}")
            continue
        if path.read_bytes() == (kept / name).read_bytes():
            same += 1
            continue
        if path.suffix == ".json":
            found = differences(json.loads(path.read_text()), json.loads((kept / name).read_text()), "")
        elif path.suffix == ".safetensors":
            found = of_tensors(path, kept / name)
        else:
            bytes_differ.append(str(name))
            continue
        found = [f"{name} {difference}" for difference in found]
        wrong += found[:5]
        close += not found
    print(f"{same} files are equal, {close} agree, {len(bytes_differ)} differ in bytes only: {', '.join(bytes_differ) or 'none'}")
    if not same:
        wrong.append("nothing was made")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
