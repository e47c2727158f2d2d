from collections import Counter

import numpy as np
import pytest
from conftest import SMALL, SYNTHETIC
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import ImageSize, read_cases, resize_masks
from lesion_segmentation.data.leakage import LeakGuardSettings, list_near_duplicates
from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.data.summary import data_hash, describe_dataset
from lesion_segmentation.images.read import to_mask


def test_table_has_one_row_per_case(cases):
    first, expected = cases.iloc[0], synthesize_case(1)
    assert list(cases["case_id"]) == [f"SYN{number:03d}" for number in range(1, 21)]
    assert (first["height"], first["width"]) == expected.mask.shape
    assert first["lesion_area"] == pytest.approx(expected.mask.mean())
    assert first["diagnosis"] == "atypical nevus"
    assert set(cases["source"]) == {"synthetic"}


def test_cases_without_a_named_annotation_style_have_that_of_their_source(raw, cases):
    assert "annotation_style" not in cases
    table = cases[["case_id", "diagnosis"]].assign(annotation_style=["T1", ""] * 10)
    given = raw | {"ph2_annotations": table}
    styled = read_cases(**given, image_size=SMALL, data=SYNTHETIC).cases
    assert list(styled["annotation_style"]) == ["T1", "synthetic"] * 10
    assert set(styled["source"]) == {"synthetic"}


def test_border_contact_is_detected(raw, cases):
    mask = np.zeros((50, 60), bool)
    mask[20:30, 55:] = True
    changed = raw | {
        "ph2_images": raw["ph2_images"] | {"SYN001": lambda: Image.new("RGB", (60, 50))},
        "ph2_masks": raw["ph2_masks"] | {"SYN001": lambda: Image.fromarray(mask)},
    }
    assert read_cases(**changed, image_size=SMALL, data=SYNTHETIC).cases.iloc[0]["touches_border"]


def test_resized_images_and_masks_have_the_requested_size(raw):
    size = ImageSize(height=40, width=72)
    read = read_cases(**raw, image_size=size, data=SYNTHETIC)
    images, masks = read.images, resize_masks(read.native_masks, size)
    assert {image.shape for image in images.values()} == {(40, 72, 3)}
    assert {mask.shape for mask in masks.values()} == {(40, 72)}
    assert {mask.dtype for mask in masks.values()} == {np.dtype(np.uint8)}
    assert {value for mask in masks.values() for value in np.unique(mask)} == {0, 1}


def test_resizing_equals_pillow(read, masks):
    case, size = synthesize_case(3), (SMALL.width, SMALL.height)
    image = Image.fromarray(case.image).resize(size, Image.Resampling.BICUBIC)
    mask = Image.fromarray(case.mask).resize(size, Image.Resampling.NEAREST)
    assert np.array_equal(read.images["SYN003"], np.asarray(image))
    assert np.array_equal(masks["SYN003"], np.asarray(mask))


def test_example_images_are_the_native_first_smallest_and_largest(read):
    pixels = (read.cases["width"] * read.cases["height"]).set_axis(read.cases["case_id"])
    assert list(read.example_images) == list(dict.fromkeys(["SYN001", pixels.idxmin(), pixels.idxmax()]))
    assert all(
        np.array_equal(image, synthesize_case(int(name[3:])).image) for name, image in read.example_images.items()
    )


def test_each_file_is_read_once(raw):
    reads: Counter[str] = Counter()

    def counted(part: str, name: str):
        def read() -> Image.Image:
            reads[f"{part} {name}"] += 1
            return raw[part][name]()

        return read

    files = {part: {name: counted(part, name) for name in raw[part]} for part in ("ph2_images", "ph2_masks")}
    read_cases(**files, ph2_annotations=raw["ph2_annotations"], image_size=SMALL, data=SYNTHETIC)
    assert len(reads) == 40
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_masks_of_two_values_are_read_in_any_mode(mode):
    mask = np.zeros((8, 8), bool)
    mask[2:5, 3:7] = True
    assert np.array_equal(to_mask(Image.fromarray(mask).convert(mode)), mask)


