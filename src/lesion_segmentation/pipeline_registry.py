"""The project's pipelines by name, written out: Kedro's find_pipelines imports only the one asked for."""

from kedro.pipeline import Pipeline

from lesion_segmentation.pipelines import augmentation, comparison, data_processing, reporting, training


def register_pipelines() -> dict[str, Pipeline]:
    """Name to pipeline; `__default__` is the first four in a row, `comparison` is asked for by name."""
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "augmentation": augmentation.create_pipeline(),
        "training": training.create_pipeline(),
        "reporting": reporting.create_pipeline(),
    }
    default = sum(pipelines.values(), start=Pipeline([]))
    return {"__default__": default, **pipelines, "comparison": comparison.create_pipeline()}
