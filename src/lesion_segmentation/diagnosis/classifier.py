"""Kernel extreme learning machine on the features of a cross-validation, with nested choice of its parameters.

With a kernel, an extreme learning machine has the output weights of kernel ridge regression on one column of 1 and -1
per class (Huang et al., "Extreme learning machine for regression and multiclass classification", 2012). The squared
errors of a class are weighted by the inverse of its frequency (Zong, Huang and Chen, "Weighted extreme learning machine
for imbalance learning", 2013).
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pandas as pd
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.diagnosis.settings import ENCODER, FEATURES, HANDCRAFTED, MELANOMA, WITH_ENCODER

ALPHAS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Ridge penalties, the strongest first: the first of equally good ones is chosen."""
GAMMAS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Coefficients of the kernel exp(-gamma d^2). For two random cases, d^2 is 2 on average for each group of features."""
MIN_FOLDS = 3


def diagnose_cases(features: pd.DataFrame) -> pd.DataFrame:
    """Predict the diagnosis of each case by a classifier that was trained on the cases of the other folds.

    The features of every case, for training and for the test, come from the network of its own fold, which has not seen
    the case. (The networks of the training cases have seen the test cases' images and masks, but no diagnosis.) Since
    the networks are trained separately, their channels correspond only as far as they share an initialization. The
    classifier's parameters are chosen by the mean balanced accuracy of a cross-validation over its training folds.
    Features are standardized by the cases that the classifier is trained on.

    Args:
        features: The table of `measure_cases`.

    Returns:
        One row per task (all classes, melanoma), set of features, mask and case: task, features, mask, fold, case_id,
        truth, predicted, alpha and gamma of the classifier, and score_<class>, its outputs, of about -1 to 1.

    Raises:
        InputError: There are fewer than three folds, there is only one diagnosis, or a diagnosis occurs in fewer
            than three folds.
    """
    _check_folds(features)
    names = {HANDCRAFTED: [list(FEATURES)]}
    if encoder := [name for name in features if name.startswith(ENCODER)]:
        names[WITH_ENCODER] = [list(FEATURES), encoder]
    parts = []
    for task, truth in _find_tasks(features["diagnosis"]).items():
        for name, groups in names.items():
            for mask, part in features.groupby("mask", sort=False):
                labels = {"task": task, "features": name, "mask": mask}
                parts.append(_cross_validate(part, truth[part.index], groups).assign(**labels))
    table = pd.concat(parts, ignore_index=True)
    return table[["task", "features", "mask", *[name for name in table if name not in labels]]]


def _find_tasks(diagnoses: pd.Series) -> dict[str, pd.Series]:
    """Return the class of each row in each task. Melanoma against the rest is left out if these are all classes."""
    tasks = {"all classes": diagnoses}
    if MELANOMA in set(diagnoses) and diagnoses.nunique() > 2:
        tasks[MELANOMA] = diagnoses.where(diagnoses == MELANOMA, "other")
    return tasks


def _check_folds(features: pd.DataFrame) -> None:
    counts = pd.crosstab(features["diagnosis"], features["fold"])
    problems = [f"it has {counts.shape[1]} folds, expected at least {MIN_FOLDS}"] * (counts.shape[1] < MIN_FOLDS)
    problems += [] if len(counts) > 1 else [f"all cases have the diagnosis {counts.index[0]}"]
    rare = counts.index[(counts > 0).sum(axis=1) < MIN_FOLDS]
    problems += [f"the diagnosis {name} occurs in fewer than {MIN_FOLDS} folds" for name in rare]
    if problems:
        remedy = (
            "Run all folds of kedro cross-validate on cases with at least two diagnoses, each in at least three folds."
        )
        raise InputError.from_problems("The cross-validation cannot be used for a diagnosis", problems, remedy)


def _cross_validate(table: pd.DataFrame, truth: pd.Series, groups: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Predict each fold of the cases under one mask."""
    classes, folds = np.array(sorted(truth.unique())), table["fold"].to_numpy()
    targets = 2.0 * (truth.to_numpy()[:, None] == classes) - 1
    known = pd.DataFrame({"fold": folds, "case_id": table["case_id"], "truth": truth})
    values = [table[list(names)].to_numpy() for names in groups]
    parts = []
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        alpha, gamma = _choose_parameters([each[train] for each in values], targets[train], folds[train])
        outputs = _predict(values, targets, train, test)(alpha, gamma)
        scores = pd.DataFrame(outputs, table.index[test], [f"score_{name}" for name in classes])
        found = {"predicted": classes[outputs.argmax(axis=1)], "alpha": alpha, "gamma": gamma}
        parts.append(known.iloc[test].assign(**found).join(scores))
    return pd.concat(parts).sort_values("case_id")


def _choose_parameters(values: Sequence[np.ndarray], targets: np.ndarray, folds: np.ndarray) -> tuple[float, float]:
    """Return the alpha and gamma with the highest mean balanced accuracy of a cross-validation over the folds."""
    accuracies = dict.fromkeys(product(ALPHAS, GAMMAS), 0.0)
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        predict, truth = _predict(values, targets, train, test), targets[test] > 0
        for parameters in accuracies:
            predicted = predict(*parameters).argmax(axis=1)
            accuracies[parameters] += _mean_recall(truth, predicted)
    return max(accuracies, key=lambda parameters: accuracies[parameters])


def _mean_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy of class indices (N,), over the classes that occur in `truth`, (N, classes)."""
    return float(
        np.mean([(predicted[belongs] == index).mean() for index, belongs in enumerate(truth.T) if belongs.any()])
    )


def _predict(
    values: Sequence[np.ndarray], targets: np.ndarray, train: np.ndarray, test: np.ndarray
) -> Callable[[float, float], np.ndarray]:
    """Return a function of alpha and gamma that fits the rows `train` and returns outputs (len(test), classes).

    Features are standardized by the rows `train`. Each group of `values` (N, features) has the same weight in the
    kernel.
    """
    scaled = [StandardScaler().fit(each[train]).transform(each) / each.shape[1] ** 0.5 for each in values]
    features = np.hstack(scaled)
    weights = compute_sample_weight("balanced", targets[train].argmax(axis=1))

    def predict(alpha: float, gamma: float) -> np.ndarray:
        model = KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma)
        return model.fit(features[train], targets[train], sample_weight=weights).predict(features[test])

    return predict
