"""Nodes that import torch, scikit-image and scikit-learn only when they run."""

from typing import Any

import pandas as pd


def measure_cases(*folds: Any) -> pd.DataFrame:
    """Measure the test cases of each fold; the inputs are those of the library's measure_cases."""
    from lesion_segmentation.diagnosis import cases

    return cases.measure_cases(*folds)


def diagnose_cases(features: pd.DataFrame) -> pd.DataFrame:
    """Predict the diagnosis of each case from the other folds."""
    from lesion_segmentation.diagnosis import classifier

    return classifier.diagnose_cases(features)
