"""Audit of published scores: a check whether all scores of a row can be right together.

`score_bounds` has the bounds. Printed scores are rounded, so each stands for a range of values.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.score_bounds import (
    AUDITED,
    Findings,
    Range,
    dice_from_precision_and_recall,
    find_violations,
    iou_from_dice,
)

AVERAGES = ("pooled", "per_image")
COLUMNS = ("name", *AUDITED, "n", "averaging")
_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{0,15})?|\.[0-9]{1,15}")
_NOT_PUBLISHED = ("", "-", "NA", "N/A", "n/a", "NaN", "nan")
_COUNT = re.compile(r"0*[1-9][0-9]{0,9}(\.0)?")


def audit_table(table: pd.DataFrame) -> pd.DataFrame:
    """Audit each row of a table of scores.

    Args:
        table: Cells as text, so that the number of printed decimals is known. Columns, all of them optional except one
            score: name, the AUDITED scores (empty if not published; read as percentages if any score of the row is
            above 1), n (number of images) and averaging (pooled, per_image or empty).

    Returns:
        Columns name, verdict, pooled and per_image (the bounds that are broken under that averaging, or "possible",
        "only by rounding: ..." or "nothing to check"), implied_dice and implied_iou (fractions that follow from
        precision and recall if the scores are pooled; None if one of the two is not published).

        The verdict is "possible" if no bound is violated under at least one averaging; "impossible" if no averaging
        allows the row, or the one in its column averaging does not; "undecided" if only rounding or a mixture of
        averagings (precision and recall by one, the other scores by another) explains it, or if there is nothing to
        check.
    """
    problems = [] if len(table) else ["it has no rows"]
    if not set(AUDITED) & set(table.columns):
        found = ", ".join(map(str, table.columns))
        problems.append(f"its columns are {found}, expected at least one of {', '.join(AUDITED)}")
    if problems:
        raise InputError.from_problems("The table cannot be audited", problems, "Add what is missing.")
    texts = table.reindex(columns=list(COLUMNS)).fillna("").astype(str)
    if "name" not in table:
        texts["name"] = [f"row {number}" for number in range(1, len(table) + 1)]
    rows = [_read_row(row, problems) for row in texts.to_dict("records")]
    if problems:
        raise InputError.from_problems("The table cannot be audited", problems, "Correct these cells.")
    return pd.DataFrame([_audit_row(row) for row in rows])


def audit_table_ii(table_ii: pd.DataFrame) -> pd.DataFrame:
    """Audit every row of Table II, as percentages with two decimals.

    The rows of the paper, which have no n, are audited as percentages without decimals, as the paper prints them.
    """
    rows = []
    for row in table_ii.to_dict("records"):
        published = pd.isna(row["n"])
        cells = {name: f"{100 * row[name]:.{0 if published else 2}f}" for name in AUDITED}
        cells["name"] = f"{row['source']}, {row['subset']}, {row['average']}, threshold {row['threshold']:g}"
        cells["n"] = "" if published else str(int(row["n"]))
        cells["averaging"] = row["average"] if row["average"] in AVERAGES else ""
        rows.append(cells)
    return audit_table(pd.DataFrame(rows))


@dataclass(frozen=True)
class _Row:
    name: str
    printed: dict[str, float]
    ranges: dict[str, Range]
    n: int | None
    averaging: str

    def check(self, averaging: str, names: tuple[str, ...] = AUDITED) -> Findings:
        """Check the scores in `names` under one averaging."""
        printed = {name: value for name, value in self.printed.items() if name in names}
        ranges = {name: self.ranges[name] for name in printed}
        return find_violations(printed, ranges, averaging == "pooled", self.n)

    @property
    def checkable(self) -> bool:
        """True if a bound connects at least two of the published scores."""
        overlaps = {"dice", "iou"} & set(self.printed)
        return bool(overlaps and len(self.printed) > 1) or {"precision", "recall", "accuracy"} <= set(self.printed)


def _read_row(cells: Mapping[str, str], problems: list[str]) -> _Row:
    name = cells["name"]
    texts = {score: cells[score].strip().rstrip("%").strip() for score in AUDITED}
    printed: dict[str, float] = {}
    for score, text in texts.items():
        if _NUMBER.fullmatch(text):
            printed[score] = float(text)
        elif text not in _NOT_PUBLISHED:
            problems.append(f"{name}: {score} is {text[:20]!r}, expected a number such as 93.4")
    scale = 100.0 if any(value > 1 for value in printed.values()) else 1.0
    ranges = {}
    for score, value in printed.items():
        half = 0.5 * 10.0 ** -len(texts[score].partition(".")[2]) + 1e-9
        ranges[score] = Range(max(0.0, (value - half) / scale), min(1.0, (value + half) / scale))
        if value > scale:
            problems.append(f"{name}: {score} is {value:g}, expected a fraction or a percentage")
    n, averaging = cells["n"].strip(), cells["averaging"].strip()
    if averaging not in ("", *AVERAGES):
        problems.append(f"{name}: averaging is {averaging!r}, expected pooled, per_image or an empty cell")
    if n and not _COUNT.fullmatch(n):
        problems.append(f"{name}: n is {n[:20]!r}, expected a number of images such as 50")
        n = ""
    fractions = {score: value / scale for score, value in printed.items()}
    return _Row(name, fractions, ranges, int(float(n)) if n else None, averaging)


def _audit_row(row: _Row) -> dict[str, object]:
    found = {average: row.check(average) for average in AVERAGES}
    considered = [found[row.averaging]] if row.averaging else list(found.values())
    if row.checkable and any(not findings.broken and not findings.strained for findings in considered):
        verdict = "possible"
    elif row.checkable and all(findings.broken for findings in considered) and not _allows_mixture(row):
        verdict = "impossible"
    else:
        verdict = "undecided"
    implied = None
    if {"precision", "recall"} <= set(row.printed):
        implied = dice_from_precision_and_recall(row.printed["precision"], row.printed["recall"])
    return {
        "name": row.name,
        "verdict": verdict,
        **{average: _describe(row, findings) for average, findings in found.items()},
        "implied_dice": implied,
        "implied_iou": None if implied is None else iou_from_dice(implied),
    }


def _allows_mixture(row: _Row) -> bool:
    """Return whether precision and recall under one averaging and the other scores under another could be right."""
    if row.averaging or row.n == 1:
        return False
    groups = (("dice", "iou", "accuracy"), ("precision", "recall", "accuracy"))
    return all(any(not row.check(average, names).broken for average in AVERAGES) for names in groups)


def _describe(row: _Row, findings: Findings) -> str:
    if findings.broken:
        return "; ".join(findings.broken)
    if findings.strained:
        return "only by rounding: " + "; ".join(findings.strained)
    return "possible" if row.checkable else "nothing to check"
