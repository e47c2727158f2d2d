"""Scores of diagnoses, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from lesion_segmentation.diagnosis.scores import summarize_diagnosis
from lesion_segmentation.diagnosis.settings import MASKS

CLASSES = ["a", "b", "c"]


@pytest.fixture
def diagnoses() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    truth = np.array(CLASSES)[generator.integers(0, 3, 60)]
    parts = []
    for number, mask in enumerate(MASKS):
        outputs = generator.normal(size=(60, 3)).round(1) + (truth[:, None] == CLASSES) / (1 + number)  # with ties
        known = {"task": "all classes", "features": "handcrafted", "mask": mask, "fold": np.arange(60) % 3,
                 "case_id": [f"case_{each:02d}" for each in range(60)], "truth": truth,
                 "predicted": np.array(CLASSES)[outputs.argmax(axis=1)]}  # fmt: skip
        part = pd.DataFrame(known).join(pd.DataFrame(outputs, columns=[f"score_{name}" for name in CLASSES]))
        parts.append(part.sample(frac=1, random_state=number))  # the order of cases must not matter
    return pd.concat(parts, ignore_index=True)


def score(part: pd.DataFrame) -> dict[str, float]:
    outputs = part[[f"score_{name}" for name in CLASSES]].to_numpy()
    areas = [roc_auc_score(part["truth"] == name, outputs[:, index]) for index, name in enumerate(CLASSES)]
    return {"balanced_accuracy": balanced_accuracy_score(part["truth"], part["predicted"]), "auc": np.mean(areas)}


def test_scores_folds_and_differences_are_those_of_scikit_learn(diagnoses):
    table = summarize_diagnosis(diagnoses).set_index(["mask", "metric"])
    expert = score(diagnoses[diagnoses["mask"] == "expert"])
    for (mask, metric), row in table.iterrows():
        part = diagnoses[diagnoses["mask"] == mask]
        assert row["score"] == pytest.approx(score(part)[metric])
        assert row["low"] < row["score"] < row["high"]
        of_folds = [score(fold)[metric] for _, fold in part.groupby("fold")]
        assert row["mean_of_folds"] == pytest.approx(np.mean(of_folds))
        assert row["deviation_of_folds"] == pytest.approx(np.std(of_folds, ddof=1))
        if mask == "expert":
            assert np.isnan(row["difference"])
        else:
            assert row["difference"] == pytest.approx(score(part)[metric] - expert[metric])
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert set(table["n"]) == {60}
    assert set(table["folds"]) == {3}


def test_difference_of_equal_diagnoses_is_zero_with_a_ci_of_zero(diagnoses):
    expert = diagnoses[diagnoses["mask"] == "expert"]
    table = summarize_diagnosis(pd.concat([expert.assign(mask=mask) for mask in MASKS]))
    differences = table.loc[table["mask"] != "expert", ["difference", "difference_low", "difference_high"]]
    assert (differences == 0).all(axis=None)


def test_rare_class_has_a_ci(diagnoses):
    rare = diagnoses["case_id"].isin(["case_00", "case_01"])
    table = summarize_diagnosis(diagnoses.assign(truth=np.where(rare, "a", "b")).replace({"predicted": {"c": "b"}}))
    assert table[["low", "high"]].notna().all(axis=None)
