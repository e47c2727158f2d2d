"""Nodes that import torch or Plotly only when they run, or that combine several parts of the library."""

from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import require_same_split
from lesion_segmentation.evaluation import native, tables
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.report import diagrams
from lesion_segmentation.report.settings import ReportingSettings
from lesion_segmentation.report.style import Arrays, Figure


def predict_cases(
    network: Any,
    sample_images: Arrays,
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    prediction: PredictionSettings,
    reporting: ReportingSettings,
) -> tuple[Arrays, Arrays]:
    """Predict a probability map and a mask for each sample; test cases only if `reporting.score_test` is set."""
    from lesion_segmentation.prediction.predictor import make_predictor

    _require_same_data(network, sample_images, scored_samples, split)
    wanted = scored_samples if reporting.score_test else scored_samples[scored_samples["subset"] != "test"]
    names = wanted["sample_id"].tolist()
    height, width = sample_images[names[0]].shape[:2] if names else (0, 0)
    # One array for all cases: with one per case, the memory that each batch frees between them could not be reused.
    probabilities = np.empty((len(names), height, width), dtype=np.float32)
    masks = np.empty(probabilities.shape, dtype=bool)
    predictor = make_predictor(network, prediction)
    for row, predicted in enumerate(predictor(sample_images[name] for name in names)):
        probabilities[row], masks[row] = predicted
    return dict(zip(names, probabilities, strict=True)), dict(zip(names, masks, strict=True))


def score_cases(
    probabilities: Arrays,
    sample_masks: Arrays,
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    network: Any,
    prediction: PredictionSettings,
) -> pd.DataFrame:
    """Score each sample at the network's threshold."""
    _require_same_data(network, sample_masks, scored_samples, split)
    settings = prediction.resolve(network.metadata)
    return tables.score_cases(probabilities, sample_masks, scored_samples, **settings)


def score_cases_enhanced(
    probabilities: Arrays,
    sample_masks: Arrays,
    scored_samples: pd.DataFrame,
    case_metrics: pd.DataFrame,
    reporting: ReportingSettings,
) -> pd.DataFrame:
    """Score the samples of case_metrics again, at `reporting.enhanced_threshold`."""
    first = case_metrics.iloc[0]
    settings = {"test_time_augmentation": first["test_time_augmentation"],
                "keep_largest_component": bool(first["keep_largest_component"])}  # fmt: skip
    threshold = reporting.enhanced_threshold
    return tables.score_cases(probabilities, sample_masks, scored_samples, threshold, **settings)


def score_native_size(
    probabilities: Arrays, native_masks: Arrays, case_metrics: pd.DataFrame, image_size: ImageSize
) -> pd.DataFrame:
    """Score each case against the expert's mask at its native size."""
    return native.score_native_size(probabilities, native_masks, case_metrics, image_size.framing)


def build_page(**inputs: Any) -> str:
    """Build the report page; the inputs have the names of the library's build_page."""
    from lesion_segmentation.report import page

    return page.build_page(**inputs)


def summarize_architecture(network: Any) -> pd.DataFrame:
    """List the layers, shapes and parameters of the network for images of its input size."""
    from lesion_segmentation.model.layers import summarize_layers

    return summarize_layers(network, *(network.metadata.input_size or ()))


def draw_flow() -> Figure:
    """Draw the registered pipelines of `kedro run`."""
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


def export_network(network: Any, reporting: ReportingSettings) -> bytes:
    """Export the network as one ONNX file if `reporting.export` is set."""
    if not reporting.export:
        return b""
    from lesion_segmentation.export import make_onnx

    return make_onnx(network)


def _require_same_data(network: Any, arrays: Arrays, scored_samples: pd.DataFrame, split: pd.DataFrame) -> None:
    """Require the data, split and image size of the training; format 1 of the weights file names only the split."""
    require_same_split(scored_samples, split)
    trained, here = network.metadata, scored_samples.iloc[0]
    size = next(iter(arrays.values())).shape[:2]
    problems = []
    if trained.split_hash != here["split_hash"]:
        problems.append(
            f"it was trained under split {trained.split_hash}, but the current split is {here['split_hash']}: some of "
            "its training cases may be test cases here"
        )
    if trained.data_hash and trained.data_hash != here["data_hash"]:
        problems.append(f"it was trained on data {trained.data_hash}, but the current data are {here['data_hash']}")
    if trained.input_size and trained.input_size != size:
        sizes = [" x ".join(str(side) for side in each) for each in (trained.input_size, size)]
        problems.append(f"it was trained on images of {sizes[0]}, but the current images are {sizes[1]}")
    if problems:
        remedy = "Train again (kedro run), or restore the parameters with which it was trained."
        raise InputError.from_problems("The network does not match the current data", problems, remedy)
