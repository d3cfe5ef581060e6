"""`predict --explain` on BUSI against NumPy, PyTorch and scikit-learn.

The program trains heads with DeiT-Ti on pictures of BUSI and explains its answers. Computed again here, without its code,
from the tokens of `microraptor embed` and the tensors of the head files:

- linear, three classes (with a temperature) and two (with Platt's map): the gradient of each logit, as PyTorch
  differentiates it, times token minus mean: what each patch adds. It is compared number by number; bias, CLS and patches
  must sum to the logit to 1e-5, and the calibrated logits must give the probabilities;
- volume and abmil, on bags of pictures: the same through the mean over frames, and through gated attention, whose
  weights are computed with NumPy;
- knn: the neighbours, their names and cosines by scikit-learn's NearestNeighbors.

Exits with 1 where something differs.
"""

import argparse
import csv
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from sklearn.neighbors import NearestNeighbors

from checks import check, failures, run


def tensors(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def embedded(args, images):
    """CLS [n, dim] and patch tokens [n, patches, dim] of the images, in f64."""
    out = args.work / "features.safetensors"
    run(args.binary, "embed", args.model, *images, "-o", out, "--size", args.size)
    found = tensors(out)
    return found["cls"].astype(np.float64), found["patch"].astype(np.float64)


def train(args, data, kind, *more):
    head = args.work / f"{kind}-{len(list(args.work.glob('*.safetensors')))}.safetensors"
    run(args.binary, "train", args.model, "--data", data, "--head", kind, "-o", head, "--size", args.size, "--json",
        "--no-cache", *more)
    return head


def explain(args, head, images, *more):
    lines = run(args.binary, "predict", args.model, "--head", head, *images, "--explain", args.work / "maps", *more)
    heads = [json.loads(line)["heads"][0] for line in lines.splitlines()]
    return [(head["explanation"], head) for head in heads]


def logits(cls, patch, weight, bias, mean, std):
    """Logits of one frame, [classes]."""
    row = torch.cat([cls, patch.mean(dim=0)])
    return ((row - mean) / std) @ weight.T + bias


def gradients(cls, patch, parts, against):
    """What CLS and each patch add to each logit, by differentiation."""
    cls, patch = torch.tensor(cls, requires_grad=True), torch.tensor(patch, requires_grad=True)
    mean = parts[2]
    out = logits(cls, patch, *parts)
    if against:
        out = (out[1] - out[0])[None]
    terms = []
    for logit in out:
        of_cls, of_patch = torch.autograd.grad(logit, (cls, patch), retain_graph=True)
        dim = len(cls)
        terms.append((((cls - mean[:dim]) * of_cls).sum().item(),
                      ((patch - mean[dim:]) * of_patch).sum(dim=1).detach().numpy()))
    return out.detach().numpy(), terms


def parts_of(head):
    found = tensors(head)
    return [torch.tensor(found[name].astype(np.float64)) for name in ("weight", "bias", "mean", "std")]


def probabilities(explained):
    """From the logits, as the explanation says that they are calibrated."""
    plain = {"scale": 1, "offset": 0}
    calibrated = lambda logit, by: by["scale"] * logit["logit"] + by["offset"]
    z = np.array([calibrated(logit, logit.get("calibration", plain)) for logit in explained["logits"]])
    if len(z) == 1:
        [logit] = explained["logits"]
        return {logit["against"]: 1 / (1 + np.exp(z[0])), logit["class"]: 1 / (1 + np.exp(-z[0]))}
    share = np.exp(z - z.max())
    return dict(zip([logit["class"] for logit in explained["logits"]], share / share.sum()))


def linear(args, images, target):
    two = target is not None
    print("linear, " + ("two classes" if two else "three classes"))
    head = train(args, args.work / "labels.csv", "linear", "--c", 1, "--calibrate", *(["--target", target] if two else []))
    parts = parts_of(head)
    cls, patch = embedded(args, images)
    sums, terms, own, sure = [], [], [], []
    for n, (explained, line) in enumerate(explain(args, head, images)):
        out, expected = gradients(cls[n], patch[n], parts, two)
        for found, logit, (of_cls, of_patch) in zip(explained["logits"], out, expected):
            sums.append(found["bias"] + found["cls"] + sum(found["values"]) - found["logit"])
            own.append(found["logit"] - logit)
            terms.append(max(abs(found["cls"] - of_cls), np.abs(np.array(found["values"]) - of_patch).max()))
        p = probabilities(explained)
        sure.append(max(abs(p[name] - line["probabilities"][name]) for name in line["probabilities"]))
    check("bias, CLS and patches sum to the logit", sums, np.zeros(len(sums)), 1e-5)
    check("the logit, from the tokens", own, np.zeros(len(own)), 1e-5)
    check("each term, as gradient times input", terms, np.zeros(len(terms)), 1e-6)
    check("the probabilities, from the logits", sure, np.zeros(len(sure)), 1e-8)


def attention(rows, found):
    """Weights of the frames and logits of gated attention (arXiv 1802.04712, equation 9), in f64."""
    x = (rows - found["mean"]) / found["std"]
    dim, hidden = x.shape[1], len(found["attention.score"]) - 1
    gates = found["attention.gates"].astype(np.float64)
    weights, bias = gates[:2 * hidden * dim].reshape(2 * hidden, dim), gates[2 * hidden * dim:]
    pre = x @ weights.T + bias
    score = (np.tanh(pre[:, :hidden]) / (1 + np.exp(-pre[:, hidden:]))) @ found["attention.score"][:hidden]
    share = np.exp(score - score.max())
    return share / share.sum()


def bags(args, images, kind):
    print(kind)
    folder = args.work / kind
    for bag in range(10):
        for frame, image in enumerate(images[3 * bag:3 * bag + 3]):
            to = folder / "ab"[bag % 2] / f"bag{bag}"
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, to / f"{frame}.png")
    crops = folder / "a" / "bag0"
    # The frames of a bag have one size.
    from PIL import Image
    for path in folder.glob("*/*/*.png"):
        Image.open(path).convert("L").resize((160, 120)).save(path)
    head = train(args, folder, kind)
    found = tensors(head)
    [(explained, line)] = explain(args, head, [crops], "--bags")
    cls, patch = embedded(args, sorted(crops.glob("*.png")))
    frames = len(cls)
    rows = np.concatenate([cls, patch.mean(axis=1)], axis=1)
    if kind == "abmil":
        share = attention(rows, found)
        check("the weights of the frames, by NumPy", line["attention"], share, 1e-5)
        dim = rows.shape[1]
        output = found["output"].astype(np.float64)
        weight, bias = output[:2 * dim].reshape(2, dim), output[2 * dim:]
        parts = [torch.tensor(part.astype(np.float64)) for part in (weight, bias, found["mean"], found["std"])]
    else:
        share, parts = np.full(frames, 1 / frames), parts_of(head)
    whole = json.loads(pathlib.Path(explained["values"]).read_text())["logits"][0]
    [own] = explained["logits"]
    for n in range(frames):
        _, [(of_cls, of_patch)] = gradients(cls[n], patch[n], parts, True)
        check(f"frame {n}, each term", whole["values"][n] + [own["cls"][n]], share[n] * np.append(of_patch, of_cls), 1e-5)
    check("sums of patches", own["patches"], [sum(values) for values in whole["values"]], 1e-6)
    check("the logit", [own["bias"] + sum(own["cls"]) + sum(own["patches"])], [own["logit"]], 1e-5)
    p = 1 / (1 + np.exp(-own["logit"]))
    check("the probability", [p], [line["probabilities"]["b"]], 1e-8)


