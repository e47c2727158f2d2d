"""Table of the hardest cases on docs/results/models.md, which benchmark_table.py rebuilds."""

from pathlib import Path

import pandas as pd

CASES = Path(__file__).parent / "cases"

MODEL, OTHERS = "best_e400", ("scratch_e400", "joint", "imagenet", "segnet", "isic_to_ph2")
COUNT = 20
LARGE = 0.5
"""Share of the image above which a lesion counts as large."""
ERROR = 0.15
"""Missed or excess pixels, as a share of the lesion, above which they count."""


def describe_hardest() -> str:
    """Return the table that compares the cases with the lowest Dice with all others."""
    cases = read_by_case(MODEL).sort_values("dice")
    lesion = cases["tp"] + cases["fn"]
    facts = pd.DataFrame(
        {
            "mean Dice": 100 * cases["dice"],
            "lesion, % of the image, median": 100 * lesion / cases[["tp", "fp", "fn", "tn"]].sum(axis=1),
            "missed, % of the lesion, mean": 100 * cases["fn"] / lesion,
            "excess, % of the lesion, mean": 100 * cases["fp"] / lesion,
        }
    )
    lines = [f"| | the {COUNT} cases | the other {len(cases) - COUNT} |", "|---|---|---|"]
    for name, values in facts.items():
        kind = "median" if str(name).endswith("median") else "mean"
        cells = [f"{part.agg(kind):.1f}" for part in (values[:COUNT], values[COUNT:])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = {
        f"over {ERROR:.0%} excess": cases["fp"] > ERROR * lesion,
        f"over {ERROR:.0%} missed": cases["fn"] > ERROR * lesion,
        f"a lesion larger than {LARGE:.0%} of the image": lesion > LARGE * cases[["tp", "fp", "fn", "tn"]].sum(axis=1),
    }
    lines += [
        f"| cases with {name} | {flags[:COUNT].sum()} | {flags[COUNT:].sum()} |" for name, flags in counts.items()
    ]
    for other in OTHERS:
        worst = read_by_case(other)["dice"].nsmallest(COUNT).index
        shared = cases.index[:COUNT].isin(worst).sum()
        lines.append(f"| cases among the worst {COUNT} of `{other}` | {shared} | {COUNT - shared} |")
    return "\n".join(lines)


def read_by_case(model: str) -> pd.DataFrame:
    """Return the scores of a model with four flips by case_id."""
    return pd.read_csv(CASES / f"{model}_tta.csv").set_index("case_id")
