"""The pipeline that trains a network on the samples."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines.training.nodes import (
    calibrate_network,
    choose_initialization,
    fit_network,
    initialize_network,
)


def create_pipeline() -> Pipeline:
    """Create the pipeline from samples and their images and masks to `network` and `training_history`."""
    choose = ["encoders", "trained_networks", "scored_samples", "split", "params:training"]
    initialize = ["initialization", "sample_images", "guarded_samples", "params:training", "params:image_size",
                  "params:prediction"]  # fmt: skip
    fit = ["initial_network", "sample_images", "sample_masks", "guarded_samples", "params:training",
           "params:this_run.training"]  # fmt: skip
    calibrate = ["trained_network", "sample_images", "sample_masks", "guarded_samples", "params:training"]
    return Pipeline(
        [
            Node(choose_initialization, choose, "initialization", name="choose_initialization"),
            Node(initialize_network, initialize, "initial_network", name="initialize_network"),
            Node(fit_network, fit, ["trained_network", "training_history"], name="fit_network"),
            Node(calibrate_network, calibrate, "network", name="calibrate_network"),
        ],
        namespace="training",
        prefix_datasets_with_namespace=False,
        tags="training",
    )
