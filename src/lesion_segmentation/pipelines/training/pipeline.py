"""From samples to a network."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.pipelines.training.nodes import (
    begin_network,
    calibrate_network,
    choose_beginning,
    fit_network,
)


def create_pipeline() -> Pipeline:
    """guarded_samples, scored_samples, sample_images, sample_masks -> network, training_history."""
    choose = ["encoders", "earlier_networks", "scored_samples", "split", "params:training"]
    begin = ["beginning", "sample_images", "guarded_samples", "scored_samples", "params:training", "params:image_size",
             "params:prediction"]  # fmt: skip
    fit = ["initial_network", "sample_images", "sample_masks", "guarded_samples", "params:training",
           "params:this_run.listener", "params:this_run.checkpoint"]  # fmt: skip
    calibrate = ["trained_network", "sample_images", "sample_masks", "guarded_samples", "params:training"]
    return Pipeline(
        [
            Node(choose_beginning, choose, "beginning", name="choose_beginning"),
            Node(begin_network, begin, "initial_network", name="begin_network"),
            Node(fit_network, fit, ["trained_network", "training_history"], name="fit_network"),
            Node(calibrate_network, calibrate, "network", name="calibrate_network"),
        ],
        namespace="training",
        prefix_datasets_with_namespace=False,
        tags="training",
    )
