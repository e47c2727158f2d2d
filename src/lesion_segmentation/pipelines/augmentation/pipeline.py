"""From cases to the samples that training sees."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.data.copies import copy_samples
from lesion_segmentation.data.leaks import guard_samples
from lesion_segmentation.report.data import draw_samples


def create_pipeline() -> Pipeline:
    """cases, images, masks, split -> samples, sample_images, sample_masks, guarded_samples, augmentation_preview."""
    return Pipeline(
        [
            Node(
                copy_samples,
                ["images", "masks", "split", "params:augmentation"],
                ["samples", "sample_images", "sample_masks"],
                name="copy_samples",
            ),
            Node(
                guard_samples,
                ["samples", "split", "images", "params:leak_guard"],
                "guarded_samples",
                name="guard_samples",
            ),
            Node(
                draw_samples,
                ["sample_images", "sample_masks", "samples", "split", "cases"],
                "augmentation_preview",
                name="draw_samples",
            ),
        ],
        namespace="augmentation",
        prefix_datasets_with_namespace=False,
        tags="augmentation",
    )
