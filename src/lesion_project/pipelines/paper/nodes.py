"""Node that imports torch only when it runs."""

import pandas as pd

from lesion_segmentation.data.cases import ImageSize


def summarize_paper_architecture(image_size: ImageSize) -> pd.DataFrame:
    """List the layers, shapes and parameters of the paper's network, which may differ from the trained network."""
    from lesion_segmentation.model import SegNet
    from lesion_segmentation.model.layers import summarize_layers

    network = SegNet(width=1.0, unpooling="indices", logit_batch_norm=True)
    return summarize_layers(network, image_size.height, image_size.width)
