"""The classifier, against scikit-learn's own search, and the separation of its folds."""

import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.diagnosis import classifier
from lesion_segmentation.diagnosis.classifier import diagnose_cases
from lesion_segmentation.diagnosis.settings import FEATURES

DIAGNOSES = ("common nevus", "atypical nevus", "melanoma")


@pytest.fixture(autouse=True)
def few_parameters(monkeypatch):
    monkeypatch.setattr(classifier, "ALPHAS", (1.0, 0.1))
    monkeypatch.setattr(classifier, "GAMMAS", (0.03, 0.3))


def make_features(signal: float, encoder: int = 0, folds: int = 5) -> pd.DataFrame:
    """Make a table of 60 cases whose features are noise, with a shift of `signal` per class."""
    generator = np.random.default_rng(0)
    number = np.arange(60)
    names = [*FEATURES, *(f"encoder_{channel}" for channel in range(encoder))]
    values = generator.normal(size=(60, len(names))) + signal * (number % 3)[:, None]
    known = {"fold": number // 3 % folds, "case_id": [f"case_{each:02d}" for each in number],
             "diagnosis": [DIAGNOSES[each % 3] for each in number], "mask": "expert"}  # fmt: skip
    return pd.DataFrame(known).join(pd.DataFrame(values, columns=names))


def select(table: pd.DataFrame, task: str = "all classes", features: str = "handcrafted") -> pd.DataFrame:
    return table[(table["task"] == task) & (table["features"] == features)].set_index("case_id")


def test_outputs_and_choices_are_those_of_a_grid_search_of_scikit_learn():
    features = make_features(0.3)
    found = select(diagnose_cases(features))
    table = features.set_index("case_id")
    train, test = table[table["fold"] != 2], table[table["fold"] == 2]
    classes = sorted(DIAGNOSES)
    targets = np.where(train["diagnosis"].to_numpy()[:, None] == classes, 1, -1)
    model = make_pipeline(
        StandardScaler(), FunctionTransformer(lambda x: x / len(FEATURES) ** 0.5), KernelRidge(kernel="rbf")
    )
    grid = {"kernelridge__alpha": classifier.ALPHAS, "kernelridge__gamma": classifier.GAMMAS}

    def score(model, values, truth):
        return balanced_accuracy_score(truth.argmax(axis=1), model.predict(values).argmax(axis=1))

    search = GridSearchCV(model, grid, scoring=score, cv=LeaveOneGroupOut())
    weights = compute_sample_weight("balanced", train["diagnosis"])
    search.fit(train[list(FEATURES)], targets, groups=train["fold"], kernelridge__sample_weight=weights)
    expected = search.predict(test[list(FEATURES)])
    of_fold = found[found["fold"] == 2].loc[test.index]
    np.testing.assert_allclose(of_fold[[f"score_{name}" for name in classes]], expected, rtol=1e-6)
    assert set(of_fold["alpha"]) == {search.best_params_["kernelridge__alpha"]}
    assert set(of_fold["gamma"]) == {search.best_params_["kernelridge__gamma"]}


def test_diagnoses_of_a_fold_do_not_depend_on_its_own_classes():
    features = make_features(0.5)
    others = features.assign(
        diagnosis=features["diagnosis"].where(
            features["fold"] != 1, features["diagnosis"].shift(1, fill_value="melanoma")
        )
    )
    before, after = (
        select(diagnose_cases(each)).query("fold == 1").drop(columns="truth") for each in (features, others)
    )
    pd.testing.assert_frame_equal(before, after)


def test_classes_that_differ_are_told_apart_and_noise_is_not():
    for signal, low, high in ((3, 1, 1), (0, 0.1, 0.6)):
        found = select(diagnose_cases(make_features(signal)), task="melanoma")
        assert low <= balanced_accuracy_score(found["truth"], found["predicted"]) <= high
        assert set(found["truth"]) == {"melanoma", "other"}


def test_groups_of_features_have_equal_weight(monkeypatch):
    monkeypatch.setattr(classifier, "ALPHAS", (1.0,))
    monkeypatch.setattr(classifier, "GAMMAS", (0.1,))
    features = make_features(0.5, encoder=1)
    copies = pd.DataFrame({f"encoder_{number}": features["encoder_0"] for number in range(1, 400)})
    once, often = (diagnose_cases(each) for each in (features, features.join(copies)))
    outputs = ["score_melanoma", "score_common nevus"]
    pd.testing.assert_frame_equal(
        select(once, features="with encoder")[outputs], select(often, features="with encoder")[outputs]
    )
    assert not select(once)[outputs].equals(select(once, features="with encoder")[outputs])


def test_all_problems_of_the_folds_are_reported_together():
    features = make_features(1, folds=2)
    features.loc[features["diagnosis"] == "melanoma", "fold"] = 0
    with pytest.raises(InputError) as caught:
        diagnose_cases(features)
    assert len(caught.value.problems) == 4
    assert "it has 2 folds, expected at least 3" in str(caught.value)
    assert "the diagnosis melanoma occurs in fewer than 3 folds" in str(caught.value)
    with pytest.raises(InputError, match="all cases have the diagnosis nevus"):
        diagnose_cases(make_features(1).assign(diagnosis="nevus"))
