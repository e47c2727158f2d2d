"""Model card as Markdown, and the parts that it shares with the report page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation, name_source
from lesion_segmentation.data.sources.synthetic import SOURCE
from lesion_segmentation.data.splits import leaks
from lesion_segmentation.evaluation.tables import at_network_threshold, headline_subset

HEADLINE_SCORES = {"dice": "Dice", "iou": "IoU", "accuracy": "accuracy", "precision": "precision", "recall": "recall"}


def write_model_card(
    score_intervals: pd.DataFrame,
    case_metrics: pd.DataFrame,
    dataset_passport: Mapping[str, Any],
    split: pd.DataFrame,
    network: Any,
) -> str:
    """Write intended use, data, scores with 95% CIs, and limits of a `Network` as Markdown."""
    headline = find_headline(score_intervals)
    in_subset = case_metrics[case_metrics["subset"] == headline["subset"]]
    worst = in_subset.loc[in_subset["dice"].idxmin()]
    return render_template(
        "model_card.md.j2",
        **describe_run(case_metrics, network),
        split_hash=network.metadata.split_hash,
        passport=dataset_passport,
        split_counts=", ".join(f"{count} {name}" for name, count in split["subset"].value_counts().items()),
        diagnoses=", ".join(f"{count} {name}" for name, count in dataset_passport["diagnoses"].items()),
        headline=headline,
        input_size=" x ".join(str(side) for side in network.metadata.input_size or ()),
        worst=worst,
    )


def describe_run(case_metrics: pd.DataFrame, network: Any) -> dict[str, Any]:
    """Return what the first lines of the page and of the card say about network, data and split."""
    first = case_metrics.iloc[0]
    return {"network_title": network.title, "source": name_source(case_metrics), "protocol": first["protocol"],
            "leaky": leaks(first["protocol"]), "synthetic": first["source"] == SOURCE}  # fmt: skip


def find_headline(score_intervals: pd.DataFrame) -> dict[str, Any]:
    """Find the per-image scores of the test, or of the last subset that was scored, at the network's threshold.

    Returns:
        The subset, its number of cases, the settings of the predictions, and `scores` with name, score, low and high
        of each of HEADLINE_SCORES. Keys `row` and `n_row` are row numbers in score_intervals.csv.
    """
    table = at_network_threshold(score_intervals.reset_index(names="row"))
    subset = headline_subset(table)
    table = table[(table["average"] == "per_image") & (table["subset"] == subset)].set_index("metric")
    rows = table["row"].astype(int).to_dict()
    scores = [{"name": name, "row": rows[metric], **table.loc[metric, ["score", "low", "high"]]}
              for metric, name in HEADLINE_SCORES.items()]  # fmt: skip
    first = table.iloc[0]
    return {"subset": subset, "n": int(first["n"]), "n_row": rows["dice"], "n_undefined": int(first["n_undefined"]),
            "augmentation": describe_augmentation(first["test_time_augmentation"]), "threshold": first["threshold"],
            "keep_largest_component": bool(first["keep_largest_component"]), "scores": scores}  # fmt: skip


def format_number(value: Any, kind: str) -> str:
    """Format a percentage with one decimal, a loss with three, a count, or another number; NaN becomes empty."""
    if value is None or pd.isna(value):
        return ""
    forms = {"percent": lambda v: f"{100 * v:.1f}", "loss": lambda v: f"{v:.3f}", "count": lambda v: f"{int(v)}"}
    return forms.get(kind, lambda v: f"{v:g}")(value)


def render_template(name: str, **context: Any) -> str:
    """Render a template of this package with format_number; values are escaped in HTML and not in Markdown."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lesion_segmentation.report"),
        autoescape=lambda template: bool(template and template.endswith(".html.j2")),
        undefined=StrictUndefined,
    )
    return environment.get_template(name).render(format_number=format_number, **context)
