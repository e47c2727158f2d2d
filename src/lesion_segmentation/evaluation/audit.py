"""Whether a published row of scores can exist.

Two ways of averaging are looked at, each over all scores of a row at once:

- pooled (also: a single case): all scores come from one count of tp, fp, fn and tn, so D = 2J / (1 + J) and
  D = 2PR / (P + R) hold exactly.
- per image: each score is a mean over images, in each of which the two identities hold. D as a function of J is
  concave, and the harmonic mean of P and R is too, so by Jensen's inequality D <= 2J / (1 + J) and D <= 2PR / (P + R)
  of the means; the chords of these functions give J <= D and P + R - 1 <= D (with n images, of which all but one lie
  at 0 or 1, the first becomes a little sharper). Since 1 - J_i <= (1 - P_i) + (1 - R_i), also
  P + R - 1 <= J <= min(P, R).

In both, J <= P, J <= R, D <= 2P / (1 + P) and D <= 2R / (1 + R); and accuracy >= IoU, since true negatives can only
raise it, so also accuracy >= D / (2 - D) and accuracy >= P + R - 1. These bounds are necessary: a row that meets them
may still be wrong. Printed scores are rounded, so each stands for an interval. The rules for ratios of 0/0 are those of
scores.py.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from lesion_segmentation.core.errors import InputError

AUDITED = ("dice", "iou", "precision", "recall", "accuracy")
AVERAGES = ("pooled", "per_image")


class Range(NamedTuple):
    """What a printed score may have been before rounding, as fractions."""

    low: float
    high: float


@dataclass
class Findings:
    """Which bounds a row breaks: even when rounding is allowed for, or only in the figures as printed."""

    broken: list[str] = field(default_factory=list)
    strained: list[str] = field(default_factory=list)

    def require(self, holds_somewhere: bool, holds_as_printed: bool, bound: str) -> None:
        if not holds_somewhere:
            self.broken.append(bound)
        elif not holds_as_printed:
            self.strained.append(bound)

    def require_identity(self, implied: Range, printed: Range, bound: str) -> None:
        """Note the identity unless what is implied and what was printed may be the same number."""
        if not (implied.low <= printed.high and printed.low <= implied.high):
            self.broken.append(bound)


def audit_table(table: pd.DataFrame) -> pd.DataFrame:
    """Audit each row.

    Args:
        table: As text, so that the printed decimals are known: name, the AUDITED scores (percent where any of the
            row is above 1; empty where not published), n (images; may be empty) and averaging (pooled, per_image or
            empty).

    Returns:
        name, verdict, pooled and per_image (the bounds that are broken there, or "possible", or "only by rounding"),
        implied_dice and implied_iou (hard ones that precision and recall imply if pooled, as fractions).

        The verdict is possible: no bound forbids the row under at least one averaging; impossible: under no single
        averaging, or not under the one that is named; undecided: only rounding or a mixture of averagings, precision
        and recall by one and the rest by the other, would explain it, or there is nothing to check.

    Raises:
        InputError: Columns are missing, or a cell is no score.
    """
    problems = [f"column {name} is missing" for name in ("name", *AUDITED) if name not in table]
    problems += [] if len(table) else ["it has no rows"]
    if problems:
        raise InputError.from_problems("The table cannot be audited", problems, "Its header needs these names.")
    rows = [_read_row(row, problems) for row in table.fillna("").astype(str).to_dict("records")]
    if problems:
        raise InputError.from_problems("The table cannot be audited", problems, "Expected numbers, or empty cells.")
    return pd.DataFrame([_audit_row(row) for row in rows])


def audit_table_ii(table_ii: pd.DataFrame) -> pd.DataFrame:
    """Audit every row: ours in percent with two decimals, printed ones, which have no n, with none."""
    rows = []
    for row in table_ii.to_dict("records"):
        printed = pd.isna(row["n"])
        scores = {name: f"{100 * row[name]:.{0 if printed else 2}f}" for name in AUDITED}
        rows.append(
            {
                "name": f"{row['source']}, {row['subset']}, {row['average']}, threshold {row['threshold']:g}",
                **scores,
                "n": "" if pd.isna(row["n"]) else str(int(row["n"])),
                "averaging": row["average"] if row["average"] in AVERAGES else "",
            }
        )
    return audit_table(pd.DataFrame(rows))


_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{0,15})?|\.[0-9]{1,15}")
_COUNT = re.compile(r"0*[1-9][0-9]{0,9}(\.0)?")


@dataclass(frozen=True)
class _Row:
    name: str
    printed: dict[str, float]
    ranges: dict[str, Range]
    n: int | None
    averaging: str


def _read_row(cells: Mapping[str, str], problems: list[str]) -> _Row:
    name = cells["name"]
    printed: dict[str, float] = {}
    decimals: dict[str, int] = {}
    for score in AUDITED:
        text = cells[score].strip().rstrip("%").strip()
        if not text:
            continue
        if not _NUMBER.fullmatch(text):
            problems.append(f"{name}: {score} is {text[:20]!r}, expected a number such as 93.4")
            continue
        printed[score] = float(text)
        decimals[score] = len(text.partition(".")[2])
    scale = 100.0 if any(value > 1 for value in printed.values()) else 1.0
    ranges = {}
    for score, value in printed.items():
        half = 0.5 * 10.0 ** -decimals[score] + 1e-9
        ranges[score] = Range(max(0.0, (value - half) / scale), min(1.0, (value + half) / scale))
        if not 0 <= value <= scale:
            problems.append(f"{name}: {score} is {value:g}, which is no fraction and no percentage")
    n_text, averaging = cells.get("n", "").strip(), cells.get("averaging", "").strip()
    if averaging not in ("", *AVERAGES):
        problems.append(f"{name}: averaging is {averaging!r}, expected pooled, per_image or nothing")
    if n_text and not _COUNT.fullmatch(n_text):
        problems.append(f"{name}: n is {n_text[:20]!r}, expected a number of images such as 50")
        n_text = ""
    n = int(float(n_text)) if n_text else None
    return _Row(name, {score: value / scale for score, value in printed.items()}, ranges, n, averaging)


def _audit_row(row: _Row) -> dict[str, object]:
    found = {"pooled": _check_pooled(row), "per_image": _check_pooled(row) if row.n == 1 else _check_per_image(row)}
    looked_at = [found[row.averaging]] if row.averaging else list(found.values())
    if _checkable(row) and any(not findings.broken and not findings.strained for findings in looked_at):
        verdict = "possible"
    elif _checkable(row) and all(findings.broken for findings in looked_at) and not _mixture_would_do(row):
        verdict = "impossible"
    else:
        verdict = "undecided"
    implied = (
        _dice_of(row.printed["precision"], row.printed["recall"])
        if {"precision", "recall"} <= set(row.printed)
        else None
    )
    return {
        "name": row.name,
        "verdict": verdict,
        **{average: _describe(row, findings) for average, findings in found.items()},
        "implied_dice": implied,
        "implied_iou": None if implied is None else _iou_of_dice(implied),
    }


def _mixture_would_do(row: _Row) -> bool:
    """Whether precision and recall by one averaging beside the other scores by another could be right."""
    if row.averaging or row.n == 1:
        return False
    parts = [
        replace(
            row,
            printed={name: row.printed[name] for name in names if name in row.printed},
            ranges={name: row.ranges[name] for name in names if name in row.ranges},
        )
        for names in (("dice", "iou", "accuracy"), ("precision", "recall", "accuracy"))
    ]
    return all(not _check_pooled(part).broken or not _check_per_image(part).broken for part in parts)


def _checkable(row: _Row) -> bool:
    """Whether any bound connects the scores that are there."""
    there = set(row.printed)
    overlaps = there & {"dice", "iou"}
    return bool(overlaps and len(there) > 1) or {"precision", "recall", "accuracy"} <= there


def _describe(row: _Row, findings: Findings) -> str:
    if findings.broken:
        return "; ".join(findings.broken)
    if findings.strained:
        return "only by rounding: " + "; ".join(findings.strained)
    return "possible" if _checkable(row) else "nothing to check"


def _check_pooled(row: _Row) -> Findings:
    """Identities hold or do not: rounded figures meet them within their rounding, never exactly."""
    findings, r, v = Findings(), row.ranges, row.printed
    if {"dice", "iou"} <= set(r):
        implied = Range(_dice_of_iou(r["iou"].low), _dice_of_iou(r["iou"].high))
        findings.require_identity(implied, r["dice"], "Dice = 2 IoU / (1 + IoU)")
    if {"precision", "recall"} <= set(r):
        implied = Range(_dice_of(r["precision"].low, r["recall"].low), _dice_of(r["precision"].high, r["recall"].high))
        implied_iou = Range(_iou_of_dice(implied.low), _iou_of_dice(implied.high))
        if "dice" in r:
            findings.require_identity(implied, r["dice"], "Dice = 2 P R / (P + R)")
        if "iou" in r:
            findings.require_identity(implied_iou, r["iou"], "IoU = P R / (P + R - P R)")
        if "accuracy" in r:
            as_printed = v["accuracy"] >= _iou_of_dice(_dice_of(v["precision"], v["recall"]))
            findings.require(r["accuracy"].high >= implied_iou.low, as_printed, "accuracy >= P R / (P + R - P R)")
    _check_always(row, findings)
    return findings


def _check_per_image(row: _Row) -> Findings:
    findings, r, v = Findings(), row.ranges, row.printed
    if {"dice", "iou"} <= set(r):
        findings.require(
            r["dice"].low <= _dice_of_iou(r["iou"].high),
            v["dice"] <= _dice_of_iou(v["iou"]),
            "mean Dice <= 2 IoU / (1 + IoU) (Jensen)",
        )
        findings.require(
            r["dice"].high >= _least_mean_dice(r["iou"].low, row.n),
            v["dice"] >= _least_mean_dice(v["iou"], row.n),
            "mean Dice >= mean IoU",
        )
    if {"precision", "recall"} <= set(r):
        p, q = r["precision"], r["recall"]
        if "dice" in r:
            most, printed = _dice_of(p.high, q.high), _dice_of(v["precision"], v["recall"])
            findings.require(r["dice"].low <= most, v["dice"] <= printed, "mean Dice <= 2 P R / (P + R) (Jensen)")
        for score in ("dice", "iou"):
            if score in r:
                least = v["precision"] + v["recall"] - 1
                bound = f"mean {'Dice' if score == 'dice' else 'IoU'} >= P + R - 1"
                findings.require(r[score].high >= p.low + q.low - 1, v[score] >= least, bound)
        if "accuracy" in r:
            least = v["precision"] + v["recall"] - 1
            findings.require(r["accuracy"].high >= p.low + q.low - 1, v["accuracy"] >= least, "accuracy >= P + R - 1")
    _check_always(row, findings)
    return findings


def _check_always(row: _Row, findings: Findings) -> None:
    """What holds in each image, of all pixels, and so of means."""
    r, v = row.ranges, row.printed
    for name in [score for score in ("precision", "recall") if score in r]:
        if "iou" in r:
            findings.require(r["iou"].low <= r[name].high, v["iou"] <= v[name], f"IoU <= {name}")
        if "dice" in r:
            most, printed = _dice_of_iou(r[name].high), _dice_of_iou(v[name])
            findings.require(r["dice"].low <= most, v["dice"] <= printed, f"Dice <= 2 {name} / (1 + {name})")
    if "accuracy" in r and "iou" in r:
        findings.require(r["accuracy"].high >= r["iou"].low, v["accuracy"] >= v["iou"], "accuracy >= IoU")
    if "accuracy" in r and "dice" in r:
        least, printed = _iou_of_dice(r["dice"].low), _iou_of_dice(v["dice"])
        findings.require(r["accuracy"].high >= least, v["accuracy"] >= printed, "accuracy >= Dice / (2 - Dice)")


def _dice_of_iou(iou: float) -> float:
    return 2 * iou / (1 + iou)


def _iou_of_dice(dice: float) -> float:
    return dice / (2 - dice)


def _dice_of(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def _least_mean_dice(iou: float, n: int | None) -> float:
    """Of n images with this mean IoU: as many as can at 1, one between, the others at 0."""
    if n is None:
        return iou
    ones = math.floor(iou * n + 1e-12)
    return (ones + _dice_of_iou(max(0.0, iou * n - ones))) / n
