"""Random views of a batch of pictures: crops with a change of shape, flips, and what gain and noise do to grey levels."""

import math

import torch
import torch.nn.functional as F

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def uniform(rng, count, low, high):
    return low + (high - low) * torch.rand(count, generator=rng)


def crop(rng, pictures, size, scale):
    """One random crop of each of `pictures` (`[n, 1, side, side]`), `[n, 1, size, size]`. `scale`: its share of the area."""
    n = pictures.shape[0]
    area = uniform(rng, n, *scale)
    ratio = torch.exp(uniform(rng, n, -math.log(4 / 3), math.log(4 / 3)) / 2)
    width, height = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
    x0, y0 = uniform(rng, n, -1, 1) * (1 - width), uniform(rng, n, -1, 1) * (1 - height)
    flip = 1 - 2 * (torch.rand(n, generator=rng) < 0.5).float()
    zero = torch.zeros(n)
    theta = torch.stack([torch.stack([width * flip, zero, x0], 1), torch.stack([zero, height, y0], 1)], 1)
    # Twice the size and then the mean of four, so that a smaller picture is not an aliased one.
    fine = 2 if size < pictures.shape[-1] * scale[1] ** 0.5 else 1
    grid = F.affine_grid(theta, (n, 1, size * fine, size * fine), align_corners=False)
    view = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(view, fine) if fine > 1 else view


def photometric(rng, view):
    """Gain, contrast, gamma; some blurred, some with noise."""
    n = view.shape[0]

    def each(low, high):
        return uniform(rng, n, low, high).view(n, 1, 1, 1)

    some = torch.rand(n, generator=rng).view(n, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(view, (1, 1, 1, 1), mode="replicate"), 3, 1)
    view = torch.where(some < 0.3, blurred, view)
    view = view.clamp(1e-4, 1) ** torch.exp(each(-0.4, 0.4))
    view = (view - 0.3) * each(0.65, 1.4) + 0.3 + each(-0.15, 0.15)
    noise = torch.randn(view.shape, generator=rng) * each(0, 0.06)
    return torch.where(some > 0.7, view + noise, view).clamp(0, 1)


def views(rng, pictures, count, size, scale):
    """`count` views of each picture, one batch after the other: `[count * n, 3, size, size]`, normalised."""
    many = torch.cat([photometric(rng, crop(rng, pictures, size, scale)) for _ in range(count)])
    return (many - MEAN) / STD


def masks(rng, count, side, share=0.5, most=0.5):
    """Blocks of patches to hide from the student: `[count, side * side]`. `share` of the pictures have any."""
    hidden = torch.zeros(count, side, side, dtype=torch.bool)
    for i in range(int(count * share)):
        wanted = float(uniform(rng, 1, 0.1, most)) * side * side
        while hidden[i].sum() < wanted:
            area = float(uniform(rng, 1, 0.08, 0.3)) * side * side
            ratio = math.exp(float(uniform(rng, 1, -0.7, 0.7)))
            h, w = max(1, round(math.sqrt(area * ratio))), max(1, round(math.sqrt(area / ratio)))
            h, w = min(h, side), min(w, side)
            y = int(torch.randint(0, side - h + 1, (1,), generator=rng))
            x = int(torch.randint(0, side - w + 1, (1,), generator=rng))
            hidden[i, y : y + h, x : x + w] = True
    return hidden.flatten(1)[torch.randperm(count, generator=rng)]
