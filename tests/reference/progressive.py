"""A progressive JPEG of grey samples (ITU-T T.81, G), for 12 bits, which no encoder at hand writes: DC and AC in a first scan
without the lowest bit, then that bit of each. The codes are the plainest that are allowed: all of 8 bits, and no runs of blocks.
"""

import numpy as np
from scipy.fft import dctn

ORDER = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))


class Scan:
    """The symbols and bits of a scan."""

    def __init__(self):
        self.items = []

    def symbol(self, symbol):
        self.items.append((True, symbol, 8))

    def bits(self, value, count):
        self.items.append((False, value, count))

    def bytes(self, is_dc, first, last, high, low):
        """Its table, where it has one, its header and its bits."""
        symbols = sorted({value for is_symbol, value, _ in self.items if is_symbol})
        text = "".join(
            format(symbols.index(value) if is_symbol else value, f"0{count}b") for is_symbol, value, count in self.items if count
        )
        text += "1" * (-len(text) % 8)
        data = bytes(int(text[n : n + 8], 2) for n in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")
        counts = [len(symbols) if length == 8 else 0 for length in range(1, 17)]
        table = segment(0xC4, bytes([0 if is_dc else 16, *counts, *symbols])) if symbols else b""
        return table + segment(0xDA, bytes([1, 1, 0, first, last, high << 4 | low])) + data


def segment(marker, data):
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


def magnitude(value):
    """Category and bits of a number (F.1.2.1)."""
    size = int(abs(value)).bit_length()
    return size, int(value) if value > 0 else int(value) + (1 << size) - 1


def first_ac(scan, block):
    """The coefficients 1 to 63 without their lowest bit."""
    run = 0
    for value in block[1:]:
        value = int(np.sign(value)) * (abs(int(value)) >> 1)
        if value == 0:
            run += 1
            continue
        for _ in range(run // 16):
            scan.symbol(0xF0)
        size, bits = magnitude(value)
        scan.symbol((run % 16) << 4 | size)
        scan.bits(bits, size)
        run = 0
    if run:
        scan.symbol(0)


def refine_ac(scan, block):
    """The lowest bit of the coefficients 1 to 63 (G.1.2.3)."""
    new = [k for k in range(1, 64) if abs(block[k]) == 1]
    run, corrections = 0, []

    def flush():
        for bit in corrections:
            scan.bits(bit, 1)
        corrections.clear()

    for k in range(1, 64):
        value = abs(int(block[k]))
        if value == 0:
            run += 1
            continue
        while run > 15 and new and k <= new[-1]:
            scan.symbol(0xF0)
            flush()
            run -= 16
        if value > 1:
            corrections.append(value & 1)
            continue
        scan.symbol(run << 4 | 1)
        scan.bits(int(block[k] > 0), 1)
        flush()
        run = 0
    if run or corrections:
        scan.symbol(0)
        flush()


def encode(samples, bits, step):
    """Grey samples of `bits` bits, quantised by `step`."""
    height, width = samples.shape
    padded = np.pad(samples.astype(np.float64), ((0, -height % 8), (0, -width % 8)), mode="edge") - (1 << (bits - 1))
    blocks = [padded[y : y + 8, x : x + 8] for y in range(0, padded.shape[0], 8) for x in range(0, padded.shape[1], 8)]
    blocks = [np.rint(dctn(block, norm="ortho") / step).astype(int).ravel()[ORDER] for block in blocks]
    dc, dc_bit, ac, ac_bit = Scan(), Scan(), Scan(), Scan()
    before = 0
    for block in blocks:
        size, value = magnitude((int(block[0]) >> 1) - before)
        before = int(block[0]) >> 1
        dc.symbol(size)
        dc.bits(value, size)
        dc_bit.bits(int(block[0]) & 1, 1)
        first_ac(ac, block)
        refine_ac(ac_bit, block)
    frame = bytes([bits, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), 1, 1, 0x11, 0])
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes([0] + [step] * 64))
        + segment(0xC2, frame)
        + dc.bytes(True, 0, 0, 0, 1)
        + ac.bytes(False, 1, 63, 0, 1)
        + dc_bit.bytes(True, 0, 0, 1, 0)
        + ac_bit.bytes(False, 1, 63, 1, 0)
        + b"\xff\xd9"
    )
