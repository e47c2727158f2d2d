"""The pipelines of the project. They are listed because Kedro's find_pipelines would import only the requested one."""

from kedro.pipeline import Pipeline

from lesion_project.pipelines import HAS_PAPER
from lesion_project.pipelines.augmentation import pipeline as augmentation
from lesion_project.pipelines.comparison import pipeline as comparison
from lesion_project.pipelines.cross_validation import pipeline as cross_validation
from lesion_project.pipelines.data_processing import pipeline as data_processing
from lesion_project.pipelines.diagnosis import pipeline as diagnosis
from lesion_project.pipelines.prediction import pipeline as prediction
from lesion_project.pipelines.reporting import pipeline as reporting
from lesion_project.pipelines.training import pipeline as training


def register_pipelines() -> dict[str, Pipeline]:
    """Map names to pipelines. `__default__` consists of the first four; the others run by name."""
    pipelines = {
        "data_processing": data_processing.create_pipeline(),
        "augmentation": augmentation.create_pipeline(),
        "training": training.create_pipeline(),
        "reporting": _create_reporting(),
    }
    by_name = {
        "comparison": comparison.create_pipeline(),
        "cross_validation": cross_validation.create_pipeline(),
        "diagnosis": diagnosis.create_pipeline(),
        "prediction": prediction.create_pipeline(),
        "prediction_with_truth": prediction.create_pipeline(with_truth=True),
    }
    return {"__default__": sum(pipelines.values(), start=Pipeline([])), **pipelines, **by_name}


def _create_reporting() -> Pipeline:
    """Create the reporting pipeline, with the tables of the paper unless its package was deleted."""
    if not HAS_PAPER:
        return reporting.create_pipeline()
    from lesion_project.pipelines.paper import pipeline as paper

    return reporting.create_pipeline(paper.TABLE, paper.LAYERS) + paper.create_pipeline()
