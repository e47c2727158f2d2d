import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from lesion_segmentation.evaluation.calibration import BINS, calibrate, count_pixels_by_bin, reliability


@pytest.mark.parametrize("seed", range(5))
def test_ece_and_brier_agree_with_independent_libraries(seed):
    generator = np.random.default_rng(seed)
    p = generator.random(4000) ** 2
    y = generator.random(4000) < p**1.5
    scores = reliability(count_pixels_by_bin(p, y)).iloc[0]
    assert scores["brier"] == pytest.approx(brier_score_loss(y, p), abs=1e-6)
    reference = binary_calibration_error(torch.tensor(p), torch.tensor(y).int(), n_bins=BINS, norm="l1")
    assert scores["ece"] == pytest.approx(float(reference), abs=1e-6)


def test_probabilities_0_and_1_are_counted():
    table = reliability(count_pixels_by_bin(np.array([0.0, 1.0, 1.0]), np.array([False, True, False])))
    assert table["pixels"].iloc[0] == 1
    assert table["pixels"].iloc[-1] == 2
    assert table["lesion_share"].iloc[-1] == 0.5
    assert table["mean_probability"].isna().sum() == BINS - 2


def test_subsets_are_calibrated_separately():
    maps = {"a": np.full((2, 2), 0.9), "b": np.full((2, 2), 0.1)}
    masks = {"a": np.ones((2, 2), np.uint8), "b": np.ones((2, 2), np.uint8)}
    table = calibrate(maps, masks, pd.DataFrame({"subset": ["train", "test"], "sample_id": ["a", "b"]}))
    ece = table.groupby("subset")["ece"].first()
    assert (ece["train"], ece["test"]) == (pytest.approx(0.1), pytest.approx(0.9))
    assert set(table["n"]) == {1}


def test_bin_includes_its_upper_edge():
    edges = np.array([3 / BINS, 6 / BINS, 0.0, 1.0])
    assert np.flatnonzero(count_pixels_by_bin(edges, np.zeros(4))[0]).tolist() == [0, 2, 5, BINS - 1]
