"""What must be imported late (torch) or put together from several parts of the library."""

from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.evaluation import tables
from lesion_segmentation.report.settings import ReportingSettings


def predict_cases(
    network: Any, images: dict[str, np.ndarray], split: pd.DataFrame, settings: ReportingSettings
) -> dict[str, np.ndarray]:
    """One probability map a case, on a GPU where there is one; test cases only where they are to be scored."""
    from lesion_segmentation.prediction import predict
    from lesion_segmentation.training.hardware import choose_hardware

    wanted = split if settings.score_test else split[split["subset"] != "test"]
    case_ids = list(wanted["case_id"])
    device = choose_hardware().device
    maps = predict(network, np.stack([images[case_id] for case_id in case_ids]), settings.mirror_mean, device=device)
    return dict(zip(case_ids, maps, strict=True))


def threshold_cases(probabilities: dict[str, np.ndarray], network: Any) -> dict[str, np.ndarray]:
    """Hard masks, boolean (H, W), at the network's threshold."""
    return {case_id: probability > network.metadata.threshold for case_id, probability in probabilities.items()}


def score_cases(
    probabilities: dict[str, np.ndarray],
    masks: dict[str, np.ndarray],
    cases: pd.DataFrame,
    split: pd.DataFrame,
    network: Any,
    settings: ReportingSettings,
) -> pd.DataFrame:
    """One row of scores a case."""
    return tables.score_cases(probabilities, masks, cases, split, network.metadata.threshold, settings.prediction)


def summarise_architecture(network: Any, image_size: ImageSize) -> pd.DataFrame:
    """The network's layers, shapes and parameters."""
    from lesion_segmentation.model.architecture import summarise_architecture

    return summarise_architecture(network, image_size.height, image_size.width)
