"""The dataset summary, which the catalog calls `dataset_passport`."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.perceptual_hash import HASH_BITS


def describe_dataset(
    cases: pd.DataFrame, near_duplicates: pd.DataFrame, annotator_masks: Iterable[str] = ()
) -> dict[str, Any]:
    """Summarize a data set: counts, sizes, lesion areas (fractions of the image), border contact and near-duplicates.

    The tables are those of `read_cases` and `list_near_duplicates`. If there are several annotators, the summary also
    counts the masks of each; the names of `annotator_masks` are <case_id>/<annotator>.
    """
    annotators = Counter(sorted(name.partition("/")[2] for name in annotator_masks))
    histology = cases.get("histological_diagnosis")
    area = cases["lesion_area"]
    return {
        "source": name_source(cases),
        "cases": len(cases),
        "data_hash": data_hash(cases),
        "diagnoses": _counts(cases["diagnosis"]),
        **({} if histology is None else {"histological_diagnosis_missing": int((histology.fillna("") == "").sum())}),
        "sizes": _counts(cases["width"].astype(str) + " x " + cases["height"].astype(str)),
        "lesion_area": {name: float(getattr(area, name)()) for name in ("min", "median", "mean", "max")},
        **({"annotators": dict(annotators)} if annotators else {}),
        "touches_border": int(cases["touches_border"].sum()),
        "near_duplicates": int(near_duplicates["near_duplicate"].sum()),
        "nearest_pair": _find_nearest_pair(near_duplicates),
    }


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
