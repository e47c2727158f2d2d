"""Pipeline `training`: train a network on the samples."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_project.pipelines.training import nodes
from lesion_segmentation.data.samples import choose_targets


def create_pipeline() -> Pipeline:
    """Create the pipeline from samples and their images and masks to `network` and `training_history`."""
    choose = ["pretrained_weights", "trained_networks", "scored_samples", "split", "params:training"]
    initialize = ["initialization", "sample_images", "guarded_samples", "params:training", "params:image_size",
                  "params:prediction"]  # fmt: skip
    samples = ["sample_images", "sample_masks", "guarded_samples", "params:training"]
    targets = ["sample_masks", "annotator_masks", "guarded_samples", "params:data"]
    fit = ["initial_network", "sample_images", "target_masks", "guarded_samples", "params:training",
           "params:this_run.training"]  # fmt: skip
    steps = [
        Node(nodes.choose_initialization, choose, "initialization", name="choose_initialization"),
        Node(nodes.initialize_network, initialize, "initial_network", name="initialize_network"),
        Node(choose_targets, targets, "target_masks", name="choose_targets"),
        Node(nodes.fit_network, fit, ["trained_network", "training_history"], name="fit_network"),
        Node(nodes.calibrate_network, ["trained_network", *samples], "network", name="calibrate_network"),
    ]
    return in_namespace("training", steps)
