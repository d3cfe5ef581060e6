"""Calibration, sets of classes and thresholds on BUSI: `microraptor train` and `predict` against scikit-learn and SciPy.

The program trains linear heads at 224 px, once for three classes (a temperature) and once for malignant against the rest
(Platt), with little regularisation (C = 3), so that the probabilities need calibration. Computed again here, without its
code:

- the held-out predictions, by scikit-learn's logistic regression on features of `microraptor embed`, with the program's
  parts;
- from these predictions the temperature (SciPy's scalar minimisation), Platt's numbers (CalibratedClassifierCV), log loss,
  Brier score and calibration error before and after, and the threshold;
- the conformal scores, their quantile, and the sets in the lines of `microraptor predict`.

Then the data are divided at random several times, and the sets at coverage 0.9 are counted on images that were not
trained on: with scores of held-out parts, and with scores of a quarter that was set aside (--set-aside 0.25), whose
coverage is guaranteed. Exits with 1 where something differs.
"""

import argparse
import csv
import json
import math
import pathlib
import sys
import tempfile

import numpy as np
from safetensors import safe_open
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scipy.stats import betabinom, binom
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from checks import check, demand, failures, run

TARGET = "malignant"
C = 3.0
COVERAGE = 0.9
SENSITIVITY = 0.9
ASIDE = 0.25
PARTS = 5
def ece(confidence, right, bins=15):
    """Bins of equal mass: the i-th smallest of n is in bin floor(bins i / n)."""
    order = np.argsort(confidence, kind="stable")
    of = np.arange(len(order)) * bins // len(order)
    gaps = [abs(confidence[order[of == b]].mean() - right[order[of == b]].mean()) * (of == b).sum() for b in set(of)]
    return sum(gaps) / len(order)


def metrics(p, y):
    """Log loss, Brier score and calibration error of [n, classes]."""
    if p.shape[1] == 2:
        return log_loss(y, p), brier_score_loss(y, p[:, 1]), ece(p[:, 1], y == 1)
    brier = brier_score_loss(y, p, labels=range(p.shape[1]), scale_by_half=False)
    return log_loss(y, p), brier, ece(p.max(axis=1), p.argmax(axis=1) == y)


def fit_map(p, y):
    if p.shape[1] > 2:
        z = np.log(p)
        loss = lambda inverse: -log_softmax(z * inverse, axis=1)[np.arange(len(y)), y].sum()
        best = minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-10})
        return 1 / best.x
    z = (np.log(p[:, 1]) - np.log(p[:, 0]))[:, None]
    identity = LogisticRegression().fit(z, y)
    identity.coef_[:], identity.intercept_[:] = 1, 0
    calibrator = CalibratedClassifierCV(FrozenEstimator(identity), method="sigmoid").fit(z, y)
    sigmoid = calibrator.calibrated_classifiers_[0].calibrators[0]
    return np.array([-sigmoid.a_, -sigmoid.b_])


def apply_map(found, p):
    if p.shape[1] > 2:
        return softmax(np.log(p) / found, axis=1)
    second = expit(found[0] * (np.log(p[:, 1]) - np.log(p[:, 0])) + found[1])
    return np.stack([1 - second, second], axis=1)


def features(args, images):
    """CLS ++ mean of the patch tokens of each image, by its path."""
    out = args.work / "features.safetensors"
    run(args.binary, "embed", args.model, *images, "-o", out, "--size", args.size)
    with safe_open(out, "np") as file:
        mean = file.get_tensor("patch").mean(axis=1, dtype=np.float64).astype(np.float32)
        return dict(zip(map(str, images), np.concatenate([file.get_tensor("cls"), mean], axis=1)))


def train(args, data, head, *more):
    cache = ("--cache", args.cache) if args.cache else ()
    return json.loads(run(args.binary, "train", args.model, "--data", data, "-o", head, "--size", args.size, "--json",
                          *cache, *more))


