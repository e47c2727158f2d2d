"""The dataset summary, which the catalog calls `dataset_passport`."""

import hashlib
from typing import Any

import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.perceptual_hash import HASH_BITS


def describe_dataset(cases: pd.DataFrame, near_duplicates: pd.DataFrame) -> dict[str, Any]:
    """Summarize a data set: counts, sizes, lesion areas (fractions of the image), border contact and near-duplicates.

    Args:
        cases: The table of `read_cases`, which refuses identical images.
        near_duplicates: Columns case_id, other_case_id, differing_bits, near_duplicate.
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
        "nearest_pair": _find_nearest_pair(near_duplicates),
    }


def _histology(cases: pd.DataFrame) -> dict[str, int]:
    """Count the cases without a histological diagnosis, if the data have this column."""
    if "histological_diagnosis" not in cases:
        return {}
    return {"histological_diagnosis_missing": int((cases["histological_diagnosis"].fillna("") == "").sum())}


def data_hash(cases: pd.DataFrame) -> str:
    """Return a hash of the pixels of all images and masks, by which runs on the same data are recognized."""
    ordered = cases.sort_values("case_id")
    text = "\n".join(ordered["case_id"] + ordered["image_sha256"] + ordered["mask_sha256"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(name) or "unknown": int(count) for name, count in column.fillna("").value_counts().items()}


def _find_nearest_pair(pairs: pd.DataFrame) -> dict[str, Any]:
    """Return the pair with the smallest distance of perceptual hashes, or nothing if there is only one case."""
    if pairs.empty:
        return {}
    nearest = pairs.loc[pairs["differing_bits"].idxmin()]
    both = [nearest["case_id"], nearest["other_case_id"]]
    return {"cases": both, "differing_bits": int(nearest["differing_bits"]), "of_bits": HASH_BITS}