def test_all_problems_are_in_one_report(raw):
    def fail() -> Image.Image:
        raise OSError("image file is truncated")

    images, masks = dict(raw["ph2_images"]), dict(raw["ph2_masks"])
    images["SYN003"] = images["SYN001"]  # two problems of one case
    del images["SYN002"], masks["SYN003"], images["SYN007"], masks["SYN007"]
    images["SYN004"] = fail
    masks["SYN005"] = lambda: Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10))
    masks["SYN006"] = lambda: Image.new("1", (10, 10))
    images["SYN099"], masks["SYN099"] = images["SYN001"], masks["SYN001"]
    with pytest.raises(InputError) as caught:
        read_cases(images, masks, raw["ph2_annotations"], SMALL, SYNTHETIC)
    report = str(caught.value)
    assert "9 problems" in report
    assert "SYN002: there is a mask but no image" in report
    assert "SYN003: there is an image but no mask" in report
    assert "SYN004: the image cannot be read (image file is truncated)" in report
    assert (
        "SYN005: the mask cannot be used (100 grey values found (0, 1, 2, 3, 4, 5, ...), expected at most two" in report
    )
    assert "SYN006: the image is" in report
    assert "SYN007: it is in PH2_dataset.txt, but there is neither an image nor a mask" in report
    assert "SYN099: not found in PH2_dataset.txt" in report
    assert "SYN099: the image is identical to that of SYN001" in report
    assert "SYN003: the image is identical to that of SYN001" in report
    assert "make ph2 FROM=" in report


def test_damaged_annotation_table_hides_no_other_problem(raw):
    lines = raw["ph2_annotations"].splitlines()
    images = {case_id: read for case_id, read in raw["ph2_images"].items() if case_id != "SYN002"}
    with pytest.raises(InputError) as caught:
        read_cases(images, raw["ph2_masks"], "\n".join([*lines, lines[1]]), SMALL, SYNTHETIC)
    assert "2 problems" in str(caught.value)
    assert "PH2_dataset.txt: SYN001: it is listed twice" in str(caught.value)
    assert "SYN002: there is a mask but no image" in str(caught.value)


@pytest.mark.parametrize("value", [1, 37, 255])
def test_mask_of_one_value_is_empty_only_if_black(value):
    assert to_mask(Image.new("L", (4, 4), value)).all()
    assert not to_mask(Image.new("L", (4, 4), 0)).any()


@pytest.mark.parametrize(("value", "word"), [(False, "empty"), (True, "full")])
def test_empty_and_full_masks_are_accepted_with_warning(raw, value, word, caplog):
    size = raw["ph2_images"]["SYN001"]().size
    masks = raw["ph2_masks"] | {"SYN001": lambda: Image.new("1", size, int(value))}
    cases = read_cases(raw["ph2_images"], masks, raw["ph2_annotations"], SMALL, SYNTHETIC).cases
    assert cases.iloc[0]["lesion_area"] == float(value)
    assert f"SYN001: the mask is {word}" in caplog.text


def test_summary_has_counts_and_nearest_pair(cases, hashes):
    summary = describe_dataset(cases, list_near_duplicates(cases, hashes, LeakGuardSettings()))
    assert summary["cases"] == 20
    assert sum(summary["diagnoses"].values()) == sum(summary["sizes"].values()) == 20
    assert summary["touches_border"] == cases["touches_border"].sum()
    assert summary["nearest_pair"]["differing_bits"] > 46
    forged = hashes | {"SYN020": hashes["SYN003"][[4, 5, 6, 7, 0, 1, 2, 3]]}
    twice = describe_dataset(cases, list_near_duplicates(cases, forged, LeakGuardSettings()))
    assert twice["nearest_pair"] == {"cases": ["SYN003", "SYN020"], "differing_bits": 0, "of_bits": 256}


def test_data_hash_depends_on_pixels_and_not_on_order(cases):
    assert data_hash(cases) == data_hash(cases.sample(frac=1, random_state=0))
    assert data_hash(cases) != data_hash(cases.assign(mask_sha256="other"))
