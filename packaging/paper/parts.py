"""What a build is made of: crates by their role, the standard library, and data, for a set of features and a target."""

import hashlib
import json
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Data of the repository that is compiled in, with the feature that it needs.
DATA = [
    ("models/demo/demo.safetensors", "demo", "the built-in backbone: weights that were trained on phantoms of our own"),
    ("models/cards/*.toml", None, "architectures of the supported models"),
    ("models/timm-architectures.csv", None, "architectures by timm's names"),
    ("boards/*.toml", None, "boards: cores, caches, sensors and pins"),
]

# Data of others that lies in a crate and is compiled in: crate, file, licence, what.
BROUGHT = [("notosans", "fonts/NotoSans-Regular.ttf", "OFL-1.1", "the font of plots that are drawn as PNG")]


class Unusable(Exception):
    """Something that the papers need is missing or contradicts itself; the text is one line."""


@dataclass
class Part:
    """A crate of a registry."""

    name: str
    version: str
    checksum: str
    licence: str
    repository: str
    description: str
    authors: list
    folder: Path
    features: list
    # "linked": its code is in the program. "macro": it, or what brought it, runs while the compiler does. "build": a
    # script that runs before.
    role: str
    direct: bool = False
    # Identities of what it uses, within the roles that are listed.
    uses: set = field(default_factory=set)

    @property
    def key(self):
        return (self.name, self.version)


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it failed"]
        first = next((line for line in said if line.startswith("error")), said[-1])
        raise Unusable(f"{' '.join(command[:2])}: {first.removeprefix('error: ')}")
    return done.stdout


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def edges(options, kinds):
    """Identities of the crates that `cargo tree` shows, and for each those that it uses; ours is ("", "")."""
    # `cargo tree` resolves features as a build does, apart for build scripts and tests; `cargo metadata` does not.
    text = run("cargo", "tree", *options, "--edges", kinds, "--prefix", "depth", "--format", "|{p}|{f}")
    uses, features, above = {}, {}, []
    for line in text.splitlines():
        depth, package, enabled = line.split("|")[:3]
        if not depth.isdigit():
            continue
        name, version = package.split()[:2]
        key = (name, version.removeprefix("v")) if int(depth) else ("", "")
        uses.setdefault(key, set())
        features.setdefault(key, enabled.removesuffix(" (*)"))
        del above[int(depth) :]
        if above:
            uses[above[-1]].add(key)
        above.append(key)
    return uses, features


@dataclass
class Parts:
    """The parts of a build, by identity."""

    version: str
    licence: str
    features: list
    target: str
    compiler: dict
    crates: dict
    direct: set
    data: list

    @classmethod
    def resolve(cls, features, defaults, target):
        compiler = dict(line.split(": ", 1) for line in run("rustc", "-vV").splitlines() if ": " in line)
        target = target or compiler["host"]
        options = ["--locked", "--package", "microraptor", "--target", target]
        options += ["--features", features] if features else []
        options += [] if defaults else ["--no-default-features"]
        linked, enabled = edges(options, "normal,no-proc-macro")
        compiled, more = edges(options, "normal")
        every, most = edges(options, "normal,build")

        metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target, "--all-features"))
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
        about = {(entry["name"], entry["version"]): entry for entry in metadata["packages"]}
        own = next(entry for entry in metadata["packages"] if entry["name"] == "microraptor")

        crates = {}
        for key in sorted(every):
            if key == ("", ""):
                continue
            entry = about[key]
            if not checksums.get(key):
                raise Unusable(f"{key[0]} {key[1]} has no checksum in Cargo.lock: it does not come from a registry")
            role = "linked" if key in linked else "macro" if key in compiled else "build"
            crates[key] = Part(
                name=key[0],
                version=key[1],
                checksum=checksums[key],
                licence=(entry["license"] or "").replace("/", " OR "),
                repository=entry["repository"] or entry["homepage"] or "",
                description=" ".join((entry["description"] or "").split()),
                authors=entry["authors"],
                folder=Path(entry["manifest_path"]).parent,
                features=(enabled.get(key) or more.get(key) or most.get(key) or "").split(",") if key in every else [],
                role=role,
                direct=key in every[("", "")],
                uses=every[key],
            )
        chosen = sorted(enabled[("", "")].split(","))
        return cls(own["version"], own["license"], chosen, target, compiler, crates, every[("", "")], data_of(chosen))

    def brought_by(self):
        """For each crate, the crates of Cargo.toml through which it came."""
        found = {key: set() for key in self.crates}
        for root in sorted(self.direct):
            waiting, seen = [root], set()
            while waiting:
                key = waiting.pop()
                if key not in seen:
                    seen.add(key)
                    found[key].add(root[0])
                    waiting += self.crates[key].uses
        return found


def data_of(features):
    """Files of the repository that are compiled in: path, digest, what."""
    found = []
    for pattern, feature, what in DATA:
        if feature is None or feature in features:
            paths = sorted(ROOT.glob(pattern))
            if not paths:
                raise Unusable(f"{pattern} is not there, and packaging/paper/parts.py says that it is compiled in")
            found += [(str(path.relative_to(ROOT)), digest(path), what) for path in paths]
    return found
