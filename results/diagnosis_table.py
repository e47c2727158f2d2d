"""Build the tables of docs/results/diagnosis.md from results/diagnosis.csv: `python results/diagnosis_table.py`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import marked_tables
import pandas as pd

from lesion_segmentation.diagnosis.settings import FEATURES, MASKS

FILE = Path(__file__).parent / "diagnosis.csv"
DOCUMENT = FILE.parents[1] / "docs" / "results" / "diagnosis.md"


def scores(task: str) -> str:
    """Return both scores of each set of features and mask, with 95% CIs, and the differences to the experts' masks."""
    table = pd.read_csv(FILE).query("task == @task").rename(columns={"low": "score_low", "high": "score_high"})
    titles = ["features", "mask", "balanced accuracy", "difference", "AUC", "difference"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for (features, mask), rows in table.groupby(["features", "mask"], sort=False):
        cells = [features, MASKS[mask]]
        for row in rows.set_index("metric").loc[["balanced_accuracy", "auc"]].to_dict("records"):
            is_compared = pd.notna(row["difference"])
            cells += [marked_tables.format_interval(row, "score"),
                      marked_tables.format_difference(row, "difference") if is_compared else ""]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def features() -> str:
    """Return the names and meanings of the features."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in FEATURES.items()]
    return "\n".join(["| feature | meaning |", "|---|---|", *rows])


TABLES: dict[str, Callable[[], str]] = {
    "diagnosis": partial(scores, "all classes"), "melanoma": partial(scores, "melanoma"), "features": features,
}  # fmt: skip


if __name__ == "__main__":
    marked_tables.rewrite(DOCUMENT, TABLES)
