"""What must be imported late (torch, the registry) or put together from several parts of the library."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import check_origin
from lesion_segmentation.evaluation import native, tables
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.report import diagrams
from lesion_segmentation.report.settings import ReportingSettings
from lesion_segmentation.report.style import Figure

Arrays = Mapping[str, np.ndarray]


def predict_cases(
    network: Any,
    sample_images: Arrays,
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    prediction: PredictionSettings,
    reporting: ReportingSettings,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One probability map and one mask a sample; test cases only where they are to be scored.

    Raises:
        InputError: The network was trained on other data, at another size, or under another split, whose training cases
            may be test cases of this one.
    """
    from lesion_segmentation.core.hardware import keep_freed_memory
    from lesion_segmentation.prediction import Predictor

    keep_freed_memory()
    check_origin(scored_samples, split)
    _require_own_data(network, sample_images, scored_samples)
    wanted = scored_samples if reporting.score_test else scored_samples[scored_samples["subset"] != "test"]
    predictor = Predictor(network, **prediction.model_dump())
    predictions = predictor(sample_images[sample_id] for sample_id in wanted["sample_id"])
    found = dict(zip(wanted["sample_id"], predictions, strict=True))
    return {name: each.probability for name, each in found.items()}, {name: each.mask for name, each in found.items()}


def score_cases(
    probabilities: Arrays,
    sample_masks: Arrays,
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    network: Any,
    prediction: PredictionSettings,
    reporting: ReportingSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of scores a sample: at the network's threshold, and at the second, lower one.

    Raises:
        InputError: As predict_cases: the maps may be of an earlier split.
    """
    check_origin(scored_samples, split)
    _require_own_data(network, sample_masks, scored_samples)
    normal, enhanced = (
        tables.score_cases(
            probabilities,
            sample_masks,
            scored_samples,
            threshold,
            prediction.test_time_augmentation,
            prediction.keep_largest_component,
        )
        for threshold in (network.metadata.threshold, reporting.enhanced_threshold)
    )
    return normal, enhanced


def score_native_size(
    probabilities: Arrays, native_masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame, image_size: ImageSize
) -> pd.DataFrame:
    """Each case against the mask as the expert drew it, at its own size."""
    return native.score_native_size(probabilities, native_masks, case_metrics, image_size.framing)


def write_model_card(
    score_intervals: pd.DataFrame,
    case_metrics: pd.DataFrame,
    dataset_passport: dict[str, Any],
    split: pd.DataFrame,
    network: Any,
) -> str:
    from lesion_segmentation.report import page

    return page.write_model_card(score_intervals, case_metrics, dataset_passport, split, asdict(network.metadata))


def build_page(**parts: Any) -> str:
    """The page, of everything that this pipeline made: `parts` by the names of build_page of the library."""
    from lesion_segmentation.report import page

    pictures = {name: parts.pop(name) for name in ("images", "masks", "predicted_masks")}
    passport, card, network = (parts.pop(name) for name in ("dataset_passport", "model_card", "network"))
    record = parts.pop("record")
    return page.build_page(parts, pictures, passport, card, asdict(network.metadata), record)


def summarize_architecture(network: Any) -> pd.DataFrame:
    """The network's layers, shapes and parameters, for pictures of its input size."""
    from lesion_segmentation.model.layers import summarize_layers

    return summarize_layers(network, *(network.metadata.input_size or ()))


def draw_flow() -> Figure:
    """The pipelines of `kedro run` as they are registered."""
    from kedro.framework.project import pipelines

    default = set(pipelines["__default__"].nodes)
    steps = [
        {
            "pipeline": name,
            "step": node.short_name.split(".")[-1],
            "inputs": [dataset for dataset in node.inputs if not dataset.startswith("params:")],
            "outputs": [dataset.partition("#")[0] for dataset in node.outputs],
        }
        for name, pipeline in pipelines.items()
        if name != "__default__"
        for node in pipeline.nodes
        if node in default
    ]
    return diagrams.draw_flow(pd.DataFrame(steps))


def _require_own_data(network: Any, pictures: Arrays, scored_samples: pd.DataFrame) -> None:
    """The network must be of these very data, split and size; a file of format 1 does not know data and size."""
    trained, here = network.metadata, scored_samples.iloc[0]
    size = next(iter(pictures.values())).shape[:2]
    problems = []
    if trained.split_hash != here["split_hash"]:
        problems.append(
            f"it was trained under split {trained.split_hash}, but the split is {here['split_hash']} now: some of its "
            "training cases may be test cases here"
        )
    if trained.data_hash and trained.data_hash != here["data_hash"]:
        problems.append(f"it was trained on data {trained.data_hash}, but the data are {here['data_hash']} now")
    if trained.input_size and trained.input_size != size:
        sizes = [" x ".join(str(side) for side in each) for each in (trained.input_size, size)]
        problems.append(f"it was trained on pictures of {sizes[0]}, but they are {sizes[1]} now")
    if problems:
        raise InputError.from_problems(
            "The network does not belong to what stands here", problems,
            "Train again (kedro run), or go back to the parameters that it was trained with.",
        )  # fmt: skip


def export_network(network: Any, reporting: ReportingSettings) -> bytes:
    """The network as one ONNX file, where it is asked for."""
    if not reporting.export:
        return b""
    from lesion_segmentation.export import make_onnx

    return make_onnx(network)
