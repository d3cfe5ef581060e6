"""Ultrasound phantoms in wide variety, for self-supervised training. Nothing here is labelled.

The physics is that of src/input/phantom.rs and speckle.rs: a map of echogenicity in dB, attenuation summed along the
beam, fully developed speckle (complex Gaussian scatterers through a separable Gaussian point-spread function),
compounding of several looks, log compression. What is wide here: probe, depth of field, frequency, gain, time gain,
dynamic range, layers, fibres, and what lies in them (cysts, smooth and irregular masses, vessels, calcifications, bone,
gas, shadows), and what a scanner does afterwards (filters, sector geometry, callipers).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


def smooth_noise(rng, side, cols, rows):
    """Noise of deviation about 1, `[side, side]`, interpolated from a grid of `rows` x `cols` cells (cubic)."""
    grid = torch.from_numpy(rng.standard_normal((1, 1, max(2, int(rows)) + 2, max(2, int(cols)) + 2)).astype(np.float32))
    return 1.3 * F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=True)[0, 0].numpy()


def step(low, high, x):
    """Hermite's smooth step."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


class Tissue:
    """Echogenicity in dB (0: gland) and attenuation in dB/mm, there and back, over a square field."""

    def __init__(self, rng, side):
        self.side, self.field = side, rng.uniform(25.0, 75.0)
        self.mm = self.field / side
        at = (np.arange(side, dtype=np.float32) + 0.5) * self.mm
        self.z, self.x = np.meshgrid(at, at, indexing="ij")
        self.db = np.zeros((side, side), np.float32)
        self.attenuation = np.zeros((side, side), np.float32)
        self.layers(rng)

    def layers(self, rng):
        count = rng.integers(2, 7)
        tops = np.concatenate([[-1.0], np.sort(rng.uniform(0.03, 0.9, count - 1)) * self.field])
        for i, top in enumerate(tops):
            boundary = top + self.wave(rng, rng.uniform(0.0, 2.5)) * (i > 0)
            depth = self.z - boundary[None, :]
            grain = rng.uniform(3.0, 14.0), rng.uniform(0.8, 4.0)
            mottle = smooth_noise(rng, self.side, self.field / grain[0], self.field / grain[1])
            here = rng.uniform(-18.0, 5.0) + rng.uniform(1.0, 7.0) * mottle
            if rng.random() < 0.6:
                # Fibres run where a noise crosses zero.
                lines = smooth_noise(rng, self.side, self.field / 9.0, self.field / rng.uniform(1.0, 3.0))
                here = here + rng.uniform(4.0, 14.0) * np.clip(1.0 - 3.0 * np.abs(lines), 0.0, 1.0)
            self.db += step(-0.3, 0.3, depth) * (here - self.db)
            if i > 0 and rng.random() < 0.7:
                self.db += rng.uniform(3.0, 20.0) * (1.0 - step(0.0, 0.5, np.abs(depth)))

    def wave(self, rng, amplitude):
        """A wavy line over the width, mm: `[side]`."""
        x = self.x[0]
        parts = [(80.0, 1.0), (35.0, 0.5), (15.0, 0.25)]
        return sum(
            amplitude * share * rng.uniform(0.4, 1.0) * np.sin(2 * math.pi * x / (length * rng.uniform(0.8, 1.2)) + rng.uniform(0, 6.3))
            for length, share in parts
        )

    def outline(self, rng, radius, aspect, waves):
        """Signed distance in mm from a closed outline, and how much it faces the probe."""
        x0, z0 = rng.uniform(0.15, 0.85) * self.field, rng.uniform(0.15, 0.75) * self.field
        x, z = self.x - x0, self.z - z0
        angle = np.arctan2(z, x)
        tilt = rng.uniform(-0.5, 0.5)
        sin, cos = np.sin(angle - tilt), np.cos(angle - tilt)
        edge = radius / np.sqrt(cos * cos + sin * sin / (aspect * aspect))
        ripple = sum(a * rng.uniform(0.5, 1.5) * np.cos(k * angle + rng.uniform(0, 6.3)) for k, a in waves)
        distance = np.hypot(x, z)
        facing = (z / np.maximum(distance, 1e-3)) ** 4
        return distance - edge * np.maximum(1.0 + ripple, 0.3), facing

    def put(self, distance, facing, softness, db, attenuation, wall=0.0, halo=0.0, trace=0.4):
        inside = 1.0 - step(-softness, softness, distance)
        self.db += inside * (db + trace * self.db - self.db)
        self.db += wall * facing * (1.0 - step(0.0, 0.4, np.abs(distance)))
        self.db += halo * (1.0 - step(0.0, 1.5, np.abs(distance - 1.0)))
        self.attenuation += inside * attenuation

    def cyst(self, rng):
        shape = self.outline(rng, self.radius(rng), rng.uniform(0.6, 1.0), [(2, 0.04), (3, 0.03)])
        self.put(*shape, 0.25, rng.uniform(-60.0, -30.0), -rng.uniform(0.3, 0.8), wall=rng.uniform(3, 9), trace=0.1)

    def smooth_mass(self, rng):
        shape = self.outline(rng, self.radius(rng), rng.uniform(0.45, 0.8), [(2, 0.05), (3, 0.05), (4, 0.02)])
        self.put(*shape, rng.uniform(0.25, 0.5), rng.uniform(-18.0, -6.0), rng.uniform(-0.4, 0.2), wall=rng.uniform(0, 8))

    def irregular_mass(self, rng):
        waves = [(2, 0.12), (3, 0.12), (4, 0.09), (5, 0.07)]
        waves += [(k, rng.uniform(0.01, 0.06)) for k in range(7, 18, 2)]
        shape = self.outline(rng, self.radius(rng), rng.uniform(0.7, 1.4), waves)
        self.put(*shape, rng.uniform(0.4, 1.3), rng.uniform(-22.0, -10.0), rng.uniform(0.3, 1.8), halo=rng.uniform(0, 6))
        if rng.random() < 0.3:
            self.specks(rng, shape[0] < 0.0)

    def bright_mass(self, rng):
        shape = self.outline(rng, self.radius(rng), rng.uniform(0.4, 0.9), [(2, 0.1), (3, 0.06)])
        self.put(*shape, rng.uniform(0.3, 0.8), rng.uniform(2.0, 10.0), rng.uniform(-0.1, 0.4))

    def specks(self, rng, where):
        """Calcifications: bright points."""
        rows, cols = np.nonzero(where)
        if len(rows) == 0:
            return
        for i in rng.integers(0, len(rows), rng.integers(3, 12)):
            distance = np.hypot(self.x - cols[i] * self.mm, self.z - rows[i] * self.mm)
            self.db += rng.uniform(8.0, 20.0) * (1.0 - step(0.1, 0.5, distance))
            self.attenuation += rng.uniform(0.0, 3.0) * (distance < 0.4)

    def vessel(self, rng):
        """A tube with bright walls, along or across the plane."""
        if rng.random() < 0.5:
            shape = self.outline(rng, rng.uniform(0.02, 0.08) * self.field, rng.uniform(0.8, 1.0), [(2, 0.02)])
        else:
            line = rng.uniform(0.2, 0.8) * self.field + self.wave(rng, 2.0) + np.tan(rng.uniform(-0.4, 0.4)) * (self.x[0] - self.field / 2)
            away = np.abs(self.z - line[None, :])
            shape = away - rng.uniform(0.015, 0.06) * self.field, np.ones_like(self.z)
        self.put(*shape, 0.2, rng.uniform(-60.0, -28.0), -rng.uniform(0.2, 0.6), wall=rng.uniform(3, 12), trace=0.1)

    def surface(self, rng):
        """Bone (nothing behind it) or gas (echoes of it repeated behind it)."""
        line = rng.uniform(0.3, 0.9) * self.field + self.wave(rng, 3.0)
        x0, width = rng.uniform(0, self.field), rng.uniform(0.15, 0.6) * self.field
        across = 1.0 - step(0.4, 0.5, np.abs(self.x - x0) / width)
        depth = self.z - line[None, :]
        self.db += across * rng.uniform(12.0, 28.0) * (1.0 - step(0.0, 0.7, np.abs(depth)))
        if rng.random() < 0.5:
            self.attenuation += across * (np.abs(depth) < 1.0) * rng.uniform(8.0, 20.0)
        else:
            pitch = rng.uniform(2.0, 8.0)
            rings = np.exp(-np.maximum(depth, 0) / 12.0) * (np.cos(2 * math.pi * depth / pitch) > 0.6)
            self.db += across * (depth > 0) * (rng.uniform(6.0, 16.0) * rings - 8.0)

    def shadow(self, rng):
        """Lost contact of the probe: a dark band from the skin on."""
        x0, width = rng.uniform(0, self.field), rng.uniform(0.03, 0.25) * self.field
        self.attenuation += rng.uniform(0.1, 1.2) * (1.0 - step(0.3, 0.6, np.abs(self.x - x0) / width))

    def radius(self, rng):
        return self.field * math.exp(rng.uniform(math.log(0.05), math.log(0.24)))

    def populate(self, rng):
        kinds = [self.cyst, self.smooth_mass, self.irregular_mass, self.bright_mass, self.vessel, self.surface]
        weights = np.array([0.18, 0.26, 0.3, 0.06, 0.14, 0.06])
        for _ in range(rng.choice(4, p=[0.2, 0.5, 0.2, 0.1])):
            kinds[rng.choice(len(kinds), p=weights)](rng)
        if rng.random() < 0.15:
            self.shadow(rng)
        if rng.random() < 0.1:
            self.specks(rng, np.ones((self.side, self.side), bool))

    def echo(self, rng):
        """Amplitude that comes back, `[side, side]`."""
        way = np.cumsum(self.attenuation, 0) * self.mm
        half = max(1, int(0.6 / self.mm))
        way = np.stack([np.roll(way, s, 1) for s in range(-half, half + 1)]).mean(0)
        deep = self.z / self.field
        fade = rng.uniform(0.0, 0.5) * np.maximum(self.z - rng.uniform(0.3, 0.7) * self.field, 0.0)
        gain = rng.uniform(-7.0, 7.0) + rng.uniform(-5.0, 5.0) * deep
        noise = 10.0 ** ((gain - rng.uniform(30.0, 55.0) + 10.0 * deep) / 20.0)
        return 10.0 ** ((self.db - way - fade + gain) / 20.0) + noise


