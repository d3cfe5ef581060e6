"""Inner and outer contours on BUSI: `microraptor train`, `predict` and `evaluate` against numpy.

The program trains a `segment` head (one matrix) with images set aside. Computed again here, without its code:

- the margin of each pixel, from features of `microraptor embed`, the head's tensors and a bilinear resize;
- the scores of every training image; those that the head stores must be those of so many different ones of them;
- the two thresholds, and from them the regions that `microraptor predict --masks` writes for other images;
- from these files and the true masks, for how many images each statement holds, which the report must say too.

Then the data are divided at random several times, and both statements are counted on images that were neither trained on
nor set aside. Exits with 1 where something differs.
"""

import argparse
import csv
import json
import math
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image
from safetensors import safe_open
from scipy.stats import betabinom

from checks import demand, failures, run

COVERAGE = SHARE = None
ASIDE = 0.25
NEVER = float(np.finfo(np.float32).max)
def train(args, data, head, *more):
    cache = ("--cache", args.cache) if args.cache else ()
    return json.loads(run(args.binary, "train", args.model, "--data", data, "--head", "segment", "-o", head, "--size",
                          args.size, "--coverage", COVERAGE, "--set-aside", ASIDE, "--contour-share", SHARE, "--json",
                          *cache, *more))


def taps(n, to):
    """Half-pixel centres, replicated edges: the two samples of each output sample, and the weight of the second."""
    at = np.clip((np.arange(to) + 0.5) * n / to - 0.5, 0, n - 1)
    low = at.astype(int)
    return low, np.minimum(low + 1, n - 1), at - low


def resized(map, height, width):
    low, high, part = taps(map.shape[0], height)
    map = map[low] + part[:, None, None] * (map[high] - map[low])
    low, high, part = taps(map.shape[1], width)
    return map[:, low] + part[None, :, None] * (map[:, high] - map[:, low])


def margins(args, head, images):
    """The margin of each pixel of each image."""
    with safe_open(head, "np") as file:
        mean, std, network = (file.get_tensor(name).astype(np.float64) for name in ("mean", "std", "network"))
    weights, bias = network[:-2].reshape(2, -1), network[-2:]
    out = args.work / "features.safetensors"
    for start in range(0, len(images), 50):
        part = images[start:start + 50]
        run(args.binary, "embed", args.model, *part, "-o", out, "--size", args.size)
        with safe_open(out, "np") as file:
            # Patch tokens are kept in half precision.
            tokens = file.get_tensor("patch").astype(np.float16).astype(np.float64)
        for image, tokens in zip(part, tokens):
            side = math.isqrt(len(tokens))
            logits = ((tokens - mean) / std) @ weights.T + bias
            width, height = Image.open(image).size
            logits = resized(logits.reshape(side, side, 2), height, width)
            yield logits[..., 1] - logits[..., 0]


