import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.report.case_views import FALSE_NEGATIVE, FALSE_POSITIVE, _paint_disagreement, choose_shown


@pytest.fixture
def case_metrics() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    subsets = ["train"] * 700 + ["validation"] * 100 + ["test"] * 201
    return pd.DataFrame({"subset": subsets, "dice": generator.random(len(subsets))})


def test_all_cases_are_shown_if_there_are_few(case_metrics):
    assert choose_shown(case_metrics, 2000) is case_metrics


def test_extremes_and_a_sample_of_many_cases_are_shown(case_metrics):
    shown = choose_shown(case_metrics, 500)
    assert len(shown) == 500
    assert list(shown.index) == sorted(shown.index)
    for subset, part in case_metrics.groupby("subset"):
        ranked = part.sort_values("dice").index
        assert {ranked[0], ranked[len(ranked) // 2], ranked[-1], *ranked[:50], *ranked[-50:]} <= set(shown.index), (
            subset
        )
    assert shown.equals(choose_shown(case_metrics, 500))


def test_disagreement_has_the_colors_of_the_legend():
    predicted, mask = np.array([[True, False, True]]), np.array([[False, True, True]])
    painted = np.asarray(_paint_disagreement(predicted, mask).convert("RGB"))
    assert [tuple(pixel) for pixel in painted[0]] == [FALSE_POSITIVE, FALSE_NEGATIVE, (255, 255, 255)]