def speckle(rng, echo, mm):
    """Envelope, mean of several looks, `[side, side]`."""
    side = echo.shape[0]
    megahertz = rng.uniform(4.0, 14.0)
    axial = max(1.5, 2.2 * 1.54 / megahertz / mm) / 2.355
    lateral = max(1.5, rng.uniform(2.0, 4.5) * 1.54 / megahertz / mm) / 2.355
    depth = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
    focus = np.clip(np.abs(depth - rng.uniform(0.2, 0.7)) * rng.uniform(0.8, 2.5), 0.0, 1.0)
    fz = torch.fft.fftfreq(side)[:, None]
    fx = torch.fft.fftfreq(side)[None, :]

    def field(width):
        spectrum = torch.exp(-((2 * math.pi) ** 2) * ((axial * fz) ** 2 + (width * fx) ** 2))
        spectrum = spectrum / spectrum.pow(2).mean().sqrt()
        out = []
        for _ in range(looks):
            scatter = rng.standard_normal((2, side, side)).astype(np.float32) * echo / math.sqrt(2)
            filtered = torch.fft.ifft2(torch.fft.fft2(torch.complex(*torch.from_numpy(scatter.astype(np.float32)))) * spectrum)
            out.append(filtered.abs())
        return torch.stack(out).mean(0).numpy()

    looks = int(rng.choice([1, 2, 3, 5], p=[0.3, 0.25, 0.3, 0.15]))
    near = field(lateral)
    # Away from the focus the beam is wider.
    return near if rng.random() < 0.5 else near * (1 - focus) + focus * field(1.8 * lateral)


