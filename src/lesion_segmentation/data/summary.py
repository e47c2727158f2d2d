"""The dataset passport: what a reader should know of the data before reading any score."""

import hashlib
from typing import Any

import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.perceptual_hash import HASH_BITS


def describe_dataset(cases: pd.DataFrame, near_duplicates: pd.DataFrame) -> dict[str, Any]:
    """Counts, sizes, lesion areas (fractions of the picture), border contact, and the two pictures most alike.

    Args:
        cases: As read_cases gives them, which refuses pictures that are equal in every pixel.
        near_duplicates: case_id, other_case_id, differing_bits, near_duplicate.
    """
    sizes = (cases["width"].astype(str) + " x " + cases["height"].astype(str)).value_counts()
    area = cases["lesion_area"]
    return {
        "source": name_source(cases),
        "cases": len(cases),
        "data_hash": data_hash(cases),
        "diagnoses": _counts(cases["diagnosis"]),
        **_histology(cases),
        "sizes": {str(size): int(count) for size, count in sizes.items()},
        "lesion_area": {name: float(getattr(area, name)()) for name in ("min", "median", "mean", "max")},
        "touches_border": int(cases["touches_border"].sum()),
        "near_duplicates": int(near_duplicates["near_duplicate"].sum()),
        "most_alike": _most_alike(near_duplicates),
    }


def _histology(cases: pd.DataFrame) -> dict[str, int]:
    """How many cases have no histological diagnosis, where the data know of such."""
    if "histological_diagnosis" not in cases:
        return {}
    return {"histological_diagnosis_missing": int((cases["histological_diagnosis"].fillna("") == "").sum())}


def data_hash(cases: pd.DataFrame) -> str:
    """A digest of every pixel of every case: equal where two runs saw the same images and masks."""
    ordered = cases.sort_values("case_id")
    text = "\n".join(ordered["case_id"] + ordered["image_sha256"] + ordered["mask_sha256"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(name) or "unknown": int(count) for name, count in column.fillna("").value_counts().items()}


def _most_alike(pairs: pd.DataFrame) -> dict[str, Any]:
    """The pair of cases with the least distance of perceptual hashes: a duplicate is near 0. One case has no other."""
    if pairs.empty:
        return {}
    nearest = pairs.loc[pairs["differing_bits"].idxmin()]
    both = [nearest["case_id"], nearest["other_case_id"]]
    return {"cases": both, "differing_bits": int(nearest["differing_bits"]), "of_bits": HASH_BITS}
