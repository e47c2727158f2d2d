"""The dataset passport: what a reader should know of the data before reading any score."""

import hashlib
from typing import Any

import pandas as pd


def describe_dataset(cases: pd.DataFrame) -> dict[str, Any]:
    """Counts, sizes, lesion areas (fractions of the picture), border contact and exact duplicates of the cases."""
    sizes = (cases["width"].astype(str) + " x " + cases["height"].astype(str)).value_counts()
    area = cases["lesion_area"]
    return {
        "source": ", ".join(sorted(cases["source"].unique())),
        "cases": len(cases),
        "data_hash": data_hash(cases),
        "diagnoses": _counts(cases["diagnosis"]),
        "histological_diagnosis_missing": int((cases["histological_diagnosis"].fillna("") == "").sum()),
        "sizes": {str(size): int(count) for size, count in sizes.items()},
        "lesion_area": {name: float(getattr(area, name)()) for name in ("min", "median", "mean", "max")},
        "touches_border": int(cases["touches_border"].sum()),
        "duplicates": _duplicates(cases),
    }


def data_hash(cases: pd.DataFrame) -> str:
    """A digest of every pixel of every case: equal where two runs saw the same images and masks."""
    ordered = cases.sort_values("case_id")
    text = "\n".join(ordered["case_id"] + ordered["image_sha256"] + ordered["mask_sha256"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(name) or "unknown": int(count) for name, count in column.fillna("").value_counts().items()}


def _duplicates(cases: pd.DataFrame) -> list[list[str]]:
    """Groups of case ids whose images are equal in every pixel."""
    groups = cases.groupby("image_sha256")["case_id"].apply(list)
    return [sorted(group) for group in groups if len(group) > 1]