def knn(args, images):
    print("knn")
    head = train(args, args.work / "labels.csv", "knn", "-k", 7, "--keep-names")
    names = json.loads(tensors(head)["names"].tobytes())
    folder = args.work / "labels.csv"
    with open(folder, newline="") as file:
        label = {row["image"]: row["label"] for row in csv.DictReader(file)}
    training, _ = embedded(args, names)
    queries, _ = embedded(args, images)
    # The bank holds half precision.
    bank = (training / np.linalg.norm(training, axis=1, keepdims=True)).astype(np.float16)
    distances, nearest = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(bank).kneighbors(queries)
    for n, (explained, line) in enumerate(explain(args, head, images)):
        found = explained["neighbours"]
        # Two images may change places only if they are equally near.
        check("cosines, by scikit-learn", [one["cosine"] for one in found], 1 - distances[n], 2e-3)
        right = [one["image"] for one in found] == list(nearest[n])
        right &= all(one["name"] == names[one["image"]] and one["classes"] == [label[one["name"]]] for one in found)
        if not right:
            failures.append(f"neighbours of {images[n]}")
        print(f"  {'ok ' if right else 'NOT'} the neighbours and their names")
        for name, p in line["probabilities"].items():
            check(f"share of {name}", [sum(one["share"] for one in found if name in one["classes"])], [p], 1e-8)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--size", default="96")
    parser.add_argument("--images", type=int, default=30, help="pictures of each class")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        args.work = pathlib.Path(work)
        with open(args.data / "labels.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        chosen = [row for name in ("benign", "malignant", "normal")
                  for row in [row for row in rows if row["label"] == name][:args.images]]
        with open(args.work / "labels.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "label"])
            writer.writerows([(args.data / row["image"]).resolve(), row["label"]] for row in chosen)
        others = [row for row in rows if row not in chosen]
        images = [args.data / row["image"] for row in others[:2] + others[-2:]]
        linear(args, images, None)
        linear(args, images, "malignant")
        for kind in ("volume", "abmil"):
            bags(args, [args.data / row["image"] for row in chosen], kind)
        knn(args, images)
    if failures:
        sys.exit("different: " + "; ".join(failures))


main()
