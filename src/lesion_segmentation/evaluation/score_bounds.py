"""Bounds that connect Dice, IoU, precision, recall and accuracy, for two ways of averaging.

- Pooled scores (or a single image): all scores come from one count of tp, fp, fn and tn, so D = 2J / (1 + J) and
  D = 2PR / (P + R) hold exactly.
- Per-image scores: each score is a mean over images, and the two identities hold in each image. D is a concave
  function of J, and the harmonic mean of P and R is concave, so Jensen's inequality gives D <= 2J / (1 + J) and
  D <= 2PR / (P + R) for the means. The chords of these functions give J <= D and P + R - 1 <= D. The first bound is
  slightly sharper for n images, since the mean Dice is least if all images but one have an IoU of 0 or 1. In each
  image 1 - J <= (1 - P) + (1 - R), so P + R - 1 <= J <= min(P, R) holds for the means, too.

Both averages satisfy J <= P, J <= R, D <= 2P / (1 + P) and D <= 2R / (1 + R). They also satisfy accuracy >= J, because
true negatives can only raise the accuracy, and therefore accuracy >= D / (2 - D) and accuracy >= P + R - 1.

The bounds are necessary, not sufficient: scores that satisfy them may still be wrong. Ratios of 0/0 follow scores.py.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple


class Range(NamedTuple):
    """Values that a printed score may have had before it was rounded, as fractions."""

    low: float = 0.0
    high: float = 1.0


class Findings(NamedTuple):
    """Violated bounds: `broken` whatever the rounding, `strained` only if the printed figures are taken as exact."""

    broken: list[str]
    strained: list[str]


class _Scores(NamedTuple):
    """Ranges of the AUDITED scores. A score that is not given has the full range, which satisfies every bound."""

    dice: Range = Range()
    iou: Range = Range()
    precision: Range = Range()
    recall: Range = Range()
    accuracy: Range = Range()

    @property
    def implied_dice(self) -> Range:
        """Range of the Dice that precision and recall imply; the full range unless both are given."""
        if Range() in (self.precision, self.recall):
            return Range()
        return Range(*map(dice_from_precision_and_recall, self.precision, self.recall))


AUDITED = _Scores._fields
_Bounds = Iterator[tuple[str, bool]]


def find_violations(printed: Mapping[str, float], ranges: Mapping[str, Range], pooled: bool, n: int | None) -> Findings:
    """Check the bounds of pooled scores or of means over n images.

    Args:
        printed: Printed scores as fractions, by their names in AUDITED; any may be missing.
        ranges: Ranges of the same scores.
        pooled: Whether the scores are pooled. For a single image, both averages are the same.
        n: Number of images; None if it is unknown.
    """
    pooled = pooled or n == 1
    bounds = _pooled_bounds if pooled else partial(_per_image_bounds, n=n)
    rounded, exact = _Scores(**ranges), _Scores(**{name: Range(value, value) for name, value in printed.items()})
    # Rounded figures meet an identity within their rounding at best, so an identity is never merely strained.
    broken = (_violated(_identities(rounded)) if pooled else []) + _violated(bounds(rounded))
    return Findings(broken, [bound for bound in _violated(bounds(exact)) if bound not in broken])


def _violated(bounds: _Bounds) -> list[str]:
    return [bound for bound, holds in bounds if not holds]


def dice_from_precision_and_recall(precision: float, recall: float) -> float:
    """Return the Dice of one count of pixels, which is the harmonic mean of precision and recall."""
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def iou_from_dice(dice: float) -> float:
    """Return the IoU of one count of pixels."""
    return dice / (2 - dice)


def _dice_from_iou(iou: float) -> float:
    return 2 * iou / (1 + iou)


def _identities(r: _Scores) -> _Bounds:
    yield "Dice = 2 IoU / (1 + IoU)", _overlap(Range(*map(_dice_from_iou, r.iou)), r.dice)
    yield "Dice = 2 P R / (P + R)", _overlap(r.implied_dice, r.dice)
    yield "IoU = P R / (P + R - P R)", _overlap(Range(*map(iou_from_dice, r.implied_dice)), r.iou)


def _overlap(one: Range, other: Range) -> bool:
    return one.low <= other.high and other.low <= one.high


def _pooled_bounds(r: _Scores) -> _Bounds:
    yield "accuracy >= P R / (P + R - P R)", r.accuracy.high >= iou_from_dice(r.implied_dice.low)
    yield from _common_bounds(r)


def _per_image_bounds(r: _Scores, n: int | None) -> _Bounds:
    least = r.precision.low + r.recall.low - 1
    yield "mean Dice <= 2 IoU / (1 + IoU) (Jensen)", r.dice.low <= _dice_from_iou(r.iou.high)
    yield "mean Dice >= mean IoU", r.dice.high >= _least_mean_dice(r.iou.low, n)
    yield "mean Dice <= 2 P R / (P + R) (Jensen)", r.dice.low <= r.implied_dice.high
    yield "mean Dice >= P + R - 1", r.dice.high >= least
    yield "mean IoU >= P + R - 1", r.iou.high >= least
    yield "accuracy >= P + R - 1", r.accuracy.high >= least
    yield from _common_bounds(r)


def _common_bounds(r: _Scores) -> _Bounds:
    """Yield the bounds that hold in each image, for all pixels together, and for means over images."""
    for name, score in (("precision", r.precision), ("recall", r.recall)):
        yield f"IoU <= {name}", r.iou.low <= score.high
        yield f"Dice <= 2 {name} / (1 + {name})", r.dice.low <= _dice_from_iou(score.high)
    yield "accuracy >= IoU", r.accuracy.high >= r.iou.low
    yield "accuracy >= Dice / (2 - Dice)", r.accuracy.high >= iou_from_dice(r.dice.low)


def _least_mean_dice(iou: float, n: int | None) -> float:
    """Return the least mean Dice of n images with this mean IoU: one image lies between 0 and 1, the others do not."""
    if n is None:
        return iou
    ones = math.floor(iou * n + 1e-12)
    return (ones + _dice_from_iou(max(0.0, iou * n - ones))) / n
