"""The page: one self-contained HTML file, and the model card that it contains."""

import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.sources.synthetic import SOURCE
from lesion_segmentation.data.splits import leaks
from lesion_segmentation.evaluation.subgroups import TOO_FEW, describe_groups
from lesion_segmentation.evaluation.tables import (
    ENHANCEMENT,
    NETWORK,
    at_network_threshold,
    headline_subset,
)
from lesion_segmentation.report.case_views import CaseView, choose_shown, view_cases
from lesion_segmentation.report.plots import plot_curves, plot_reliability, plot_thresholds

HEADLINE_SCORES = {"dice": "Dice", "iou": "IoU", "accuracy": "accuracy", "precision": "precision", "recall": "recall"}
MOST_CASES = 500
"""More than these a browser shows badly, and nobody looks at."""
Arrays = Mapping[str, np.ndarray]


def show(value: Any, kind: str) -> str:
    """A number as people read it: percent with one decimal, losses with three, counts, or as it is; nothing for NaN."""
    if value is None or pd.isna(value):
        return ""
    forms = {"percent": lambda v: f"{100 * v:.1f}", "loss": lambda v: f"{v:.3f}", "count": lambda v: f"{int(v)}"}
    return forms.get(kind, lambda v: f"{v:g}")(value)


def describe_interval(low: float, high: float) -> str:
    """In percent, or in words where one case alone has none."""
    return "no interval" if pd.isna(low) or pd.isna(high) else f"{show(low, 'percent')} to {show(high, 'percent')}"


def write_model_card(
    score_intervals: pd.DataFrame,
    case_metrics: pd.DataFrame,
    dataset_passport: Mapping[str, Any],
    split: pd.DataFrame,
    network: Mapping[str, Any],
) -> str:
    """Intended use, data, metrics with intervals and limits, as Markdown; `network` is the network's metadata."""
    headline = find_headline(score_intervals)
    of_subset = case_metrics[case_metrics["subset"] == headline["subset"]]
    worst = of_subset.loc[of_subset["dice"].idxmin()]
    counts = split["subset"].value_counts()
    return (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            **_labels(case_metrics),
            architecture=network["architecture"],
            width=network["options"].get("width"),
            split_hash=network["split_hash"],
            passport=dataset_passport,
            split_counts=", ".join(f"{count} {name}" for name, count in counts.items()),
            diagnoses=", ".join(f"{count} {name}" for name, count in dataset_passport["diagnoses"].items()),
            headline=headline,
            input_size=" x ".join(str(side) for side in network["input_size"] or ()),
            worst={"sample_id": worst["sample_id"], "text": show(worst["dice"], "percent")},
        )
    )


def build_page(
    tables: Mapping[str, pd.DataFrame],
    pictures: Mapping[str, Arrays],
    dataset_passport: Mapping[str, Any],
    model_card: str,
    network: Mapping[str, Any],
    run_record: Mapping[str, Any],
) -> str:
    """Put the page together.

    Args:
        tables: By name: table (table_ii, and what stands beside it), score_intervals, case_metrics, subgroups,
            threshold_sweep, calibration, training_history, metric_audit, cases.
        pictures: images, masks and predicted_masks, each sample_id to array.
        dataset_passport: As describe_dataset gives it.
        model_card: Markdown.
        network: The network's metadata.
        run_record: Names and values of the settings, the commit and the hashes.
    """
    headline = find_headline(tables["score_intervals"])
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **_labels(tables["case_metrics"]),
            **_show_cases(tables, pictures, headline["subset"]),
            architecture="SegNet-v2" if network["architecture"] == "segnet" else network["architecture"],
            css=_text("report.css"),
            script=_text("report.js"),
            plotly_js=get_plotlyjs(),
            headline=headline,
            passport=dataset_passport,
            table=tables["table"].to_dict("records"),
            table_csv="table_ii_beside_paper" if tables["table"]["n"].isna().any() else "table_ii",
            curves=plot_curves(tables["training_history"]),
            subgroups=tables["subgroups"].to_dict("records"),
            too_few=TOO_FEW,
            reliability=plot_reliability(tables["calibration"]),
            thresholds=plot_thresholds(tables["threshold_sweep"], _mark_thresholds(tables["score_intervals"])),
            audit=tables["metric_audit"].fillna("").to_dict("records"),
            passport_facts=[(name.replace("_", " "), _words(value)) for name, value in dataset_passport.items()],
            model_card=MarkdownIt("commonmark", {"html": False}).enable("table").render(_as_section(model_card)),
            settings=[*run_record.items(), *((f"network.{name}", value) for name, value in _in_short(network).items())],
            show=show,
        )
    )


