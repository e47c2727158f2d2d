import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.evaluation.native import compare_sizes, score_native_size
from lesion_segmentation.evaluation.scores import CASE_METRICS


@pytest.fixture
def case_metrics() -> pd.DataFrame:
    rows = [
        {"subset": "test", "case_id": f"C{n}", "sample_id": f"C{n}", "threshold": 0.5, "protocol": "paper"}
        for n in range(3)
    ]
    rows.append(
        {"subset": "validation", "case_id": "C0", "sample_id": "C0_flipped", "threshold": 0.5, "protocol": "paper"}
    )
    return pd.DataFrame(rows).assign(keep_largest_component=False, **dict.fromkeys(CASE_METRICS, 0.9))


def test_perfect_map_scores_nearly_perfectly_at_native_size(case_metrics):
    rows, columns = np.mgrid[:120, :160]
    native = {f"C{n}": (np.hypot(rows - 60, columns - 70 - 5 * n) < 40).astype(np.uint8) for n in range(3)}
    maps = {case_id: mask[::4, ::4].astype(np.float32) for case_id, mask in native.items()}
    table = score_native_size(maps, native, case_metrics)
    assert list(table["case_id"]) == ["C0", "C1", "C2"]  # the copy has no native mask
    assert (table["width"] == 160).all()
    assert table["dice"].min() > 0.93
    comparison = compare_sizes(case_metrics, table).set_index("metric")
    assert set(comparison["n"]) == {3}
    dice = comparison.loc["dice"]
    assert dice["difference"] == pytest.approx(table["dice"].mean() - 0.9)
    assert dice["low"] <= dice["difference"] <= dice["high"]
