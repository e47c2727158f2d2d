"""Measure how often the 95% CI of a mean Dice contains the true mean: `python results/interval_coverage.py`.

The 200 Dice values of a model are taken as the population. From each, 1,000 sets of cases are sampled, and the CI of
each set is computed from 999 bootstrap resamples. Writes measurements/coverage.csv.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import skew

from lesion_segmentation.evaluation import intervals

RESULTS = Path(__file__).parent
MODELS = ("segnet", "scratch_e400", "joint", "joint_styles")
SETS = 1000


def measure_coverage(dice: np.ndarray, cases: int) -> dict[str, float]:
    """Return the share of CIs that contain the mean of `dice`, that lie above it, and that lie below it."""
    generator = np.random.default_rng(0)
    found = np.array([intervals.mean_interval(generator.choice(dice, cases)) for _ in range(SETS)])
    above, below = (found[:, 0] > dice.mean()).mean(), (found[:, 1] < dice.mean()).mean()
    return {"coverage": 1 - above - below, "above": above, "below": below}


def main() -> None:
    intervals.DRAWS = 999
    rows = []
    for model, cases in product(MODELS, (50, 120, 200)):
        dice = pd.read_csv(RESULTS / "cases" / f"{model}_tta.csv")["dice"].to_numpy()
        rows.append({"model": model, "skewness": skew(dice), "cases": cases, **measure_coverage(dice, cases)})
    pd.DataFrame(rows).to_csv(RESULTS / "measurements" / "coverage.csv", index=False, float_format="%.3f")


if __name__ == "__main__":
    main()
