"""Paired comparison of two runs on the same cases."""

import pandas as pd

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.scores import CASE_METRICS
from lesion_segmentation.evaluation.tables import LABELS, headline_subset, originals

KEYS = ["subset", "case_id", "sample_id"]
COMPARED = (*CASE_METRICS, "loss")
_REMEDY = "Compare runs with the same data, image size and split (see the MLflow tags data_hash and split_hash)."


def pair_cases(baseline: pd.DataFrame, candidate: pd.DataFrame) -> pd.DataFrame:
    """Join the case_metrics of two runs by case; columns get the suffixes _baseline and _candidate. Copies are dropped.

    Training cases that only one run has, or whose masks differ, are left out, since a run may train on more cases or on
    corrected masks. Runs that scored different other cases or masks, and tables of older versions that lack columns,
    raise an InputError.
    """
    problems = []
    for name, run in (("baseline", baseline), ("candidate", candidate)):
        missing = [column for column in (*KEYS, *COMPARED, *LABELS, "mask_hash") if column not in run]
        if missing:
            problems.append(f"the {name} has no {', '.join(missing)}: an older version scored it; score it again")
    if problems:
        raise InputError.from_problems("The runs cannot be compared", problems, _REMEDY)
    baseline, candidate = originals(baseline), originals(candidate)
    compared = {*baseline["subset"], *candidate["subset"]} - {"train"} or {"train"}
    for subset in sorted(compared):
        one, other = (set(run.loc[run["subset"] == subset, "sample_id"]) for run in (baseline, candidate))
        for name, extra in (("baseline", one - other), ("candidate", other - one)):
            if extra:
                shown = ", ".join(sorted(extra)[:5])
                problems.append(f"{subset}: {pluralize(len(extra), 'case')} scored only by the {name} ({shown})")
    both = baseline.merge(candidate, on=KEYS, suffixes=("_baseline", "_candidate"))
    differ = both["mask_hash_baseline"] != both["mask_hash_candidate"]
    other_masks = both.loc[differ & both["subset"].isin(compared), "sample_id"]
    if len(other_masks):
        differing = pluralize(len(other_masks), "case has", "cases have")
        problems.append(f"{differing} different masks ({', '.join(other_masks[:5])}, ...)")
    if problems:
        raise InputError.from_problems("The runs cannot be compared", problems, _REMEDY)
    return both[~differ]


def compare_runs(paired_cases: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean difference over cases for each subset and score.

    Returns:
        Columns subset, metric, n, baseline and candidate (means over cases), difference (candidate - baseline) with the
        limits low and high of its 95% CI, wilcoxon_p (two-sided signed-rank test; 1 if no case differs), n_differing,
        and the LABELS of both runs.
    """
    from scipy.stats import wilcoxon

    labels = [f"{label}_{run}" for label in LABELS for run in ("baseline", "candidate")]
    rows = []
    for subset, part in paired_cases.groupby("subset", sort=False):
        baseline, candidate = (
            part[[f"{metric}_{run}" for metric in COMPARED]].set_axis(COMPARED, axis="columns")
            for run in ("baseline", "candidate")
        )
        differences = candidate - baseline
        for row in mean_rows(differences, "difference"):
            metric = row["metric"]
            differing = int((differences[metric] != 0).sum())
            test = {
                "wilcoxon_p": float(wilcoxon(differences[metric]).pvalue) if differing else 1.0,
                "n_differing": differing,
            }
            means = {"baseline": baseline[metric].mean(), "candidate": candidate[metric].mean()}
            rows.append({"subset": subset, **row, **means, **test, **part.iloc[0][labels]})
    measured = ["baseline", "candidate", "difference", "low", "high", "wilcoxon_p", "n_differing"]
    return pd.DataFrame(rows)[["subset", "metric", "n", *measured, *labels]]


def find_changed_cases(paired_cases: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """Find the cases whose Dice gained and lost most, among the test cases or the last subset that was scored.

    Returns:
        Columns change (gained or lost), the KEYS, dice_baseline, dice_candidate, difference, mask_hash, and source,
        protocol and test_time_augmentation of both runs for the title of the figure. At most `count` rows of each
        change, the largest first.
    """
    part = paired_cases[paired_cases["subset"] == headline_subset(paired_cases)]
    part = part.assign(difference=part["dice_candidate"] - part["dice_baseline"])
    ranked = part.sort_values("difference", ascending=False)
    gained, lost = ranked[ranked["difference"] > 0].head(count), ranked[ranked["difference"] < 0][::-1].head(count)
    table = pd.concat([gained.assign(change="gained"), lost.assign(change="lost")], ignore_index=True)
    table = table.rename(columns={f"{name}_baseline": name for name in ("mask_hash", "source", "protocol")})
    labels = ["source", "protocol", *(f"test_time_augmentation_{run}" for run in ("baseline", "candidate"))]
    return table[["change", *KEYS, "dice_baseline", "dice_candidate", "difference", "mask_hash", *labels]]