def _show_cases(tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Arrays], subset: str) -> dict[str, Any]:
    """The gallery: views of cases, the extremes of a subset, and what cases can be chosen by."""
    case_metrics, groups = tables["case_metrics"], describe_groups(tables["cases"])
    shown = choose_shown(case_metrics, MOST_CASES)
    views = view_cases(shown, groups, pictures["images"], pictures["masks"], pictures["predicted_masks"])
    return {
        "views": views,
        "all_cases": len(case_metrics),
        "extremes": _find_extremes({view.row: view for view in views}, case_metrics, subset),
        "subsets": list(dict.fromkeys(case_metrics["subset"])),
        "diagnosis_names": sorted(set(groups["diagnosis"])),
        "sizes": list(dict.fromkeys(sorted(groups["lesion_size"].astype(str), key=_leading_number))),
    }


def find_headline(score_intervals: pd.DataFrame) -> dict[str, Any]:
    """The per-image scores of the test, or of the last subset that was scored, at the network's threshold."""
    table = at_network_threshold(score_intervals.reset_index(names="row"))
    subset = headline_subset(table)
    table = table[(table["average"] == "per_image") & (table["subset"] == subset)].set_index("metric")
    rows = table["row"].astype(int).to_dict()
    scores = [
        {
            "name": name,
            "row": rows[metric],
            "value": table.loc[metric, "score"],
            "low": table.loc[metric, "low"],
            "high": table.loc[metric, "high"],
            "text": show(table.loc[metric, "score"], "percent"),
            "interval": describe_interval(table.loc[metric, "low"], table.loc[metric, "high"]),
        }
        for metric, name in HEADLINE_SCORES.items()
    ]
    one = table.iloc[0]
    return {"subset": subset, "n": int(one["n"]), "n_row": rows["dice"], "n_undefined": int(one["n_undefined"]),
            "test_time_augmentation": one["test_time_augmentation"], "threshold": one["threshold"],
            "keep_largest_component": bool(one["keep_largest_component"]),
            "scores": scores}  # fmt: skip


def _mark_thresholds(score_intervals: pd.DataFrame) -> dict[float, str]:
    """Thresholds to be marked in the plot, and what they are called there."""
    by_role = score_intervals.drop_duplicates("threshold_role").set_index("threshold_role")["threshold"]
    enhanced, network = by_role[ENHANCEMENT], by_role[NETWORK]
    return {enhanced: f"{enhanced:g}, the enhancement's", 0.5: "0.5", network: f"{network:g}, the network's"}


def _find_extremes(
    views: Mapping[int, CaseView], case_metrics: pd.DataFrame, subset: str
) -> list[tuple[str, CaseView]]:
    """Of all cases of the subset; these three are shown in any case."""
    ranked = list(case_metrics[case_metrics["subset"] == subset].sort_values("dice", kind="stable").index)
    chosen = {"worst": ranked[0], "median": ranked[len(ranked) // 2], "best": ranked[-1]}
    return [(name, views[row]) for name, row in chosen.items()]


def _labels(case_metrics: pd.DataFrame) -> dict[str, Any]:
    first = case_metrics.iloc[0]
    return {"source": name_source(case_metrics), "protocol": first["protocol"], "leaky": leaks(first["protocol"]),
            "synthetic": first["source"] == SOURCE}  # fmt: skip


def _in_short(network: Mapping[str, Any]) -> dict[str, Any]:
    return {**network, "seen": f"{len(network['seen'])} pictures"}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_words(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_section(markdown: str) -> str:
    """Without its title, the headings one level lower: it stands under a heading of the page."""
    return markdown.partition("\n")[2].replace("\n## ", "\n### ")


def _leading_number(text: str) -> float:
    head = text.split(" ")[0]
    return float(head) if head.isdigit() else math.inf


def _text(name: str) -> str:
    return resources.files("lesion_segmentation.report").joinpath("templates", name).read_text()


def _environment() -> Environment:
    """HTML is escaped but for what this module made itself; Markdown is not."""
    return Environment(
        loader=PackageLoader("lesion_segmentation.report"),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
    )
