"""Two runs on the same cases, compared case by case."""

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.cases import CASE_METRICS
from lesion_segmentation.evaluation.intervals import mean_with_interval
from lesion_segmentation.evaluation.tables import LABELS, headline_subset, originals

KEYS = ["subset", "case_id", "sample_id"]
COMPARED = (*CASE_METRICS, "loss")
_REMEDY = "Compare runs of one data set, image size and split (MLflow's tags data_hash and split_hash name them)."


def pair_cases(baseline: pd.DataFrame, candidate: pd.DataFrame) -> pd.DataFrame:
    """The case_metrics of two runs side by side, columns ending in _baseline and _candidate; copies are left out.

    Raises:
        InputError: The runs scored other cases, or the same cases against other masks, or are of an older version.
    """
    problems = []
    for name, run in (("baseline", baseline), ("candidate", candidate)):
        missing = [column for column in (*KEYS, *COMPARED, *LABELS, "mask_hash") if column not in run]
        if missing:
            problems.append(f"the {name} has no {', '.join(missing)}: an older version made it; report on it again")
    if problems:
        raise InputError.from_problems("The runs cannot be compared", problems, _REMEDY)
    baseline, candidate = originals(baseline), originals(candidate)
    for subset in sorted({*baseline["subset"], *candidate["subset"]}):
        one, other = (set(run.loc[run["subset"] == subset, "sample_id"]) for run in (baseline, candidate))
        for name, extra in (("baseline", one - other), ("candidate", other - one)):
            if extra:
                shown = ", ".join(sorted(extra)[:5])
                problems.append(f"{subset}: {len(extra)} cases were scored by the {name} alone ({shown}, ...)")
    both = baseline.merge(candidate, on=KEYS, suffixes=("_baseline", "_candidate"))
    other_masks = both.loc[both["mask_hash_baseline"] != both["mask_hash_candidate"], "sample_id"]
    if len(other_masks):
        problems.append(f"{len(other_masks)} cases have other masks ({', '.join(other_masks[:5])}, ...)")
    if problems:
        raise InputError.from_problems("The runs cannot be compared", problems, _REMEDY)
    return both


def compare_runs(paired_cases: pd.DataFrame) -> pd.DataFrame:
    """Per subset and score the mean difference over cases.

    Returns:
        subset, metric, n, baseline and candidate (means over cases), difference (candidate - baseline) with its 95%
        interval low to high, wilcoxon_p (signed ranks, two-sided; 1 where no case differs), n_differing, and the LABELS
        of both runs.
    """
    from scipy.stats import wilcoxon

    labels = [f"{label}_{run}" for label in LABELS for run in ("baseline", "candidate")]
    rows = []
    for subset, part in paired_cases.groupby("subset", sort=False):
        for metric in COMPARED:
            baseline, candidate = (part[f"{metric}_{run}"].to_numpy() for run in ("baseline", "candidate"))
            difference = candidate - baseline
            differing = int((difference != 0).sum())
            rows.append(
                {
                    "subset": subset,
                    "metric": metric,
                    "n": len(part),
                    "baseline": baseline.mean(),
                    "candidate": candidate.mean(),
                    **mean_with_interval(difference, "difference"),
                    "wilcoxon_p": float(wilcoxon(difference).pvalue) if differing else 1.0,
                    "n_differing": differing,
                    **part.iloc[0][labels],
                }
            )
    return pd.DataFrame(rows)


def find_changed_cases(paired_cases: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The cases of the test, or of the last subset that was scored, whose Dice gained and lost most.

    Returns:
        change (gained, lost), the KEYS, dice_baseline, dice_candidate, difference, mask_hash, and what the title of the
        page says: source, protocol, test_time_augmentation of both runs; at most `count` of each change, the largest
        first.
    """
    part = paired_cases[paired_cases["subset"] == headline_subset(paired_cases)]
    part = part.assign(difference=part["dice_candidate"] - part["dice_baseline"])
    ranked = part.sort_values("difference", ascending=False)
    gained, lost = ranked[ranked["difference"] > 0].head(count), ranked[ranked["difference"] < 0][::-1].head(count)
    table = pd.concat([gained.assign(change="gained"), lost.assign(change="lost")], ignore_index=True)
    table = table.rename(columns={f"{name}_baseline": name for name in ("mask_hash", "source", "protocol")})
    said = ["mask_hash", "source", "protocol", *(f"test_time_augmentation_{run}" for run in ("baseline", "candidate"))]
    return table[["change", *KEYS, "dice_baseline", "dice_candidate", "difference", *said]]
