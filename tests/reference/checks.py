"""What the comparisons with other implementations share: they run the program, and collect what differs."""

import subprocess
import sys

import numpy as np

failures = []


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} {command[1]} ended with exit code {done.returncode}")
    return done.stdout


def check(what, found, expected, allowed):
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    worst = float(np.max(np.abs(found - expected))) if found.shape == expected.shape else float("inf")
    if not worst <= allowed:
        failures.append(what)
    print(f"  {'ok ' if worst <= allowed else 'NOT'} {what}: differs by {worst:.1e} (allowed {allowed:.0e})")


def demand(what, holds):
    if not holds:
        failures.append(what)
    print(f"  {'ok ' if holds else 'NOT'} {what}")
