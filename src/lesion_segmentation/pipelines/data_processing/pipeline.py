"""From PH2 as it comes to checked, resized and split cases."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.data.cases import check_cases, resize_images, resize_masks
from lesion_segmentation.data.passport import describe_dataset
from lesion_segmentation.data.splits import split_cases


def create_pipeline() -> Pipeline:
    """Raw pictures and annotations -> cases, images, masks, dataset_passport, split."""
    return Pipeline(
        [
            Node(check_cases, ["ph2_images", "ph2_masks", "ph2_annotations"], "cases", name="check_cases"),
            Node(resize_images, ["ph2_images", "cases", "params:image_size"], "images", name="resize_images"),
            Node(resize_masks, ["ph2_masks", "cases", "params:image_size"], "masks", name="resize_masks"),
            Node(describe_dataset, "cases", "dataset_passport", name="describe_dataset"),
            Node(split_cases, ["cases", "params:split"], "split", name="split_cases"),
        ],
        namespace="data_processing",
        prefix_datasets_with_namespace=False,
        tags="data_processing",
    )
