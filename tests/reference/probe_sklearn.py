"""A linear probe on BUSI, malignant against the rest: `microraptor train` and `evaluate` against scikit-learn.

Both fit on CLS ++ mean(patch tokens) of the `train` images at 224 px and are measured by the AUC on `val`. The program
embeds the images; scikit-learn gets the features from `microraptor embed` (or, with --features timm, from timm's model
on pixels that Pillow resized, which takes the program out of its side altogether). scikit-learn standardises the features
and fits logistic regression for every C of a grid; the C with the least log loss on `val` is compared, as the program
chooses its own strength there; then one fixed C. Exits with 1 when the AUCs differ by more than 0.01.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from safetensors import safe_open
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TARGET = "malignant"
SIZE = 224
# The program's own grid (heads::Search), and one C at which both are compared with nothing to choose.
GRID = [10.0 ** (e / 2) for e in range(-10, 5)]
FIXED = 0.01
ALLOWED = 0.01


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} {command[1]} ended with exit code {done.returncode}")
    return done.stdout


def read_labels(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def features_by_program(args, images):
    """[n, 2 dim]: CLS ++ mean of the patch tokens."""
    out = args.work / "features.safetensors"
    run(args.binary, "embed", args.model, *images, "-o", out, "--size", SIZE)
    with safe_open(out, "np") as file:
        cls, patch = file.get_tensor("cls"), file.get_tensor("patch")
        names = json.loads(file.metadata()["microraptor"])["names"]
    assert names == [str(image) for image in images]
    return np.concatenate([cls, patch.mean(axis=1)], axis=1)


def features_by_timm(args, images):
    import timm
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    model = timm.create_model("deit_tiny_patch16_224").eval()
    model.load_state_dict(load_file(args.model / "model.safetensors" if args.model.is_dir() else args.model))
    mean, std = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    features = []
    for image in images:
        pixels = Image.open(image).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels = ((np.asarray(pixels, np.float32) / 255 - mean) / std).transpose(2, 0, 1)
        with torch.no_grad():
            tokens = model.forward_features(torch.from_numpy(pixels)[None])[0].numpy()
        features.append(np.concatenate([tokens[0], tokens[1:].mean(axis=0)]))
    return np.stack(features)


def probe(features, labels, train):
    """AUC on `val` for the C with the least log loss there, and for FIXED; prints every C."""
    best, fixed = None, None
    for c in GRID:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit(features[train], labels[train])
        p = model.predict_proba(features[~train])[:, 1]
        loss, auc = log_loss(labels[~train], p), roc_auc_score(labels[~train], p)
        print(f"scikit-learn C {c:8.1e}: log loss {loss:.4f}, AUC {auc:.4f}")
        if best is None or loss < best[0]:
            best = loss, auc, c
        if np.isclose(c, FIXED):
            fixed = auc
    print(f"scikit-learn, C {best[2]:.1e} chosen on val: AUC {best[1]:.4f}")
    return best[1], fixed


def auc_of_program(args, *options):
    head = args.work / "head.safetensors"
    data = ["--data", args.data / "labels.csv"]
    run(args.binary, "train", args.model, *data, "--head", "linear", "--target", TARGET, "--size", SIZE, "-o", head, *options)
    text = run(args.binary, "evaluate", args.model, "--head", head, *data, "--split", "val", "--json")
    return json.loads(text)["metrics"]["auc"]["value"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, help="the microraptor program; without it, scikit-learn alone")
    parser.add_argument("--model", required=True, type=pathlib.Path, help="DeiT-Ti: folder or safetensors file")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="BUSI: folder with labels.csv")
    parser.add_argument("--features", choices=["program", "timm"], default="program", help="who embeds for scikit-learn")
    args = parser.parse_args()
    rows = read_labels(args.data / "labels.csv")
    images = [args.data / row["image"] for row in rows]
    labels = np.array([row["label"] == TARGET for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    print(f"{train.sum()} images to fit, {(~train).sum()} to measure, {labels.sum()} {TARGET}")
    with tempfile.TemporaryDirectory() as work:
        args.work = pathlib.Path(work)
        embed = features_by_timm if args.features == "timm" or args.binary is None else features_by_program
        theirs = probe(embed(args, images), labels, train)
        if args.binary is None:
            return
        ours = auc_of_program(args), auc_of_program(args, "--c", FIXED)
    differences = [a - b for a, b in zip(ours, theirs)]
    for name, a, difference in zip(("C chosen on val", f"C {FIXED}"), ours, differences):
        print(f"microraptor, {name}: AUC {a:.4f}, difference {difference:+.4f}, allowed {ALLOWED}")
    sys.exit(0 if max(map(abs, differences)) <= ALLOWED else 1)


if __name__ == "__main__":
    main()
