#!/usr/bin/env python3
"""OpenIGTLink messages as pyigtl packs them: what the tests of `src/live/igtl` and `tests/damaged.rs` read.

    python make_igtl.py

Writes `../golden/igtl/*.igtl`, pictures of 10 x 8 px that count up, rows 0.2 mm and columns 0.3 mm apart: grey (header of
version 1), RGB (version 2 with metadata), 16-bit and RGBA ones, a volume, and a stream of several messages.

Made with pyigtl 0.3.4.
"""
import pathlib

import numpy as np
import pyigtl

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "igtl"
MATRIX = np.array([[0.3, 0, 0, 12], [0, -0.2, 0, 5], [0, 0, 1, -7], [0, 0, 0, 1]])
# Exact in the protocol's fractions of a second.
TIME = 1700000000.5


def image(pixels, version=1, metadata=None, device="Probe", coordinates=None):
    message = pyigtl.ImageMessage(
        pixels, ijk_to_world_matrix=MATRIX, timestamp=TIME, device_name=device, world_coordinate_system=coordinates
    )
    message.header_version = version
    message.metadata = metadata or {}
    return message.pack()


def counted(*shape, dtype=np.uint8, step=1):
    return (np.arange(np.prod(shape)) * step).astype(dtype).reshape(shape)


GOLDEN.mkdir(parents=True, exist_ok=True)
grey = counted(1, 8, 10)
messages = {
    "grey": image(grey),
    "rgb-metadata": image(counted(1, 8, 10, 3), 2, {"Patient": "none", "Gain": "12"}, coordinates="ras"),
    "rgba": image(counted(1, 8, 10, 4)),
    "int16-little": image(counted(1, 8, 10, dtype="<i2", step=20) - np.int16(1000)),
    "float32-big": image(counted(1, 8, 10, dtype=">f4", step=20) - np.array(1000, ">f4")),
    "volume": image(counted(3, 8, 10)),
    "two-components": image(counted(1, 8, 10, 2)),
}
transform = pyigtl.TransformMessage(MATRIX, timestamp=TIME, device_name="ProbeToTracker").pack()
text = pyigtl.StringMessage("hello", timestamp=TIME, device_name="Text").pack()
messages["several"] = transform + messages["grey"] + text + image(grey, device="Other") + messages["rgb-metadata"]
for name, content in messages.items():
    (GOLDEN / f"{name}.igtl").write_bytes(content)
