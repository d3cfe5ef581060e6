"""Statistics of the rounds, and the markdown that shows them."""

import statistics

import numpy as np


def cosine(found, expected):
    """Of each row of two arrays of one shape."""
    if found.shape != expected.shape:
        raise ValueError(f"values of shape {found.shape}, expected {expected.shape}")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
    return (found * expected).sum(axis=-1) / norms


def ours_of(tokens, found):
    """Those of the tokens [1, n, dim] that `found` has as cls and patch: registers are not among them."""
    dim = tokens.shape[-1]
    patch = found["patch"].reshape(-1, dim)
    return np.concatenate([found["cls"].reshape(1, dim), patch]), tokens[0][[0, *range(-len(patch), 0)]]


def cosines(found, expected, prefix):
    """Of the tokens [1, n, dim] that `expected` holds alone: CLS; mean, first percentile and minimum of patches."""
    (tokens,) = expected.values()
    if "patch" in found:
        prefix, pair = 1, ours_of(tokens, found)
    else:
        pair = next(iter(found.values())).reshape(tokens.shape)[0], tokens[0]
    of_rows = cosine(*pair)
    patches = of_rows[prefix:]
    return {
        "cls": of_rows[0],
        "patch_mean": patches.mean(),
        "patch_p1": np.percentile(patches, 1),
        "patch_min": patches.min(),
    }


def squeezed(values):
    """The first image, without axes of length 1."""
    return values[:1].squeeze()


def output_cosines(found, expected):
    """Of each output of a graph as a whole, for the first image; of whole numbers (classes) the share that are equal."""
    cosines = {}
    for name, values in expected.items():
        if name in found:
            ours, theirs = squeezed(found[name]), squeezed(values)
            if ours.shape != theirs.shape:
                raise ValueError(f"{name} has the shape {found[name].shape}, expected {values.shape}")
            whole = bool((theirs == np.round(theirs)).all())
            cosines[name] = float((ours == theirs).mean()) if whole else cosine(ours.ravel(), theirs.ravel())
        elif "patch" in found and values.ndim == 3 and values.shape[-1] == found["patch"].shape[-1]:
            ours, theirs = ours_of(values, found)
            cosines[name] = cosine(ours.ravel(), theirs.ravel())
    if not cosines:
        raise ValueError(f"none of the outputs {', '.join(expected)} is among {', '.join(found)}")
    return cosines


def summary(rounds):
    """Of one runtime: the median of the rounds' medians, and the least of all runs."""
    return {"median_ms": statistics.median(r["median_ms"] for r in rounds), "min_ms": min(r["min_ms"] for r in rounds)}


def ratio(ours, theirs):
    """Median, least and largest over the rounds of ours / theirs: what slows the machine in a round slows both."""
    values = [a["median_ms"] / b["median_ms"] for a, b in zip(ours, theirs)]
    of_minima = min(a["min_ms"] for a in ours) / min(b["min_ms"] for b in theirs)
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "of_minima": of_minima}


def finish(case):
    """Adds summaries and ratios to a case's measurements."""
    measured = {name: r for name, r in case["runtimes"].items() if r.get("rounds")}
    ours = [name for name in measured if name.startswith("microraptor")]
    for name, runtime in measured.items():
        runtime.update(summary(runtime["rounds"]))
        runtime["ratios"] = {our: ratio(measured[our]["rounds"], runtime["rounds"]) for our in ours if our != name}
    peers = [name for name in measured if name not in ours]
    case["fastest_peer"] = min(peers, key=lambda name: measured[name]["median_ms"], default=None)
    return case


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def title(case):
    threads = case["threads"]
    return f"{case['model']}, {case['size']} px, {threads} thread{'s' if threads > 1 else ''}"


NAMES = {"cls": "cos CLS", "patch_mean": "patch mean", "patch_p1": "patch p1"}


def shown(runtimes):
    """The cosines that have columns: of tokens the three above, else of the first outputs."""
    keys = dict.fromkeys(key for runtime in runtimes.values() for key in runtime.get("cosine", {}))
    return list(NAMES) if set(NAMES) <= set(keys) else list(keys)[:4]


def case_table(case):
    runtimes = case["runtimes"]
    ours = [name for name in runtimes if name.startswith("microraptor") and runtimes[name].get("rounds")]
    header = ["runtime", "median ms", "min ms", *(f"{name[12:]} / it" for name in ours)]
    columns = shown(runtimes)
    rows, errors = [], []
    for name, runtime in sorted(runtimes.items(), key=lambda item: item[1].get("median_ms", np.inf)):
        if "error" in runtime:
            errors.append(f"- {name}: {runtime['error']}")
            continue
        ratios = [runtime["ratios"].get(our) for our in ours]
        cells = [f"{value['median']:.2f}" if value else "" for value in ratios]
        cells += [f"{runtime['cosine'][key]:.5f}" if key in runtime["cosine"] else "" for key in columns]
        rows.append([name, f"{runtime['median_ms']:.1f}", f"{runtime['min_ms']:.1f}", *cells])
    header += [NAMES.get(key, f"cos {key}") for key in columns]
    text = f"## {title(case)}\n\n" + table(header, rows)
    return text + ("\n\nNot measured:\n\n" + "\n".join(errors) if errors else "")


def show(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}), {ratio['of_minima']:.2f}"


def overview(cases):
    """Our fastest precision against the fastest peer, and against onnxruntime's dynamic int8."""
    rows = []
    for case in cases:
        runtimes, peer = case["runtimes"], case["fastest_peer"]
        ours = [n for n in runtimes if n.startswith("microraptor") and "median_ms" in runtimes[n]]
        if not ours or not peer:
            continue
        best = min(ours, key=lambda name: runtimes[name]["median_ms"])
        cells = [title(case), best, f"{runtimes[best]['median_ms']:.1f}", peer, f"{runtimes[peer]['median_ms']:.1f}"]
        for other in (peer, "onnxruntime-int8"):
            found = runtimes.get(other, {}).get("ratios", {}).get(best)
            cells.append(show(found) if found else "")
        rows.append(cells)
    header = ["case", "ours", "ms", "fastest peer", "ms", "ours / it", "ours / onnxruntime-int8"]
    legend = "A ratio's median over the rounds (least to largest), then that of the two minima over all runs."
    return f"## Overview\n\n{table(header, rows)}\n\n{legend}"


def machine(facts, versions):
    lines = [f"- {key}: {value}" for key, value in facts.items()]
    lines.append("- versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    return "\n".join(lines)


def markdown(results):
    cases = results["cases"]
    head = "# Microraptor beside its peers\n\n" + machine(results["machine"], results["versions"])
    note = (
        f"Batch 1, pixels to features, {results['rounds']} rounds in which the runtimes take turns in random order, "
        f"{results['runs']} timed runs a turn. A ratio is ours / theirs: below 1, ours is faster. It is the median over "
        "the rounds. Cosines are against transformers in f32, on the same image; those of an ONNX file's outputs are "
        "against onnxruntime in f32."
    )
    return "\n\n".join([head, note, overview(cases), *map(case_table, cases)]) + "\n"
