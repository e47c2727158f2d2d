"""One network that has learned to outline in the ways of several sources."""

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training import loop
from lesion_segmentation.training.settings import TrainingSettings

BOTH = {"decoder": [8, 8, 8, 8], "annotation_styles": ["PH2", "ISIC 2018"]}
SETTINGS = {"architecture": "unet_lite", "width": None, "unpooling": None, "logit_batch_norm": None, "batch_size": 4}


@pytest.fixture(scope="module")
def samples(cases) -> pd.DataFrame:
    ids = list(cases["case_id"])
    return pd.DataFrame({"sample_id": ids, "subset": "train", "source": ["PH2", "ISIC 2018"] * (len(ids) // 2)})


@pytest.mark.long
def test_each_source_is_outlined_as_its_experts_do(images, masks, samples, tmp_path):
    """Here one of them marks the lesion and the other everything else: no single map could learn both."""
    drawn = {
        row.sample_id: masks[row.sample_id] if row.source == "PH2" else 1 - masks[row.sample_id]
        for row in samples.itertuples()
    }
    settings = TrainingSettings(**SETTINGS, options=BOTH, epochs=30, learning_rate=0.005, ema_decay=0.9)
    network, _ = loop.fit(images, drawn, samples, settings)
    save_network(network, tmp_path / "network.safetensors")
    network = load_network(tmp_path / "network.safetensors")
    for outline, inverted in ((None, False), ("PH2", False), ("ISIC 2018", True)):
        predictor = Predictor(network, annotation_style=outline)
        assert predictor.annotation_style == (outline or "PH2")
        scores = [
            score_case(prediction.mask != inverted, masks[sample_id].astype(bool))["dice"]
            for sample_id, prediction in zip(images, predictor(images.values()), strict=True)
        ]
        assert np.mean(scores) > 0.7, outline


def test_an_outline_that_is_not_known_is_refused(images, masks, samples):
    network = build_network(NetworkMetadata("unet_lite", BOTH))
    assert [network.find_annotation_style(name) for name in (None, "ph2", "ISIC 2018", "isic")] == [0, 0, 1, 1]
    with pytest.raises(InputError, match="this network knows PH2, ISIC 2018"):
        Predictor(network, annotation_style="HAM10000")
    with pytest.raises(InputError, match="one map for all"):
        Predictor(build_network(NetworkMetadata("segnet", {"width": 0.0625})), annotation_style="PH2")
    settings = TrainingSettings(**SETTINGS, options=BOTH | {"annotation_styles": ["PH2"]}, epochs=1)
    with pytest.raises(InputError, match="there are pictures of ISIC 2018"):
        loop.fit(images, masks, samples, settings)