def compare(args, rows, embedded, target):
    binary = target is not None
    print("malignant against the rest" if binary else "three classes")
    head, held_out = args.work / "head.safetensors", args.work / "held_out.csv"
    options = ["--target", TARGET, "--operate", f"sensitivity={SENSITIVITY}"] if binary else []
    report = train(args, args.work / "labels.csv", head, "--c", C, "--calibrate", "--coverage", COVERAGE, "--held-out",
                   held_out, *options)
    with open(held_out, newline="") as file:
        held = list(csv.DictReader(file))
    classes = report["classes"]
    y = np.array([classes.index(row["label"]) for row in held])
    part = np.array([int(row["part"]) for row in held])
    p = np.array([[float(row[name]) for name in classes] for row in held])
    with safe_open(head, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if "." in name or name == "threshold"}

    x = np.stack([embedded[row["image"]] for row in held]).astype(np.float64)
    again = np.zeros_like(p)
    for out in range(PARTS):
        fit = make_pipeline(StandardScaler(), LogisticRegression(C=C, solver="newton-cholesky", tol=1e-8))
        again[part == out] = fit.fit(x[part != out], y[part != out]).predict_proba(x[part == out])
    # Weights that are hardly penalised magnify the last digit of a mean of patch tokens.
    check("held-out predictions", p, again, 1e-4)

    found = fit_map(p, y)
    stored = tensors["calibration.platt"][0] if binary else tensors["calibration.temperature"][0]
    check("Platt's slope and offset" if binary else "temperature", stored, found, 1e-4)
    crossed = np.zeros_like(p)
    for out in range(PARTS):
        crossed[part == out] = apply_map(fit_map(p[part != out], y[part != out]), p[part == out])
    for name, probabilities in (("before", p), ("after", crossed)):
        said = report["calibration"][name]
        said = [said[metric]["value"] for metric in ("log_loss", "brier", "ece")]
        check(f"log loss, Brier score and calibration error {name}", said, metrics(probabilities, y), 1e-4)
    before, after = (report["calibration"][name]["ece"]["value"] for name in ("before", "after"))
    demand(f"held-out calibration error {before:.4f} before, {after:.4f} after", after <= before)

    calibrated = apply_map(found, p)
    scores = np.sort(1 - calibrated[np.arange(len(y)), y])
    check("conformal scores", tensors["conformal.scores"], scores, 1e-4)
    if binary:
        rates, thresholds = roc_curve(y, calibrated[:, 1], drop_intermediate=False)[1:]
        largest = thresholds[np.argmax(rates >= SENSITIVITY)]
        below = calibrated[calibrated[:, 1] < largest, 1].max()
        check("threshold by sensitivity", tensors["threshold"][0], (largest + below) / 2, 1e-4)

    # The lines of `predict` on images that were not trained on, and the report on them.
    validation = [row for row in rows if row["split"] == "val"]
    images = [args.data / row["image"] for row in validation]
    lines = run(args.binary, "predict", args.model, "--head", head, *images).splitlines()
    said = [json.loads(line)["heads"][0] for line in lines]
    p = np.array([[line["probabilities"][name] for name in classes] for line in said])
    truth = [row["label"] if not binary or row["label"] == TARGET else "rest" for row in validation]
    y = np.array([classes.index(name) for name in truth])
    own = [report["validation"][metric]["value"] for metric in ("log_loss", "brier", "ece")]
    check("log loss, Brier score and calibration error of `predict`", own, metrics(p, y), 1e-9)
    quantile = scores[math.ceil((len(scores) + 1) * COVERAGE) - 1]
    clear = np.abs(1 - p - quantile).min(axis=1) > 1e-4
    sets = [[name for name, one in zip(classes, row) if 1 - one <= quantile] for row in p]
    same = [line["set"] == own for line, own in zip(said, sets)]
    demand(f"sets of {clear.sum()} of {len(clear)} images that are not on the edge", np.all(np.array(same)[clear]))
    held = sum(truth in line["set"] for truth, line in zip(truth, said))
    demand(f"sets hold the true class of {held} of {len(said)}, as the report says", held == report["sets"]["covered"])


def coverage(args, rows, aside):
    path = args.work / "unsplit.csv"
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image", "label"])
        out.writerows([(args.data / row["image"]).resolve(), row["label"]] for row in rows)
    covered, inside, sizes, errors = [], 0, [], []
    for seed in range(args.splits):
        more = ["--seed", seed, "--val-share", 0.5, "--c", C, "--calibrate", "--coverage", COVERAGE]
        more += ["--set-aside", aside] if aside else []
        report = train(args, path, args.work / "split.safetensors", *more)
        sets = report["sets"]
        n, m = sets["scores"], sets["images"]
        if (n, sets["guarantee"]) != ((round(aside * len(rows)), "finite-sample") if aside else
                                      (report["train_images"], "approximate")):
            failures.append(f"{n} scores, {sets['guarantee']}")
        k = math.ceil((n + 1) * COVERAGE)
        # Of exchangeable images the number that is covered is beta-binomial (Angelopoulos and Bates 2021, section 3.2).
        low, high = betabinom.interval(0.95, m, k, n + 1 - k)
        inside += low <= sets["covered"] <= high
        covered.append(sets["measured"])
        sizes.append(sets["mean_size"])
        errors.append([report["uncalibrated"]["ece"]["value"], report["validation"]["ece"]["value"]]
                      if "uncalibrated" in report else [report["validation"]["ece"]["value"]] * 2)
    low, high = np.array(binom.interval(0.95, m, COVERAGE)) / m
    mean, (before, after) = np.mean(covered), np.mean(errors, axis=0)
    how = "set aside" if aside else "held out one part after the other"
    print(f"{args.splits} random splits: {report['train_images']} images to train on, {m} to measure on, {n} scores ({how})")
    print(f"  coverage {min(covered):.3f} to {max(covered):.3f}, classes in a set {np.mean(sizes):.3f}")
    demand(f"mean coverage {mean:.4f} within the binomial interval [{low:.4f}, {high:.4f}] of {COVERAGE}", low <= mean <= high)
    demand(f"{inside} of {args.splits} within the beta-binomial interval of one split", inside >= int(0.8 * args.splits))
    demand(f"mean calibration error {before:.4f} before, {after:.4f} after", after <= before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="weights, such as DeiT-Ti's")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="BUSI, with labels.csv")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--cache", type=pathlib.Path, help="the program's cache of features [default: its own]")
    args = parser.parse_args()
    with open(args.data / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as folder:
        args.work = pathlib.Path(folder)
        with open(args.work / "labels.csv", "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["image", "label", "split"])
            out.writerows([(args.data / row["image"]).resolve(), row["label"], row["split"]] for row in rows)
        embedded = features(args, [(args.data / row["image"]).resolve() for row in rows if row["split"] == "train"])
        compare(args, rows, embedded, None)
        compare(args, rows, embedded, TARGET)
        coverage(args, rows, None)
        coverage(args, rows, ASIDE)
    if failures:
        sys.exit(f"differs: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
