"""Procedural textures and shapes, so that the features are not of ultrasound alone. Grey, unlabelled."""

import math

import numpy as np

from phantoms import smooth_noise


def fractal(rng, side):
    """Noise with a power spectrum 1/f^a."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], rng.uniform(0.5, 2.0) * np.fft.fftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((side, side))) / frequency ** rng.uniform(0.6, 1.8)
    return spread(np.fft.ifft2(spectrum).real)


def grating(rng, side):
    """Waves that a noise bends."""
    z, x = np.mgrid[:side, :side] / side
    angle, cycles = rng.uniform(0, math.pi), rng.uniform(3, 30)
    bend = rng.uniform(0, 0.15) * smooth_noise(rng, side, *rng.integers(2, 9, 2))
    wave = np.sin(2 * math.pi * cycles * (x * math.cos(angle) + z * math.sin(angle) + bend))
    return spread(np.sign(wave) * np.abs(wave) ** rng.uniform(0.2, 1.5))


def cells(rng, side):
    """Voronoi cells: distance to the nearest point, to the border, or a grey of its own."""
    points = rng.uniform(0, side, (rng.integers(6, 60), 2))
    z, x = np.mgrid[:side, :side]
    away = np.hypot(z[None] - points[:, 0, None, None], x[None] - points[:, 1, None, None])
    nearest = np.partition(away, 1, 0)
    which = rng.integers(3)
    if which == 0:
        return spread(nearest[0])
    if which == 1:
        return spread(np.minimum(nearest[1] - nearest[0], rng.uniform(2, 12)))
    return rng.random(len(points))[away.argmin(0)]


def spread(values):
    """To the range from 0 to 1, the outermost per cent cut."""
    low, high = np.percentile(values, [1, 99])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def leaves(rng, side):
    """Shapes over each other, each with a texture of its own, larger ones rarer (a dead-leaves model)."""
    picture = plain(rng, side)
    z, x = np.mgrid[:side, :side]
    for _ in range(rng.integers(4, 28)):
        radius = side * 0.04 / rng.random() ** 0.5
        radius = min(radius, 0.35 * side)
        dz, dx = z - rng.uniform(0, side), x - rng.uniform(0, side)
        angle, distance = np.arctan2(dz, dx) + rng.uniform(0, 6.3), np.hypot(dz, dx)
        corners = rng.integers(2, 7)
        edge = radius * (1 + rng.uniform(0, 0.4) * np.cos(corners * angle) + rng.uniform(0, 0.15) * np.cos(3 * corners * angle))
        inside = distance < edge
        filling = plain(rng, side) if rng.random() < 0.5 else np.full((side, side), rng.random())
        picture = np.where(inside, filling, picture)
    return picture


def plain(rng, side):
    """One texture over the whole picture."""
    picture = [fractal, grating, cells][rng.choice(3, p=[0.5, 0.3, 0.2])](rng, side)
    low, high = np.sort(rng.random(2))
    return low + (high - low) * picture


def texture(rng, side):
    """A grey picture, `[side, side]` of uint8."""
    picture = leaves(rng, side) if rng.random() < 0.6 else plain(rng, side)
    picture = picture + rng.uniform(0, 0.06) * rng.standard_normal((side, side))
    return (255.0 * np.clip(picture, 0, 1)).round().astype(np.uint8)
