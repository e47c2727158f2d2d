"""What must be imported late (torch, the registry) or put together from several parts of the library."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.copies import list_scored
from lesion_segmentation.data.leaks import check_origin
from lesion_segmentation.data.splits import split_hash
from lesion_segmentation.errors import InputError
from lesion_segmentation.evaluation import calibration, tables, thresholds
from lesion_segmentation.report import diagrams
from lesion_segmentation.report.settings import ReportingSettings

Arrays = dict[str, np.ndarray]


def predict_cases(
    network: Any,
    images: Arrays,
    sample_images: Arrays,
    guarded_samples: pd.DataFrame,
    split: pd.DataFrame,
    settings: ReportingSettings,
) -> Arrays:
    """One probability map a case, on a GPU where there is one; test cases only where they are to be scored.

    Raises:
        InputError: The network was trained under another split, whose training cases may be test cases of this one.
    """
    from lesion_segmentation.hardware import choose_hardware
    from lesion_segmentation.prediction import predict

    _require_one_split(network, guarded_samples, split)
    scored = list_scored(guarded_samples, split)
    wanted = scored if settings.score_test else scored[scored["subset"] != "test"]
    pictures = sample_images | images
    device = choose_hardware().device
    stacked = np.stack([pictures[sample_id] for sample_id in wanted["sample_id"]])
    maps = predict(network, stacked, settings.mirror_mean, device=device, precision=settings.precision)
    return dict(zip(wanted["sample_id"], maps, strict=True))


def _require_one_split(network: Any, guarded_samples: pd.DataFrame, split: pd.DataFrame) -> None:
    trained_under, here = network.metadata.split_hash, split_hash(split)
    if trained_under != here:
        raise InputError(
            f"The network was trained under split {trained_under}, but the split is {here} now: some of its training "
            "cases may be test cases here. Train again (kedro run), or go back to that split's parameters."
        )
    check_origin(guarded_samples, split)


def threshold_cases(probabilities: Arrays, network: Any) -> Arrays:
    """Hard masks, boolean (H, W), at the network's threshold."""
    return {name: probability > network.metadata.threshold for name, probability in probabilities.items()}


def score_cases(
    probabilities: Arrays,
    masks: Arrays,
    sample_masks: Arrays,
    cases: pd.DataFrame,
    guarded_samples: pd.DataFrame,
    split: pd.DataFrame,
    network: Any,
    settings: ReportingSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of scores a case: at the network's threshold, and at that of the paper's enhancement.

    Raises:
        InputError: As predict_cases: the maps may be of an earlier split.
    """
    _require_one_split(network, guarded_samples, split)
    scored, truths = list_scored(guarded_samples, split), sample_masks | masks
    normal, enhanced = (
        tables.score_cases(probabilities, truths, cases, scored, threshold, settings.prediction)
        for threshold in (network.metadata.threshold, settings.enhanced_threshold)
    )
    return normal, enhanced


def summarise_legacy(
    probabilities: Arrays, masks: Arrays, sample_masks: Arrays, case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Table II as the paper's code computes it."""
    return tables.summarise_legacy(probabilities, sample_masks | masks, case_metrics)


def calibrate(probabilities: Arrays, masks: Arrays, sample_masks: Arrays, case_metrics: pd.DataFrame) -> pd.DataFrame:
    """Whether the probabilities of the pixels mean what they say."""
    return calibration.calibrate(probabilities, sample_masks | masks, case_metrics)


def sweep_thresholds(
    probabilities: Arrays, masks: Arrays, sample_masks: Arrays, case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """IoU and Dice at other thresholds, never on test cases."""
    return thresholds.sweep_thresholds(probabilities, sample_masks | masks, case_metrics)


def write_model_card(
    score_intervals: pd.DataFrame,
    case_metrics: pd.DataFrame,
    dataset_passport: dict[str, Any],
    split: pd.DataFrame,
    network: Any,
    image_size: ImageSize,
) -> str:
    """The model card of the network."""
    from lesion_segmentation.report.page import write_model_card

    size = (image_size.height, image_size.width)
    return write_model_card(score_intervals, case_metrics, dataset_passport, split, asdict(network.metadata), size)


def build_page(
    images: Arrays,
    sample_images: Arrays,
    masks: Arrays,
    sample_masks: Arrays,
    predicted_masks: Arrays,
    dataset_passport: dict[str, Any],
    model_card: str,
    network: Any,
    run_record: dict[str, Any] | None,
    **tables: pd.DataFrame,
) -> str:
    """The page, of everything that this pipeline made."""
    from lesion_segmentation.report import page

    pictures = {"images": sample_images | images, "masks": sample_masks | masks, "predicted_masks": predicted_masks}
    return page.build_page(tables, pictures, dataset_passport, model_card, asdict(network.metadata), run_record or {})


def summarise_architecture(network: Any, image_size: ImageSize) -> pd.DataFrame:
    """The network's layers, shapes and parameters."""
    from lesion_segmentation.model.architecture import summarise_architecture

    return summarise_architecture(network, image_size.height, image_size.width)


def summarise_paper_architecture(image_size: ImageSize) -> pd.DataFrame:
    """The layers, shapes and parameters of the paper's network, whatever was trained."""
    from lesion_segmentation.model import SegNet
    from lesion_segmentation.model.architecture import summarise_architecture

    network = SegNet(width=1.0, unpooling="indices", logit_batch_norm=True)
    return summarise_architecture(network, image_size.height, image_size.width)


def draw_flow() -> Figure:
    """The pipelines of `kedro run` as they are registered."""
    from kedro.framework.project import pipelines

    default = set(pipelines["__default__"].nodes)
    steps = [
        {
            "pipeline": name,
            "step": node.short_name.split(".")[-1],
            "inputs": [dataset for dataset in node.inputs if not dataset.startswith("params:")],
            "outputs": node.outputs,
        }
        for name, pipeline in pipelines.items()
        if name != "__default__"
        for node in pipeline.nodes
        if node in default
    ]
    return diagrams.draw_flow(pd.DataFrame(steps))
