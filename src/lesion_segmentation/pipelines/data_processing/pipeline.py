"""From PH2 as it comes to checked, resized and split cases."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.data.cases import check_cases, read_native_masks, resize_images, resize_masks
from lesion_segmentation.data.passport import describe_dataset
from lesion_segmentation.data.splits import split_cases
from lesion_segmentation.report.data import draw_examples, draw_loaded_image, draw_resizing, draw_split


def create_pipeline() -> Pipeline:
    """Raw pictures and annotations -> cases, images, masks, native_masks, split, and what shows them."""
    return Pipeline(
        [
            Node(check_cases, ["ph2_images", "ph2_masks", "ph2_annotations"], "cases", name="check_cases"),
            Node(resize_images, ["ph2_images", "cases", "params:image_size"], "images", name="resize_images"),
            Node(resize_masks, ["ph2_masks", "cases", "params:image_size"], "masks", name="resize_masks"),
            Node(read_native_masks, ["ph2_masks", "cases"], "native_masks", name="read_native_masks"),
            Node(split_cases, ["cases", "params:split"], "split", name="split_cases"),
            Node(describe_dataset, ["cases", "images"], "dataset_passport", name="describe_dataset"),
            Node(draw_examples, ["images", "masks", "cases"], "dataset_examples", name="draw_examples"),
            Node(draw_loaded_image, ["ph2_images", "cases"], "image_as_loaded", name="draw_loaded_image"),
            Node(
                draw_resizing,
                ["ph2_images", "images", "masks", "native_masks", "cases"],
                "before_and_after_resizing",
                name="draw_resizing",
            ),
            Node(draw_split, ["split", "cases"], "split_overview", name="draw_split"),
        ],
        namespace="data_processing",
        prefix_datasets_with_namespace=False,
        tags="data_processing",
    )
