"""Pipeline `augmentation`: make the samples that are trained on and scored from the cases."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_segmentation.data.leakage import guard_samples
from lesion_segmentation.data.samples import list_scored, make_samples
from lesion_segmentation.report.data import draw_samples


def create_pipeline() -> Pipeline:
    """Create the pipeline from `images`, `masks` and `split` to the samples, their images and masks."""
    cases = ["images", "masks", "split", "params:augmentation"]
    samples = ["samples", "sample_images", "sample_masks"]
    guarded = ["samples", "split", "near_duplicates", "params:leak_guard"]
    shown = ["sample_images", "sample_masks", "samples", "split", "cases"]
    nodes = [
        Node(make_samples, cases, samples, name="make_samples"),
        Node(guard_samples, guarded, "guarded_samples", name="guard_samples"),
        Node(list_scored, ["guarded_samples", "split", "cases"], "scored_samples", name="list_scored"),
        Node(draw_samples, shown, "augmentation_preview#figure", name="draw_samples"),
    ]
    return in_namespace("augmentation", nodes)
