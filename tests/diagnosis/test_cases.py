"""Features of all cases: masks, pooled encoder features, and the folds that they come from."""

import numpy as np
import pandas as pd
import pytest
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.diagnosis.cases import choose_masks, measure_cases, pool_encoder
from lesion_segmentation.diagnosis.features import measure_lesion
from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.model.metadata import Scaling

SMALL = {"segnet": {"width": 0.0625}, "segnet_skip": {"width": 0.0625}, "unet_lite": {}, "u2netp": {}}


def make_network(architecture: str = "segnet", seed: int = 0):
    torch.manual_seed(seed)
    return build_network(NetworkMetadata(architecture, SMALL[architecture], input_mean=(128,) * 3, input_std=(60,) * 3))


def test_circle_has_the_area_of_the_mask_and_a_place_of_its_own():
    expert = np.zeros((64, 96), np.uint8)
    expert[10:30, 20:50] = 1
    circles = [choose_masks(case_id, expert, expert)["circle"] for case_id in ("a", "b", "a")]
    assert circles[0].sum() == pytest.approx(600, rel=0.05)
    assert (circles[0] != circles[1]).any()
    assert (circles[0] == circles[2]).all()
    large = choose_masks("a", np.ones((64, 96), np.uint8), expert)
    assert large["circle"].mean() > 0.6  # it reaches beyond the image
    assert large["none"].all()


@pytest.mark.parametrize("architecture", SMALL)
def test_encoder_features_are_means_over_the_mask(architecture, images):
    network, image = make_network(architecture).eval(), images["SYN001"]
    mask = np.zeros(image.shape[:2], bool)
    mask[32:, 16:64] = True
    pooled = pool_encoder(network, image, {"some": mask, "all": np.ones_like(mask), "none": np.zeros_like(mask)})
    if architecture == "u2netp":
        assert pooled == {"some": {}, "all": {}, "none": {}}
        return
    with torch.inference_mode():
        x = Scaling(network.metadata)(torch.tensor(image).permute(2, 0, 1)[None].float())
        if architecture == "unet_lite":
            deepest = network.encoder(x)[-1]
        else:
            for stage, pool in zip(network.encoder, network.pools, strict=True):
                deepest = stage(x)
                x, _ = pool(deepest)
    deepest = deepest[0].numpy()
    rows, columns = 64 // deepest.shape[1], 96 // deepest.shape[2]
    weights = mask.reshape(64 // rows, rows, 96 // columns, columns).mean(axis=(1, 3))
    by_hand = (deepest * weights).sum(axis=(1, 2)) / weights.sum()
    np.testing.assert_allclose(list(pooled["some"].values()), by_hand, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(list(pooled["all"].values()), deepest.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert pooled["none"] == pooled["all"]


@pytest.fixture
def folds(cases, images, masks):
    """Two folds with networks, predicted masks and test cases of their own."""
    tested = {0: ["SYN001", "SYN002"], 1: ["SYN003"]}

    def each(make):
        return {f"fold_{fold}/": lambda fold=fold: make(fold) for fold in tested} | {"": None}

    metrics = {fold: pd.DataFrame({"case_id": ids, "sample_id": ids, "subset": "test"}) for fold, ids in tested.items()}
    shifted = {case_id: np.roll(mask, 9, axis=1) for case_id, mask in masks.items()}
    return [each(metrics.get), each(lambda fold: cases), each(lambda fold: images), each(lambda fold: masks),
            each(lambda fold: (masks, shifted)[fold]), each(lambda fold: make_network(seed=fold))]  # fmt: skip


def test_each_case_is_measured_by_its_own_fold(folds, images, masks):
    table = measure_cases(*folds).set_index(["case_id", "mask"])
    assert table["fold"].xs("none", level="mask").to_dict() == {"SYN001": 0, "SYN002": 0, "SYN003": 1}
    shifted = np.roll(masks["SYN003"], 9, axis=1).astype(bool)
    expected = measure_lesion(images["SYN003"], shifted)
    assert table.loc[("SYN003", "predicted"), list(expected)].to_dict() == pytest.approx(expected)
    pooled = pool_encoder(make_network(seed=1), images["SYN003"], {"predicted": shifted})["predicted"]
    assert table.loc[("SYN003", "predicted"), list(pooled)].to_dict() == pytest.approx(pooled)
    assert (
        table.loc[("SYN001", "expert")].drop("diagnosis").equals(table.loc[("SYN001", "predicted")].drop("diagnosis"))
    )


def test_missing_file_of_a_fold_is_reported(folds):
    del folds[5]["fold_1/"]
    with pytest.raises(InputError, match=r"fold_1 lacks files\. Remove its folder"):
        measure_cases(*folds)


def test_cases_without_diagnosis_are_refused(folds, cases):
    folds[1] = dict.fromkeys(folds[1], lambda: cases.assign(diagnosis=""))
    with pytest.raises(InputError, match=r"2 cases of fold 0 have no diagnosis, such as SYN001\. Fill in"):
        measure_cases(*folds)
