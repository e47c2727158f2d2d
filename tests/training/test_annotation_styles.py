"""A network with one output head for the annotation style of each source."""

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training import loop
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

BOTH = {"decoder": [8, 8, 8, 8], "annotation_styles": ["PH2", "ISIC 2018"]}
SETTINGS = {"architecture": "unet_lite", "width": None, "unpooling": None, "logit_batch_norm": None, "batch_size": 4}


@pytest.fixture(scope="module")
def data(images, masks, cases) -> TrainingData:
    ids = list(cases["case_id"])
    samples = pd.DataFrame({"sample_id": ids, "subset": "train", "source": ["PH2", "ISIC 2018"] * (len(ids) // 2)})
    return TrainingData(images, masks, samples)


@pytest.mark.long
def test_each_output_head_learns_the_annotation_style_of_its_source(data, tmp_path):
    """One source marks the lesion and the other everything else, so that one output head could not learn both."""
    images, masks, samples = data
    inverted_masks = {
        row.sample_id: masks[row.sample_id] if row.source == "PH2" else 1 - masks[row.sample_id]
        for row in samples.itertuples()
    }
    settings = TrainingSettings(**SETTINGS, options=BOTH, epochs=30, learning_rate=0.005, ema_decay=0.9)
    network, _ = loop.fit(data._replace(masks=inverted_masks), settings)
    save_network(network, tmp_path / "network.safetensors")
    network = load_network(tmp_path / "network.safetensors")
    for style, inverted in ((None, False), ("PH2", False), ("ISIC 2018", True)):
        predictor = Predictor(network, annotation_style=style)
        assert predictor.annotation_style == (style or "PH2")
        scores = [
            score_case(prediction.mask != inverted, masks[sample_id].astype(bool))["dice"]
            for sample_id, prediction in zip(images, predictor(images.values()), strict=True)
        ]
        assert np.mean(scores) > 0.7, style


def test_unknown_annotation_style_is_refused(data):
    network = build_network(NetworkMetadata("unet_lite", BOTH))
    assert [network.find_annotation_style(name) for name in (None, "ph2", "ISIC 2018", "isic")] == [0, 0, 1, 1]
    with pytest.raises(InputError, match="this network has learned PH2, ISIC 2018"):
        Predictor(network, annotation_style="HAM10000")
    with pytest.raises(InputError, match="one output head for all"):
        Predictor(build_network(NetworkMetadata("segnet", {"width": 0.0625})), annotation_style="PH2")
    settings = TrainingSettings(**SETTINGS, options=BOTH | {"annotation_styles": ["PH2"]}, epochs=1)
    with pytest.raises(InputError, match="there are training images of ISIC 2018"):
        loop.fit(data, settings)
