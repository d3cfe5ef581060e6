"""Has dciodvfy, pydicom, highdicom and nibabel judge what tests/output writes.

    MICRORAPTOR_KEEP=kept cargo test --test output
    python tests/reference/check_outputs.py kept

Every error of dciodvfy (Debian's dicom3tools) must be there in the source file too, such as a UID below a root that does
not exist; its warnings are counted. highdicom must read each segmentation, and show the same mask for each source frame,
and each report as a TID 1500 measurement report with the same numbers. nibabel must see a label volume where its source
lies.
"""

import json
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom

from dciodvfy import judge

warnings.simplefilter("ignore")


def segmentation(path, case, expected):
    seg = highdicom.seg.segread(path)
    assert seg.number_of_segments == 2 and seg.segmentation_type.value == "BINARY"
    sources = [pydicom.dcmread(s, stop_before_pixels=True) for s in case["sources"]]
    kinds = dict(segment_numbers=[1, 2], combine_segments=True, assert_missing_frames_are_empty=True)
    found = []
    for source in sources:
        uid, frames = source.SOPInstanceUID, int(source.get("NumberOfFrames", 1))
        if frames > 1:
            found.append(seg.get_pixels_by_source_frame(uid, list(range(1, frames + 1)), **kinds))
        else:
            found.append(seg.get_pixels_by_source_instance([uid], **kinds))
    found = np.concatenate(found)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert (found == expected).all(), f"{(found != expected).sum()} pixels differ"
    # pydicom's own unpacking of the bits: those of class 1, frame by frame.
    plain = pydicom.dcmread(path)
    frames = plain.pixel_array.reshape(-1, *expected.shape[1:])
    numbers = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in plain.PerFrameFunctionalGroupsSequence]
    ones = sum(int(f.sum()) for f, n in zip(frames, numbers) if n == 1)
    assert ones == int((expected == 1).sum())
    if "FrameOfReferenceUID" in plain and expected.any() and len(sources) > 1:
        volume = seg.get_volume(combine_segments=True, allow_missing_positions=True)
        assert np.allclose(volume.spacing, (2.5, 0.7, 0.8)), volume.spacing
        assert set(np.unique(volume.array)) == set(np.unique(expected))


def report(path, case):
    sr = highdicom.sr.srread(path)
    assert isinstance(sr, highdicom.sr.EnhancedSR)
    content = sr.content
    groups = content.get_image_measurement_groups()
    assert [g.tracking_identifier for g in groups] == ["birads", "lesion"]
    assert groups[0].finding_type.meaning == "malignant" and groups[1].finding_type is None
    values = {m.name.meaning: (m.value, m.unit.value) for g in groups for m in g.get_measurements()}
    assert abs(values["Probability"][0] - 2 / 3) < 1e-8 and values["Area of lesion"] == (12.5, "mm2"), values
    assert len(values) == 6
    assert [q.value.meaning for q in groups[0].get_qualitative_evaluations()] == ["No"]
    referred = {i.referenced_sop_instance_uid for i in groups[0].source_images}
    assert referred == {pydicom.dcmread(s, stop_before_pixels=True).SOPInstanceUID for s in case["sources"]}


def label_volume(path, source):
    found, expected = nibabel.load(path), nibabel.load(source)
    assert np.array_equal(found.affine, expected.affine) and found.header.get_xyzt_units()[0] == "mm"
    assert found.header.get_zooms() == expected.header.get_zooms()
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    print(f"{path.name}: same affine, same voxels")


def main():
    folder = Path(sys.argv[1])
    cases = sorted(folder.glob("*.seg.dcm"))
    assert cases, f"no objects in {folder}"
    have_dciodvfy = shutil.which("dciodvfy")
    warned, failed = Counter(), 0
    for seg in cases:
        name = seg.name.removesuffix(".seg.dcm")
        case = json.loads((folder / f"{name}.json").read_text())
        expected = np.fromfile(folder / f"{name}.mask", np.uint8).reshape(case["shape"])
        sr = folder / f"{name}.sr.dcm"
        segmentation(seg, case, expected)
        report(sr, case)
        for path in (seg, sr) if have_dciodvfy else ():
            errors, warning_lines = judge(path, case["sources"][0])
            warned.update(warning_lines)
            for line, known in errors:
                failed += not known
                print(f"{path.name}: {line}{' (as in the source)' if known else ''}")
        print(f"{name}: same mask, same numbers")
    for source in sorted(folder.glob("*.source")):
        label_volume(source.with_suffix(""), source.read_text())
    for line, count in warned.most_common():
        print(f"{count} x {line}")
    print(f"{len(cases)} segmentations and reports, {failed} errors of their own"
          + ("" if have_dciodvfy else " (no dciodvfy here)"))
    sys.exit(failed > 0)


main()
