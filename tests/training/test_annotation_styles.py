"""A network with one output head for each annotation style, which is a source or named by the table of cases."""

import logging

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training import loop
from lesion_segmentation.training.samples import TrainingData, choose_styles, load_samples
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


TABLE = pd.DataFrame(
    {"source": ["PH2", *["ISIC 2018"] * 4], "annotation_style": ["PH2", "T1", "T2", "ISIC 2018", "T1"]}
)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (("PH2", "ISIC 2018"), [0, 1, 1, 1, 1]),
        (("PH2", "ISIC 2018", "T1", "T2"), [0, 2, 3, 1, 2]),
        (("T1", "ISIC 2018", "PH2"), [2, 0, 1, 1, 0]),
    ],
)
def test_head_of_a_sample_is_its_annotation_style_or_else_its_source(heads, expected):
    assert [heads.index(style) for style in choose_styles(TABLE, heads)] == expected
    assert choose_styles(TABLE[["source"]], ("PH2", "ISIC 2018")).tolist() == TABLE["source"].tolist()


def test_samples_without_a_head_are_refused():
    with pytest.raises(InputError, match=r"images of ISIC 2018 that have none of these styles\. Add"):
        choose_styles(TABLE, ("PH2", "T1", "T2"))
    with pytest.raises(InputError, match="images of PH2 that have none"):
        choose_styles(TABLE, ("ISIC 2018", "T1", "T2"))


def test_only_the_head_of_a_style_learns_from_its_samples(data, caplog):
    """A sample without a style of its own trains the head of its source, and a warning names an unused head."""
    heads = ["PH2", "ISIC 2018", "T1", "T3"]
    styles = data.samples["source"].where(np.arange(len(data.samples)) % 4 != 1, "T1")
    styled = data._replace(samples=data.samples.assign(annotation_style=styles))
    assert load_samples(styled, "cpu", heads).annotation_styles[:4].tolist() == [0, 2, 0, 1]
    assert load_samples(styled, "cpu", heads).sources == list(data.samples["source"])
    settings = TrainingSettings(**SETTINGS, options=BOTH | {"annotation_styles": heads}, epochs=1, weight_decay=0)
    initial = loop.prepare_network(settings, data.images.values())
    before = initial.head.bias.detach().clone()
    with caplog.at_level(logging.WARNING):
        network, _ = loop.fit(styled, settings, network=initial)
    assert (network.head.bias != before).tolist() == [True, True, True, False]
    assert "No training image has the annotation style T3" in caplog.text
    assert "style T1" not in caplog.text
    assert Predictor(network, annotation_style="t1").annotation_style == "T1"


def test_table_with_styles_changes_nothing_for_heads_of_sources(data):
    settings = TrainingSettings(**SETTINGS, options=BOTH, epochs=1)
    styled = data._replace(samples=data.samples.assign(annotation_style=["PH2", "T1"] * (len(data.samples) // 2)))
    plain, same = (loop.fit(each, settings)[0].own_state() for each in (data, styled))
    assert all(plain[name].equal(same[name]) for name in plain)
