"""Facts of the real PH2, where it is in place (make ph2 FROM=...)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from lesion_segmentation.data.cases import ImageSize, check_cases, resize_masks
from lesion_segmentation.data.passport import describe_dataset
from lesion_segmentation.data.splits import PAPER_TEST_CASES, SplitSettings, split_cases
from lesion_segmentation.evaluation import legacy_scores

pytestmark = pytest.mark.ph2

PH2 = Path(__file__).parents[1] / "data" / "01_raw" / "ph2"


def pictures(part: str):
    return {path.stem: (lambda path=path: Image.open(path)) for path in (PH2 / part).glob("*.bmp")}


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    annotations = (PH2 / "PH2_dataset.txt").read_text()
    return check_cases(pictures("images"), pictures("masks"), annotations)


@pytest.fixture(scope="module")
def masks(cases) -> dict[str, np.ndarray]:
    return resize_masks(pictures("masks"), cases, ImageSize(height=192, width=256))


def test_the_passport_gives_ph2s_known_facts(cases):
    passport = describe_dataset(cases)
    assert passport["source"] == "PH2"
    assert passport["diagnoses"] == {"common nevus": 80, "atypical nevus": 80, "melanoma": 40}
    assert (len(passport["sizes"]), passport["sizes"]["767 x 576"], passport["sizes"]["765 x 572"]) == (24, 94, 3)
    assert passport["lesion_area"]["mean"] == pytest.approx(0.323, abs=0.001)
    assert passport["touches_border"] == 50
    assert passport["histological_diagnosis_missing"] == 159
    assert passport["duplicates"] == []


def test_the_papers_test_cases(cases):
    split = split_cases(cases, SplitSettings(protocol="paper"))
    test = cases[cases["case_id"].isin(split.loc[split["subset"] == "test", "case_id"])]
    assert tuple(test["case_id"]) == PAPER_TEST_CASES
    assert test["diagnosis"].value_counts().to_dict() == {"common nevus": 20, "atypical nevus": 19, "melanoma": 11}


@pytest.mark.parametrize(
    ("value", "test_only", "iou", "dice", "precision", "recall", "accuracy"),
    [
        (0.0, False, 64.83, 0.04, 0, 0, 67.73),
        (0.0, True, 65.32, 0.04, 0, 0, 68.63),
        (0.5, False, 67.82, 38.11, 0, 0, 67.73),
        (0.5, True, 67.69, 38.33, 0, 0, 68.63),
        (1.0, True, 50.65, 47.55, 31.37, 100, 31.37),
    ],
)
def test_legacy_scores_of_constant_predictions(masks, value, test_only, iou, dice, precision, recall, accuracy):
    """The figures of the paper's code on these masks, in percent."""
    case_ids = sorted(masks)
    if test_only:  # in the order in which the paper's code draws them: Dice is pooled over batches of 18
        _, case_ids = train_test_split(case_ids, test_size=0.25, random_state=101)
    chosen = np.stack([masks[case_id] for case_id in case_ids])
    scores = {name: 100 * score for name, score in legacy_scores(np.full(chosen.shape, value), chosen).items()}
    expected = {"iou": iou, "dice": dice, "precision": precision, "recall": recall, "accuracy": accuracy}
    assert scores == pytest.approx(expected, abs=0.1)
