"""Pipeline `training`: train a network on the samples."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_project.pipelines.training import nodes


def create_pipeline() -> Pipeline:
    """Create the pipeline from samples and their images and masks to `network` and `training_history`."""
    choose = ["pretrained_weights", "trained_networks", "scored_samples", "split", "params:training"]
    initialize = ["initialization", "sample_images", "guarded_samples", "params:training", "params:image_size",
                  "params:prediction"]  # fmt: skip
    samples = ["sample_images", "sample_masks", "guarded_samples", "params:training"]
    fit, calibrate = ["initial_network", *samples, "params:this_run.training"], ["trained_network", *samples]
    steps = [
        Node(nodes.choose_initialization, choose, "initialization", name="choose_initialization"),
        Node(nodes.initialize_network, initialize, "initial_network", name="initialize_network"),
        Node(nodes.fit_network, fit, ["trained_network", "training_history"], name="fit_network"),
        Node(nodes.calibrate_network, calibrate, "network", name="calibrate_network"),
    ]
    return in_namespace("training", steps)
