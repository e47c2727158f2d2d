"""Pipeline `data_processing`: read, check, resize and split the cases."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_segmentation.data.cases import read_cases, resize_masks
from lesion_segmentation.data.leakage import list_near_duplicates
from lesion_segmentation.data.splits import split_cases
from lesion_segmentation.data.summary import describe_dataset
from lesion_segmentation.report.data import draw_examples, draw_loaded_image, draw_resizing, draw_split


def create_pipeline() -> Pipeline:
    """Create the pipeline from the raw data to `cases`, `images`, `masks`, `native_masks`, `split` and figures."""
    raw = ["ph2_images", "ph2_masks", "ph2_annotations", "params:image_size", "params:data"]
    read = ["cases", "images", "native_masks", "perceptual_hashes", "example_images", "annotator_masks"]
    hashes = ["cases", "perceptual_hashes", "params:leak_guard"]
    described = ["cases", "near_duplicates", "annotator_masks"]
    sizes = ["example_images", "images", "masks", "native_masks", "cases", "params:image_size"]
    nodes = [
        Node(read_cases, raw, read, name="read_cases"),
        Node(resize_masks, ["native_masks", "params:image_size"], "masks", name="resize_masks"),
        Node(list_near_duplicates, hashes, "near_duplicates", name="list_near_duplicates"),
        Node(split_cases, ["cases", "params:split", "near_duplicates"], "split", name="split_cases"),
        Node(describe_dataset, described, "dataset_passport", name="describe_dataset"),
        Node(draw_examples, ["images", "masks", "cases"], "dataset_examples#figure", name="draw_examples"),
        Node(draw_loaded_image, ["example_images", "cases"], "image_as_loaded#figure", name="draw_loaded_image"),
        Node(draw_resizing, sizes, "before_and_after_resizing#figure", name="draw_resizing"),
        Node(draw_split, ["split", "cases"], "split_overview#figure", name="draw_split"),
    ]
    return in_namespace("data_processing", nodes)
