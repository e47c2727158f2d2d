"""The pipeline that makes samples from cases."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.data.leakage import guard_samples
from lesion_segmentation.data.samples import list_scored, make_samples
from lesion_segmentation.report.data import draw_samples


def create_pipeline() -> Pipeline:
    """Create the pipeline from `images`, `masks` and `split` to the samples, their images and masks."""
    return Pipeline(
        [
            Node(
                make_samples,
                ["images", "masks", "split", "params:augmentation"],
                ["samples", "sample_images", "sample_masks"],
                name="make_samples",
            ),
            Node(
                guard_samples,
                ["samples", "split", "near_duplicates", "params:leak_guard"],
                "guarded_samples",
                name="guard_samples",
            ),
            Node(list_scored, ["guarded_samples", "split", "cases"], "scored_samples", name="list_scored"),
            Node(
                draw_samples,
                ["sample_images", "sample_masks", "samples", "split", "cases"],
                "augmentation_preview#figure",
                name="draw_samples",
            ),
        ],
        namespace="augmentation",
        prefix_datasets_with_namespace=False,
        tags="augmentation",
    )