def display(rng, envelope):
    """Grey levels from 0 to 1 of the amplitudes."""
    grey = rng.uniform(0.42, 0.66) + 20.0 * np.log10(np.maximum(envelope, 1e-6)) / rng.uniform(45.0, 75.0)
    grey = np.clip(grey, 0.0, 1.0) ** rng.uniform(0.7, 1.5)
    if rng.random() < 0.5:
        # Speckle reduction, then sharper edges: what scanners do.
        image = torch.from_numpy(grey.astype(np.float32))[None, None]
        soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
        grey = (soft + rng.uniform(-0.6, 0.8) * (image - soft))[0, 0].numpy()
    return np.clip(grey, 0.0, 1.0)


def sector(rng, grey):
    """The picture of a curved or phased probe: columns become beams that spread from an apex; black beside them."""
    side = grey.shape[0]
    half = rng.uniform(0.35, 0.8)
    inner = rng.uniform(0.05, 0.6)
    z, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(-1, 1, side), indexing="ij")
    x = x * (inner + 1.0) * math.sin(half)
    z = inner * math.cos(half) + z * (inner + 1.0 - inner * math.cos(half))
    radius, angle = np.hypot(x, z), np.arctan2(x, z)
    grid = np.stack([angle / half, 2.0 * (radius - inner) - 1.0], -1).astype(np.float32)
    image = torch.from_numpy(grey.astype(np.float32))[None, None]
    return F.grid_sample(image, torch.from_numpy(grid)[None], align_corners=False)[0, 0].numpy()


def decorate(rng, grey):
    """Black borders and callipers, as saved pictures have them."""
    side = grey.shape[0]
    if rng.random() < 0.12:
        edge = rng.integers(0, side // 6, 4)
        grey[: edge[0]] = 0
        grey[side - edge[1] :] = 0
        grey[:, : edge[2]] = 0
        grey[:, side - edge[3] :] = 0
    if rng.random() < 0.1:
        for _ in range(rng.integers(2, 5)):
            row, col, arm = *rng.integers(8, side - 8, 2), rng.integers(2, 5)
            grey[row, col - arm : col + arm + 1] = 1.0
            grey[row - arm : row + arm + 1, col] = 1.0
    return grey


def phantom(rng, side):
    """A grey picture, `[side, side]` of uint8."""
    tissue = Tissue(rng, side)
    tissue.populate(rng)
    grey = display(rng, speckle(rng, tissue.echo(rng), tissue.mm))
    if rng.random() < 0.2:
        grey = sector(rng, grey)
    return (255.0 * decorate(rng, grey)).round().astype(np.uint8)
