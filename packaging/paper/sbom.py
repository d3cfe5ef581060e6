"""A software bill of materials, CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json)."""

import datetime
import json
import os
import re
import uuid

from .parts import BROUGHT, Unusable, digest

OWN = "microraptor"
# What a build does beside linking: CycloneDX calls it excluded, "not reachable within a call graph at runtime".
SCOPE = {"linked": "required", "macro": "excluded", "build": "excluded"}
# The libraries of the system that a program for Linux is linked with, and loads when it starts.
SYSTEM = [("glibc", "LGPL-2.1-or-later"), ("libgcc_s", "GPL-3.0-or-later WITH GCC-exception-3.1")]


def properties(**named):
    return [{"name": f"microraptor:{name}", "value": str(value)} for name, value in sorted(named.items())]


def sha256(value):
    return [{"alg": "SHA-256", "content": value}]


def reference(name, version):
    return f"pkg:cargo/{name}@{version}"


def crate(part):
    found = {
        "type": "library",
        "bom-ref": reference(*part.key),
        "name": part.name,
        "version": part.version,
        "description": part.description,
        "scope": SCOPE[part.role],
        "hashes": sha256(part.checksum),
        "licenses": [{"expression": part.licence}],
        "purl": reference(*part.key),
        "authors": [author(name) for name in part.authors],
        "properties": properties(role=part.role, features=",".join(part.features)),
    }
    if part.repository.startswith("http"):
        found["externalReferences"] = [{"type": "vcs", "url": part.repository}]
    inside = [
        {"type": "file", "bom-ref": f"{reference(*part.key)}#{file}", "name": file, "description": what,
         "hashes": sha256(digest(part.folder / file)), "licenses": [{"license": {"id": licence}}]}
        for name, file, licence, what in BROUGHT
        if name == part.name
    ]
    if inside:
        found["components"] = inside
    return {key: value for key, value in found.items() if value}


def author(text):
    """`Name <address>`: the name alone, since an address in a file that is passed on helps nobody."""
    return {"name": re.sub(r"\s*<[^>]*>", "", text).strip() or text}


def data(path, value, what):
    kind = "machine-learning-model" if path.endswith(".safetensors") else "file"
    return {"type": kind, "bom-ref": f"file:{path}", "name": path, "description": what, "hashes": sha256(value),
            "licenses": [{"expression": "MIT OR Apache-2.0"}]}


def standard_library(parts, binary):
    version, commit = parts.compiler["release"], parts.compiler["commit-hash"]
    found = {
        "type": "library",
        "bom-ref": f"pkg:generic/rust-std@{version}",
        "name": "rust-std",
        "version": version,
        "description": f"the standard library of Rust, precompiled by its project, commit {commit}",
        "scope": "required",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": f"pkg:generic/rust-std@{version}",
    }
    if binary:
        # Its own crates leave the paths of their sources in a program; Cargo.lock does not have them.
        names = sorted({match.decode() for match in re.findall(rb"/rust/deps/([A-Za-z0-9_.-]+)", binary.read_bytes())})
        split = [re.fullmatch(r"(.+)-(\d+\.\d+\.\d+.*)", name) for name in names]
        found["components"] = [
            {"type": "library", "bom-ref": f"rust-std/{match[0]}", "name": match[1], "version": match[2],
             "purl": reference(match[1], match[2])}
            for match in split if match
        ]
    return {key: value for key, value in found.items() if value}


def system(parts):
    if not parts.target.endswith("-linux-gnu"):
        return []
    return [
        {"type": "library", "bom-ref": f"system:{name}", "name": name, "scope": "required",
         "description": "of the system, loaded when the program starts; not part of what is delivered",
         "licenses": [{"expression": licence}]}
        for name, licence in SYSTEM
    ]


def when():
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return {}
    if not epoch.isdigit():
        raise Unusable(f"SOURCE_DATE_EPOCH is {epoch!r}: give seconds since 1970")
    return {"timestamp": datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def render(parts, name, kind, binary):
    subject = {
        "type": kind,
        "bom-ref": OWN,
        "name": name,
        "version": parts.version,
        "licenses": [{"expression": parts.licence}],
        "purl": reference(OWN, parts.version),
        "properties": properties(target=parts.target, features=",".join(parts.features)),
    }
    if binary:
        subject["hashes"] = sha256(digest(binary))
    crates = [crate(part) for part in parts.crates.values()]
    std = standard_library(parts, binary)
    inside = [data(*entry) for entry in parts.data]
    below = [{"ref": reference(*part.key), "dependsOn": sorted(reference(*key) for key in part.uses)}
             for part in parts.crates.values()]
    first = sorted(reference(*key) for key in parts.direct)
    others = [entry["bom-ref"] for entry in [std, *system(parts), *inside]]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **when(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [
                {"type": "application", "name": "packaging/papers.py", "version": parts.version},
                {"type": "application", "name": "rustc", "version": parts.compiler["release"]},
            ]},
            "component": subject,
        },
        "components": [std, *system(parts), *inside, *crates],
        "dependencies": [{"ref": OWN, "dependsOn": first + others}, *below, *({"ref": ref} for ref in others)],
    }
    # A number that the contents give: the same build has the same one.
    contents = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, contents)}"
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
