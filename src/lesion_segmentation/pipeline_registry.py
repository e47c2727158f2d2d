"""The project's pipelines by name, written out: Kedro's find_pipelines imports only the one asked for."""

from kedro.pipeline import Pipeline

from lesion_segmentation.pipelines import augmentation, data_processing, reporting, training


def register_pipelines() -> dict[str, Pipeline]:
    """Name to pipeline; `__default__` is all four in a row."""
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "augmentation": augmentation.create_pipeline(),
        "training": training.create_pipeline(),
        "reporting": reporting.create_pipeline(),
    }
    return {"__default__": sum(pipelines.values(), start=Pipeline([])), **pipelines}
