"""Pipeline `diagnosis` on the folds of a cross-validation."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.diagnosis import classifier


@pytest.fixture
def folds(project: Path) -> Path:
    """Data root with four folds, which are copies of the demo run with five test cases each."""
    root = project / "data" / "folds"
    for fold in range(4):
        shutil.copytree(project / "data" / "demo", root / f"fold_{fold}")
        path = root / f"fold_{fold}" / "08_reporting" / "case_metrics.csv"
        table = pd.read_csv(path)
        number = table["case_id"].str[3:].astype(int)
        table.assign(subset=np.where((number - 1) // 5 == fold, "test", "train")).to_csv(path, index=False)
    return root


@pytest.mark.long
@pytest.mark.after_a_run
def test_diagnosis_of_a_cross_validation(run, folds, monkeypatch, capsys):
    monkeypatch.setattr(classifier, "ALPHAS", (1.0,))
    masks = folds / "fold_3" / "07_model_output" / "predicted_masks.npz"
    with np.load(masks) as file:
        np.savez(masks, **{name: np.zeros_like(file[name]) for name in file.files})  # the network found nothing
    run(params={"data_root": str(folds)}, pipeline_names=["diagnosis"])
    reporting = folds / "08_reporting"
    features = pd.read_csv(reporting / "diagnosis_features.csv").set_index(["mask", "case_id"])
    assert features["fold"].xs("expert").to_dict() == {f"SYN{n:03d}": (n - 1) // 5 for n in range(1, 21)}
    assert features["diagnosis"].xs("expert").value_counts().to_dict() == {
        "common nevus": 8, "atypical nevus": 8, "melanoma": 4,
    }  # fmt: skip
    assert (features.loc["predicted", "area"].iloc[-5:] == 1).all()
    assert features.filter(like="encoder_").notna().all(axis=None)
    table = pd.read_csv(reporting / "diagnosis.csv")
    assert len(table) == 2 * 2 * 4 * 2  # tasks, sets of features, masks, metrics
    assert set(table["n"]) == {20}
    page = (reporting / "diagnosis_page.html").read_text()
    assert "Not a diagnostic device" in page
    assert f"{100 * table['score'].iloc[0]:.1f}</span>" in page
    printed = capsys.readouterr().out
    assert f"melanoma    with encoder  predicted  {100 * find(table, 'balanced_accuracy'):5.1f}" in printed


def find(table: pd.DataFrame, metric: str) -> float:
    chosen = {"task": "melanoma", "features": "with encoder", "mask": "predicted", "metric": metric}
    return table.set_index(list(chosen)).loc[tuple(chosen.values()), "score"]


@pytest.mark.after_a_run
def test_data_without_folds_are_refused(run, project):
    with pytest.raises(InputError, match=r"There are no folds of a cross-validation.*kedro cross-validate"):
        run(pipeline_names=["diagnosis"], to_nodes=["diagnosis.measure_cases"])