def whole(share, n):
    """ceil(share n), where share is a decimal fraction."""
    return -(-n * round(share * 1000) // 1000)


def scores(margin, truth):
    """Minus the largest threshold of an outer region that holds its share; the smallest from which on inner regions do."""
    there = np.sort(margin[truth])[::-1]
    outer = -there[whole(SHARE, len(there)) - 1] if len(there) else -NEVER
    order = np.argsort(-margin, axis=None, kind="stable")
    right = np.cumsum(truth.ravel()[order])
    wrong = right < whole(SHARE, np.arange(1, len(order) + 1))
    return outer, margin.ravel()[order][np.argmax(wrong)] if wrong.any() else -NEVER


def among(stored, known, allowed):
    """Whether the ascending `stored` are close to so many different ones of the ascending `known`."""
    place = 0
    for value in stored:
        while place < len(known) and known[place] < value - allowed:
            place += 1
        if place == len(known) or known[place] > value + allowed:
            return False
        place += 1
    return True


def mask_of(row, data):
    return np.asarray(Image.open(data / row["mask"]).convert("L")) > 0


def white(path):
    return np.asarray(Image.open(path)) > 0


def compare(args, rows):
    print("one division")
    head, masks = args.work / "head.safetensors", args.work / "masks"
    report = train(args, args.work / "labels.csv", head)["contours"]
    parts = {part: [row for row in rows if row["split"] == part] for part in ("train", "val")}
    paths = {part: [args.data / row["image"] for row in parts[part]] for part in parts}
    known = [scores(margin, mask_of(row, args.data))
             for row, margin in zip(parts["train"], margins(args, head, paths["train"]))]
    with safe_open(head, "np") as file:
        stored = {name: file.get_tensor(f"contours.{name}") for name in ("outer", "inner", "share", "coverage")}
    demand(f"{len(stored['outer'])} of {len(known)} images set aside", len(stored["outer"]) == math.floor(ASIDE * len(known) + 0.5))
    # Margins of f32 against f64, of which the larger are some tens.
    for name, of in zip(("outer", "inner"), np.array(known).T):
        demand(f"{name} scores are those of so many training images", among(stored[name], np.sort(of), 1e-3))
    k = math.ceil(round((len(stored["outer"]) + 1) * COVERAGE, 6))
    outer, inner = -stored["outer"][k - 1], stored["inner"][k - 1]
    demand(f"thresholds {outer:.3f} and {inner:.3f}", np.allclose([outer, inner], [report["outer"], report["inner"]]))
    lines = run(args.binary, "predict", args.model, "--head", head, "--masks", masks, *paths["val"]).splitlines()
    same, held = True, np.zeros(3, int)
    for row, margin, line in zip(parts["val"], margins(args, head, paths["val"]), lines):
        said = json.loads(line)["heads"][0]
        found = [white(said[name]) for name in ("inner", "mask", "outer")]
        own = [margin >= max(inner, 1e-300), margin > 0, margin >= min(outer, 1e-300)]
        edges = [abs(margin - threshold) < 1e-3 for threshold in (inner, 0, outer)]
        same &= all(np.array_equal(a | edge, b | edge) for a, b, edge in zip(found, own, edges))
        same &= said["contours"]["inner"]["pixels"] == found[0].sum() and said["contours"]["outer"]["pixels"] == found[2].sum()
        truth = mask_of(row, args.data)
        statements = [(truth & found[2]).sum() >= whole(SHARE, truth.sum()),
                      (truth & found[0]).sum() >= whole(SHARE, found[0].sum())]
        held += [*statements, all(statements)]
    demand(f"regions of {len(lines)} images, but for pixels on the edge", same)
    said = [report["outer_region"]["held"], report["inner_region"]["held"], report["both"]]
    demand(f"outer, inner and both statements hold for {held} of {len(lines)}, as the report says", list(held) == said)


def coverage(args, rows):
    path = args.work / "unsplit.csv"
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image", "mask", "label"])
        out.writerows([(args.data / row["image"]).resolve(), (args.data / row["mask"]).resolve(), row["label"]] for row in rows)
    found = {"outer_region": [], "inner_region": []}
    ratios, empty, both, inside = [], [], [], 0
    for seed in range(args.splits):
        report = train(args, path, args.work / "split.safetensors", "--seed", seed, "--val-share", 0.5)["contours"]
        n, m = report["scores"], report["images"]
        k = math.ceil(round((n + 1) * COVERAGE, 6))
        # Of exchangeable images the number for which a statement holds is beta-binomial (Angelopoulos and Bates 2021).
        low, high = betabinom.interval(0.95, m, k, n + 1 - k)
        for name in found:
            found[name].append(report[name]["held"])
            inside += low <= report[name]["held"]
        both.append(report["both"] / m)
        ratios.append([report[name]["area_ratio"] for name in found])
        empty.append([report[name]["empty"] / m for name in found])
    print(f"{args.splits} random divisions: {n} images set aside, {m} to measure on, coverage {COVERAGE}, share {SHARE}")
    # The mean of the divisions, as if each had other images: its standard deviation is at most that of one.
    spread = betabinom.std(m, k, n + 1 - k) / m
    for name, held in found.items():
        share = np.array(held) / m
        demand(f"{name}: holds for {share.mean():.4f} of the images, {share.min():.3f} to {share.max():.3f}",
               share.mean() >= COVERAGE - 2 * spread / math.sqrt(args.splits))
    demand(f"{inside} of {2 * args.splits} not below the beta-binomial interval of one division", inside >= 0.85 * 2 * args.splits)
    ratios, empty = np.mean(ratios, axis=0), np.mean(empty, axis=0)
    demand(f"both hold for {np.mean(both):.4f}", np.mean(both) >= 2 * COVERAGE - 1 - 2 * spread)
    print(f"  area of the outer region {ratios[0]:.2f} times that of the masks, of the inner one {ratios[1]:.2f} times; "
          f"empty in {empty[0]:.3f} and {empty[1]:.3f} of the images")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="weights, such as DeiT-Ti's")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="BUSI, with labels.csv and masks")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--share", type=float, default=0.95)
    parser.add_argument("--cache", type=pathlib.Path, help="the program's cache of features [default: its own]")
    args = parser.parse_args()
    global COVERAGE, SHARE
    COVERAGE, SHARE = args.coverage, args.share
    with open(args.data / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as folder:
        args.work = pathlib.Path(folder)
        with open(args.work / "labels.csv", "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["image", "mask", "label", "split"])
            out.writerows([(args.data / row["image"]).resolve(), (args.data / row["mask"]).resolve(), row["label"],
                           row["split"]] for row in rows)
        compare(args, rows)
        coverage(args, rows)
    if failures:
        sys.exit(f"differs: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
