"""The project's pipelines by name, written out: Kedro's find_pipelines imports only the one asked for."""

from kedro.pipeline import Pipeline

from lesion_project.pipelines import (
    HAS_PAPER,
    augmentation,
    comparison,
    cross_validation,
    data_processing,
    prediction,
    reporting,
    training,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Name to pipeline; `__default__` is the first four in a row, the others are asked for by name."""
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "augmentation": augmentation.create_pipeline(),
        "training": training.create_pipeline(),
        "reporting": _create_reporting(),
    }
    default = sum(pipelines.values(), start=Pipeline([]))
    by_name = {
        "comparison": comparison.create_pipeline(),
        "cross_validation": cross_validation.create_pipeline(),
        "prediction": prediction.create_pipeline(),
        "prediction_with_truth": prediction.create_pipeline(with_truth=True),
    }
    return {"__default__": default, **pipelines, **by_name}


def _create_reporting() -> Pipeline:
    """With what the paper adds, unless somebody who needs no paper has deleted its room."""
    if not HAS_PAPER:
        return reporting.create_pipeline()
    from lesion_project.pipelines import paper

    return reporting.create_pipeline(paper.TABLE, paper.LAYERS) + paper.create_pipeline()
