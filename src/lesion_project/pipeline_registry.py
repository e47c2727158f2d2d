"""The pipelines of the project. They are listed because Kedro's find_pipelines would import only the requested one."""

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
    """Map names to pipelines. `__default__` consists of the first four; the others run by name."""
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
    """Create the reporting pipeline, with the tables of the paper unless its package was deleted."""
    if not HAS_PAPER:
        return reporting.create_pipeline()
    from lesion_project.pipelines import paper

    return reporting.create_pipeline(paper.TABLE, paper.LAYERS) + paper.create_pipeline()
