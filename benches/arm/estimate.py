#!/usr/bin/env python3
"""Estimated milliseconds a frame on the boards of `boards/*.toml`: docs/arm.md says where each number comes from.

Nothing here is a measurement on a board. Needs Python 3.11 and nothing else.
"""

import tomllib
from pathlib import Path

BOARDS = Path(__file__).parents[2] / "boards"

# For each core: multiply-adds a cycle of the 8-bit product, of attention's second product at 224 and 512 px, and of the f32 product, in
# which fp16 layers run (llvm-mca 22.1.8, the second 23); instructions a cycle of what lies between them (llvm-mca on the softmax and
# quantising loops; A53 and Carmel: assumed), and whose counts it takes.
CORES = {
    "Cortex-A53": (3.85, (2.3, 2.6), 2.1, 0.8, "neon"),
    "Cortex-A57": (7.99, (5.8, 6.8), 4.0, 1.3, "neon"),
    "Cortex-A72": (7.99, (5.8, 6.8), 4.0, 1.3, "neon"),
    "Carmel": (7.99, (5.8, 6.8), 8.0, 2.2, "neon"),
    "Cortex-A76": (31.98, (11.5, 14.3), 8.0, 2.2, "dotprod"),
    "Cortex-A78": (31.98, (16.5, 21.8), 8.0, 2.3, "dotprod"),
    "Cortex-A78AE": (31.98, (16.5, 21.8), 8.0, 2.3, "dotprod"),
    "Neoverse-V3AE": (63.8, (17.5, 27.5), 8.0, 2.3, "i8mm"),
}

# One forward pass in int8: tokens, millions of multiply-adds in the 8-bit product, in attention's second product (keys rounded up to 32)
# and in the f32 product, millions of executed instructions in all the rest, megabytes of weights.
MODELS = {
    "S 224": (201, (4598, 207, 58), {"neon": 237, "dotprod": 197, "i8mm": 204}, 22.4),
    "S 512": (1029, (28022, 5007, 302), {"neon": 2121, "dotprod": 1711, "i8mm": 1800}, 22.4),
    "B 224": (201, (17745, 415, 116), {"neon": 477, "dotprod": 397, "i8mm": 411}, 87.4),
}

# Of two threads the second adds 0.87 to 1.0 (docs/performance.md, on x86-64): assumed for all of one cluster.
EFFICIENCY = 0.93
# Share of the memory's bandwidth that a few cores reach: assumed.
REACHED = 0.6


def cycles(core: str, model: str) -> float:
    """Millions of cycles of one pass on one thread."""
    products, means, floats, ipc, counted = CORES[core]
    tokens, (int8, second, f32), rest, _ = MODELS[model]
    return int8 / products + second / means[tokens > 512] + f32 / floats + rest[counted] / ipc


def speedup(threads: int, tokens: int) -> float:
    """Of some threads over one: they share whole tiles of six tokens."""
    tiles = -(-tokens // 6)
    return tiles / -(-tiles // threads) * EFFICIENCY


def main() -> None:
    print("| board | cores | " + " | ".join(MODELS) + " |")
    print("|---|---|" + "---|" * len(MODELS))
    for path in sorted(BOARDS.glob("*.toml")):
        board = tomllib.loads(path.read_text())
        cluster = board.get("clusters", [{}])[0]
        core = cluster.get("core")
        if core not in CORES:
            continue
        first = board["threads"]["clusters"]
        threads = sum(c["count"] for c in board["clusters"] if c["name"] in first)
        # A cluster of unlike clocks is as fast as its slowest core.
        ghz = min(c["max_mhz"] for c in board["clusters"] if c["name"] in first) / 1e3
        line = f"| {board['title']} | {threads} x {core}, {ghz:.2f} GHz |"
        for name, (tokens, _, _, weights) in MODELS.items():
            one = cycles(core, name) / ghz
            once = weights / (board["memory"]["bandwidth_gbs"] * REACHED)
            line += f" {one:.0f} / {max(one / speedup(threads, tokens), once):.0f} ({once:.1f}) |"
        print(line)


if __name__ == "__main__":
    main()
