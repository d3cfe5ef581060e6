#!/usr/bin/env python3
"""YUV4MPEG2 of more than 8 bits and other matrices than BT.601, as ffmpeg with zimg makes and reads it: what
`tests/input/y4m.rs` compares with.

    python make_y4m.py

Writes `../golden/y4m/*.y4m`, a frame of 8 x 8 px of noise (ours) each, and `../golden/y4m.json`: of each the options to read
it with and its pixels as 16-bit numbers, red, green and blue. Greys are not among them: ffmpeg leaves those to swscale, which
does not round to the nearest.

Made with ffmpeg 5.1.9 and its zscale filter (libzimg).
"""
import json
import pathlib
import subprocess

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SIDE = 8
# Name, pixel format, matrix for ffmpeg, matrix for the program, range.
CASES = [
    ("bt601_limited", "yuv444p", "170m", None, "limited"),
    ("bt709_limited", "yuv444p", "709", "bt709", "limited"),
    ("bt709_full", "yuv444p", "709", "bt709", "full"),
    ("bt601_10", "yuv444p10le", "170m", "bt601", "limited"),
    ("bt709_10_full", "yuv444p10le", "709", "bt709", "full"),
    ("bt2020_12", "yuv444p12le", "2020_ncl", "bt2020", "limited"),
    ("bt709_16", "yuv444p16le", "709", "bt709", "limited"),
]


def ffmpeg(arguments, data):
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def main():
    folder = GOLDEN / "y4m"
    folder.mkdir(exist_ok=True)
    out = {}
    for seed, (name, kind, matrix, ours, span) in enumerate(CASES):
        pixels = np.random.default_rng(seed).integers(0, 65536, (SIDE, SIDE, 3)).astype("<u2")
        source = ["-f", "rawvideo", "-s", f"{SIDE}x{SIDE}", "-pix_fmt", "rgb48le", "-i", "-"]
        turn = f"matrixin=gbr:matrix={matrix}:"
        path = folder / f"{name}.y4m"
        ffmpeg([*source, "-vf", f"zscale={turn}rangein=full:range={span},format={kind}", "-strict", "-1", "-f",
                "yuv4mpegpipe", str(path)], pixels.tobytes())
        back = f"matrixin={matrix}:matrix=gbr:"
        target = "gbrp16le"
        raw = ffmpeg(["-i", str(path), "-vf", f"zscale={back}rangein={span}:range=full,format={target}", "-f", "rawvideo",
                      "-pix_fmt", target, "-"], b"")
        green, blue, red = np.frombuffer(raw, "<u2").reshape(3, SIDE, SIDE)
        read = np.stack([red, green, blue], -1)
        out[f"{name}.y4m"] = {"header": path.read_bytes().split(b"\n")[0].decode(), "matrix": ours, "range": span,
                              "pixels": read.ravel().tolist()}
    (GOLDEN / "y4m.json").write_text(json.dumps({"golden": out}) + "\n")


if __name__ == "__main__":
    main()
