"""Compares `microraptor stream` over OpenIGTLink with `predict`, by means of pyigtl at the other end.

    python tests/reference/igtl.py --binary target/release/microraptor

A program built with the feature igtl first connects to a server of pyigtl and is sent grey and RGB pictures, then listens
for a client of pyigtl. In both ways the text that comes back must be the line on standard output, its answers those of
`predict` for the same picture, and the mask the file that `predict --masks` writes. Needs pyigtl, NumPy and Pillow.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import numpy
import pyigtl
from PIL import Image

# Rows 0.2 mm and columns 0.3 mm apart, the rows upwards in space: areas follow from it, and masks have it too.
MATRIX = numpy.array([[0.3, 0, 0, 12], [0, -0.2, 0, 5], [0, 0, 1, -7], [0, 0, 0, 1]])
SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(peer, device):
    message = peer.wait_for_message(device, timeout=SECONDS)
    assert message is not None, f"nothing has come from {device} in {SECONDS} s"
    return message


class Stream:
    """A running program, and a peer of it."""

    def __init__(self, binary, heads, source, *options):
        command = [binary, "stream", "demo", *heads, "--policy", "every", "--stall", "1", *options, source]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.line()["event"] == "started"

    def line(self):
        return json.loads(self.raw())

    def raw(self):
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return line.rstrip("\n")

    def frame(self):
        """The next line about a frame, as it is."""
        while True:
            line = self.raw()
            if json.loads(line)["event"] == "frame":
                return line
            assert json.loads(line)["event"] in ("stalled", "resumed"), line

    def end(self, answered):
        self.process.terminate()
        lines = [json.loads(line) for line in self.process.stdout]
        assert self.process.wait(SECONDS) == 0
        ended = lines[-1]
        assert ended["event"] == "ended" and ended["reason"] == "signal", ended
        assert ended["answered"] == answered, ended


def check(stream, peer, pixels, expected, version=1, device="Image"):
    """Sends a picture, and compares what comes back."""
    message = pyigtl.ImageMessage(pixels[None], ijk_to_world_matrix=MATRIX, device_name=device)
    message.header_version = version
    if version > 1:
        message.metadata = {"Probe": "linear"}
    peer.get_latest_messages()
    assert peer.send_message(message, wait=False)
    text = stream.frame()
    line = json.loads(text)
    mask = wait(peer, "microraptor-mask-2")
    # The text lies before the mask in what is sent.
    answer = wait(peer, "microraptor")
    assert answer.message_type == "STRING" and answer.string == text, (answer.string, text)
    heads, labels = expected
    for head in line["heads"]:
        for area in head.get("areas", {}).values():
            # To f32's precision, in which the protocol states the spacing.
            assert abs(area.pop("mm2") - area["pixels"] * 0.3 * 0.2) <= 1e-6 * area["pixels"], area
    assert line["heads"] == heads, (line["heads"], heads)
    assert mask.image.shape == (1, *labels.shape) and mask.image.dtype == numpy.uint8, mask.image.shape
    assert (mask.image[0] == labels).all(), "the mask is not that of predict"
    assert numpy.allclose(mask.ijk_to_world_matrix, MATRIX, atol=1e-4), mask.ijk_to_world_matrix
    assert mask.world_coordinate_system == "lps"
    assert abs(mask.timestamp - message.timestamp) < 1e-6 and abs(answer.timestamp - message.timestamp) < 1e-6
    assert abs(line["exposed"] - message.timestamp) < 0.05, (line["exposed"], message.timestamp)
    return labels


def predicted(run, folder, heads, path):
    """What `predict` says of a picture, and the classes of its mask."""
    masks = folder / f"masks-{path.stem}"
    line = json.loads(run("predict", "demo", *heads, "--masks", masks, path))
    found = None
    for head in line["heads"]:
        name = head.pop("mask", None)
        if name is not None:
            # One class beside the background is white in the file.
            found = numpy.asarray(Image.open(name[0] if isinstance(name, list) else name)) // 255
    return line["heads"], found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    args = parser.parse_args()
    binary = os.path.abspath(args.binary)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def run(*command):
            return subprocess.run([binary, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout

        run("demo", "-o", folder / "demo", "--phantoms", 8, "--seed", 3, "--sizes", 64)
        heads = []
        for name in ("class", "lesion"):
            heads += ["--head", folder / "demo" / f"{name}.safetensors"]
        pictures = sorted((folder / "demo" / "phantoms" / "images").glob("*.png"))[:4]
        sent = []
        for number, path in enumerate(pictures):
            grey = numpy.asarray(Image.open(path).convert("L"))
            pixels = grey if number % 2 == 0 else numpy.stack([grey, 255 - grey, grey // 2], axis=-1)
            path = folder / f"{number}.png"
            Image.fromarray(pixels).save(path)
            sent.append((pixels, predicted(run, folder, heads, path)))
        assert any(labels.any() for _, (_, labels) in sent), "a mask of nothing would prove nothing"

        port = free_port()
        server = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
        stream = Stream(binary, heads, f"igtl://127.0.0.1:{port}")
        assert json.loads(wait(server, "microraptor").string)["event"] == "started"
        for number, (pixels, expected) in enumerate(sent):
            check(stream, server, pixels, expected, version=1 + number % 2)
        # What is no picture is passed over, and other devices are.
        server.send_message(pyigtl.TransformMessage(device_name="ProbeToTracker"), wait=False)
        server.send_message(pyigtl.StringMessage("hello", device_name="Text"), wait=False)
        server.send_message(pyigtl.ImageMessage(sent[1][0][None], device_name="Other"), wait=False)
        check(stream, server, *sent[0])
        stream.end(len(sent) + 1)
        server.stop()
        print(f"as a client of pyigtl's server: {len(sent) + 1} pictures")

        port = free_port()
        stream = Stream(binary, heads, f"igtl-listen://:{port}", "--igtl-device", "Probe")
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
        assert json.loads(wait(client, "microraptor").string)["event"] == "started"
        client.send_message(pyigtl.ImageMessage(sent[1][0][None], device_name="Other"), wait=False)
        for pixels, expected in sent:
            check(stream, client, pixels, expected, device="Probe")
        while stream.line()["event"] != "stalled":
            pass
        text = wait(client, "microraptor").string
        assert json.loads(text)["event"] == "stalled", text
        client.stop()
        # Somebody else takes over.
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
        assert json.loads(wait(client, "microraptor").string)["event"] == "started"
        check(stream, client, *sent[0], version=2, device="Probe")
        stream.end(len(sent) + 1)
        ended = json.loads(wait(client, "microraptor").string)
        assert ended["event"] == "ended", ended
        client.stop()
        print(f"as a server of pyigtl's clients: {len(sent) + 1} pictures")

        port = free_port()
        stream = Stream(binary, heads, f"igtl://127.0.0.1:{port}")
        for _ in range(2):
            server = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
            assert json.loads(wait(server, "microraptor").string)["event"] == "started"
            check(stream, server, *sent[0])
            server.stop()
        stream.end(2)
        print("a server that comes late, goes away and comes back: 2 pictures")


if __name__ == "__main__":
    main()
