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
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

AUDITED = ("dice", "iou", "precision", "recall", "accuracy")


class Range(NamedTuple):
    """Values that a printed score may have had before it was rounded, as fractions."""

    low: float
    high: float


class Findings(NamedTuple):
    """Violated bounds: `broken` whatever the rounding, `strained` only if the printed figures are taken as exact."""

    broken: list[str]
    strained: list[str]


Ranges = Mapping[str, Range]
_Bounds = Iterator[tuple[str, bool]]
_ANY = Range(0.0, 1.0)
"""A score that is not given satisfies every bound with this range."""


def check_pooled(printed: Mapping[str, float], ranges: Ranges) -> Findings:
    """Check the bounds of pooled scores.

    Args:
        printed: Printed scores as fractions, by their names in AUDITED; any may be missing.
        ranges: Ranges of the same scores.
    """
    # Rounded figures meet an identity within their rounding at best, so an identity is never merely strained.
    return _find_violations(printed, ranges, _pooled_bounds, _violated(_identities(ranges)))


def check_per_image(printed: Mapping[str, float], ranges: Ranges, n: int | None) -> Findings:
    """Check the bounds of means over n images, or over an unknown number of images; arguments as for check_pooled."""
    return _find_violations(printed, ranges, partial(_per_image_bounds, n=n))


def dice_from_precision_and_recall(precision: float, recall: float) -> float:
    """Return the Dice of one count of pixels, which is the harmonic mean of precision and recall."""
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def iou_from_dice(dice: float) -> float:
    """Return the IoU of one count of pixels."""
    return dice / (2 - dice)


def _dice_from_iou(iou: float) -> float:
    return 2 * iou / (1 + iou)


def _find_violations(
    printed: Mapping[str, float], ranges: Ranges, bounds: Callable[[Ranges], _Bounds], broken: Iterable[str] = ()
) -> Findings:
    broken = [*broken, *_violated(bounds(ranges))]
    exact = {name: Range(value, value) for name, value in printed.items()}
    return Findings(broken, [bound for bound in _violated(bounds(exact)) if bound not in broken])


def _violated(bounds: _Bounds) -> list[str]:
    return [bound for bound, holds in bounds if not holds]


def _precision_and_recall(ranges: Ranges) -> tuple[Range, Range]:
    """Return both ranges, or two unlimited ones unless both scores are given."""
    both = {"precision", "recall"} <= set(ranges)
    return (ranges["precision"], ranges["recall"]) if both else (_ANY, _ANY)


def _identities(r: Ranges) -> _Bounds:
    dice, iou = r.get("dice", _ANY), r.get("iou", _ANY)
    precision, recall = _precision_and_recall(r)
    implied = Range(*map(dice_from_precision_and_recall, precision, recall))
    yield "Dice = 2 IoU / (1 + IoU)", _overlap(Range(*map(_dice_from_iou, iou)), dice)
    yield "Dice = 2 P R / (P + R)", _overlap(implied, dice)
    yield "IoU = P R / (P + R - P R)", _overlap(Range(*map(iou_from_dice, implied)), iou)


def _overlap(one: Range, other: Range) -> bool:
    return one.low <= other.high and other.low <= one.high


def _pooled_bounds(r: Ranges) -> _Bounds:
    precision, recall = _precision_and_recall(r)
    least = iou_from_dice(dice_from_precision_and_recall(precision.low, recall.low))
    yield "accuracy >= P R / (P + R - P R)", r.get("accuracy", _ANY).high >= least
    yield from _common_bounds(r)


def _per_image_bounds(r: Ranges, n: int | None) -> _Bounds:
    dice, iou, accuracy = (r.get(name, _ANY) for name in ("dice", "iou", "accuracy"))
    precision, recall = _precision_and_recall(r)
    most, least = dice_from_precision_and_recall(precision.high, recall.high), precision.low + recall.low - 1
    yield "mean Dice <= 2 IoU / (1 + IoU) (Jensen)", dice.low <= _dice_from_iou(iou.high)
    yield "mean Dice >= mean IoU", dice.high >= _least_mean_dice(iou.low, n)
    yield "mean Dice <= 2 P R / (P + R) (Jensen)", dice.low <= most
    yield "mean Dice >= P + R - 1", dice.high >= least
    yield "mean IoU >= P + R - 1", iou.high >= least
    yield "accuracy >= P + R - 1", accuracy.high >= least
    yield from _common_bounds(r)


def _common_bounds(r: Ranges) -> _Bounds:
    """Yield the bounds that hold in each image, for all pixels together, and for means over images."""
    dice, iou, accuracy = (r.get(name, _ANY) for name in ("dice", "iou", "accuracy"))
    for name in ("precision", "recall"):
        yield f"IoU <= {name}", iou.low <= r.get(name, _ANY).high
        yield f"Dice <= 2 {name} / (1 + {name})", dice.low <= _dice_from_iou(r.get(name, _ANY).high)
    yield "accuracy >= IoU", accuracy.high >= iou.low
    yield "accuracy >= Dice / (2 - Dice)", accuracy.high >= iou_from_dice(dice.low)


def _least_mean_dice(iou: float, n: int | None) -> float:
    """Return the least mean Dice of n images with this mean IoU: one image lies between 0 and 1, the others do not."""
    if n is None:
        return iou
    ones = math.floor(iou * n + 1e-12)
    return (ones + _dice_from_iou(max(0.0, iou * n - ones))) / n
