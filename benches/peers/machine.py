"""What machine this is, for the head of a report."""

import os
import platform
from pathlib import Path

# The extensions that a runtime may choose its kernels by; x86-64 and aarch64 names as Linux gives them.
ISA_FLAGS = (
    "avx avx2 fma f16c avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 "
    "asimd asimddp asimdhp i8mm bf16 sve sve2"
).split()


def cpuinfo():
    """Fields of /proc/cpuinfo's first core."""
    text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def isa_flags():
    fields = cpuinfo()
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return [flag for flag in ISA_FLAGS if flag in present]


def has_bf16():
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(isa_flags()))


def read(path, default="unknown"):
    try:
        return Path(path).read_text().strip("\0\n ")
    except OSError:
        return default


def facts(cpus):
    """A dictionary; `cpus` are those that the measurement may use."""
    fields = cpuinfo()
    memory = next(line for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": fields.get("model name") or read("/proc/device-tree/model"),
        "family, model, stepping": "/".join(fields.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "ISA": " ".join(isa_flags()),
        "cores": os.cpu_count(),
        "cpus used": ",".join(map(str, cpus)),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory GiB": round(int(memory.split()[1]) / 2**20, 1),
        "kernel": platform.release(),
        "load average at start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
