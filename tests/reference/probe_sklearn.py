"""A linear probe on BUSI, malignant against the rest: `microraptor train` and `evaluate` against scikit-learn.

Both fit on CLS ++ mean(patch tokens) of the `train` images at 224 px and are measured by the AUC on `val`. The program
embeds the images; scikit-learn gets the features from `microraptor embed` (or, with --features timm, from timm's model
on pixels that Pillow resized, which takes the program out of its side altogether). scikit-learn standardises the features
and fits logistic regression for every C of a grid; the C with the least log loss on `val` is compared, as the program
chooses its own strength there, and all are printed. Exits with 1 when the AUCs differ by more than 0.01.
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
# C of scikit-learn is 1 / (2 alpha n) of a mean loss with alpha |w|^2.
GRID = [10.0**e for e in range(-5, 3)]
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
    assert len(cls) == len(images), f"{len(cls)} features of {len(images)} images"
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
    """AUC on `val` for the C that suits `val` best; prints every C."""
    best = None
    for c in GRID:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit(features[train], labels[train])
        p = model.predict_proba(features[~train])[:, 1]
        loss, auc = log_loss(labels[~train], p), roc_auc_score(labels[~train], p)
        print(f"scikit-learn C {c:8.0e}: log loss {loss:.4f}, AUC {auc:.4f}")
        if best is None or loss < best[0]:
            best = loss, auc, c
    print(f"scikit-learn, C {best[2]:.0e} chosen on val: AUC {best[1]:.4f}")
    return best[1]


def find_auc(value):
    """The first number under a key `auc` (or `value` or `point` beneath it, where an interval stands beside it)."""
    if isinstance(value, dict):
        if "auc" in value:
            auc = value["auc"]
            if isinstance(auc, dict):
                auc = next((auc[key] for key in ("value", "point", "estimate", "mean") if key in auc), None)
            if isinstance(auc, (int, float)):
                return float(auc)
        value = list(value.values())
    if isinstance(value, list):
        return next((auc for auc in map(find_auc, value) if auc is not None), None)
    return None


def auc_of_program(args, labels_file):
    head = args.work / "head.safetensors"
    common = ["--data", labels_file, "--size", SIZE]
    run(args.binary, "train", args.model, *common, "--head", "linear", "--target", TARGET, "-o", head)
    text = run(args.binary, "evaluate", args.model, "--head", head, "--data", labels_file, "--json")
    auc = find_auc(json.loads(text))
    if auc is None:
        sys.exit(f"no auc in what evaluate --json printed: {text[:500]}")
    return auc


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
        ours = auc_of_program(args, args.data / "labels.csv")
    print(f"microraptor: AUC {ours:.4f}, difference {ours - theirs:+.4f}, allowed {ALLOWED}")
    sys.exit(0 if abs(ours - theirs) <= ALLOWED else 1)


if __name__ == "__main__":
    main()
