"""What the backbone's card states, measured with Microraptor itself:

    for s in 11 12 13; do microraptor demo -o gallery-$s --phantoms 500 --seed $s --sizes 64; done
    python evaluate.py --trained ./demo --shipped ../demo.safetensors --busi busi/labels.csv \\
        --phantoms gallery-*/phantoms/labels.csv

Linear probes on BUSI (malignant against the rest, 224 px) and on phantoms of the program (held-out ones, five sizes), on
the trained weights in f32, on the same as they are shipped, and on the network before training. One network before training
is one draw, so BUSI is probed on ten of them.
"""

import argparse
import csv
import json
import subprocess
import tempfile
from pathlib import Path

from train import backbone, save

SIZES = [64, 96, 128, 160, 224]
DRAWS = 10


class Probe:
    """Linear heads on the features of a model."""

    def __init__(self, program, folder):
        self.program, self.head = program, f"{folder}/head.safetensors"

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments), "--json"], check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def __call__(self, model, data, size, *options):
        """What `train` reports, and the metrics of `evaluate` on images that the head has not seen."""
        trained = self.run("train", model, "--data", data, "--size", size, "-o", self.head, "--no-cache", *options)
        return trained, self.run("evaluate", model, "--head", self.head, "--data", data, "--no-cache")["metrics"]


def cell(metric):
    interval = metric["interval"]
    return f"{metric['value']:.4f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def busi(probe, models, draws, data):
    print("BUSI, malignant against the rest, 224 px, linear probe: AUC [95%]")
    print(f"{'':14}  {'train -> val (78 images)':24}  {'5 folds (all 624)':24}")
    values = []
    for name, model in [*models.items(), *draws.items()]:
        trained, val = probe(model, data, 224, "--target", "malignant", "--folds", 5)
        pair = val["auc"], trained["cross_validation"]["auc"]
        print(f"{name:14}  {cell(pair[0]):24}  {cell(pair[1]):24}", flush=True)
        if name in draws:
            values.append([metric["value"] for metric in pair])
    means = [sum(column) / len(values) for column in zip(*values)]
    print(f"{'their mean':14}  {means[0]:<24.4f}  {means[1]:<24.4f}\n")


def joined(lists, output):
    """Lists of labelled phantoms as one."""
    rows = []
    for path in lists:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                rows.append({"image": (path.parent / row["image"]).resolve(), "label": row["label"], "split": row["split"]})
    with open(output, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return output


def phantoms(probe, models, data):
    print("Phantoms, three classes, held-out images, linear probe: accuracy [95%], AUC [95%]")
    for name, model in models.items():
        for size in SIZES:
            _, metrics = probe(model, data, size)
            print(f"{name:14}  {size:4} px  {cell(metrics['accuracy']):24}  {cell(metrics['auc']):24}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="microraptor")
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--shipped", required=True)
    parser.add_argument("--phantoms", type=Path, nargs="+")
    parser.add_argument("--busi", type=Path)
    args = parser.parse_args()
    config = json.loads((args.trained / "config.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(args.program, folder)
        draws = {f"untrained {seed}": f"{folder}/{seed}" for seed in range(DRAWS)}
        for seed, path in enumerate(draws.values()):
            save(backbone(seed, config["num_hidden_layers"], config["hidden_size"]), path)
        models = {"shipped": args.shipped, "trained f32": args.trained}
        if args.busi:
            busi(probe, models, draws, args.busi)
        if args.phantoms:
            data = joined(args.phantoms, f"{folder}/phantoms.csv")
            phantoms(probe, {**models, "untrained 0": draws["untrained 0"]}, data)


if __name__ == "__main__":
    main()
