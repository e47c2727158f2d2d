"""From samples to a network."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.pipelines.training.nodes import fit_network


def create_pipeline() -> Pipeline:
    """guarded_samples, sample_images, sample_masks -> network, training_history."""
    inputs = ["sample_images", "sample_masks", "guarded_samples", "split", "cases", "params:training",
              "params:this_run.listener", "params:this_run.checkpoint"]  # fmt: skip
    return Pipeline(
        [Node(fit_network, inputs, ["network", "training_history"], name="fit_network")],
        namespace="training",
        prefix_datasets_with_namespace=False,
        tags="training",
    )
