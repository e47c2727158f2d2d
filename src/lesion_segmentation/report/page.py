"""Report page: a single self-contained HTML file."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from lesion_segmentation.core.errors import pluralize
from lesion_segmentation.evaluation.subgroups import TOO_FEW, describe_groups
from lesion_segmentation.evaluation.tables import ENHANCEMENT, NETWORK
from lesion_segmentation.report.case_views import choose_shown, view_cases
from lesion_segmentation.report.model_card import describe_run, find_headline, render_template
from lesion_segmentation.report.plots import plot_curves, plot_reliability, plot_thresholds

MOST_CASES = 500
"""Most cases on the page; browsers become slow with more."""


def build_page(
    network: Any, model_card: str, dataset_passport: Mapping[str, Any], run_record: Mapping[str, Any], **data: Any
) -> str:
    """Build the HTML of the report page.

    Args:
        network: The `Network`.
        model_card: Markdown of write_model_card.
        dataset_passport: Result of describe_dataset.
        run_record: Names and values of the parameters, the commit and the hashes.
        data: Tables: table (table_ii, with the paper's rows if there are any), score_intervals, case_metrics,
            subgroups, annotators, threshold_sweep, calibration, training_history, metric_audit and cases. Arrays by
            sample_id: images, masks and predicted_masks.
    """
    headline = find_headline(data["score_intervals"])
    metadata = {**asdict(network.metadata), "seen": pluralize(len(network.metadata.seen), "image")}
    # The page has a heading for the model card: its title is dropped, and its other headings are one level lower.
    card = model_card.partition("\n")[2].replace("\n## ", "\n### ")
    return render_template(
        "report.html.j2",
        **describe_run(data["case_metrics"], network),
        **_show_cases(data, headline["subset"]),
        plotly_js=get_plotlyjs(),
        headline=headline,
        passport=dataset_passport,
        table=data["table"].reset_index(names="row").to_dict("records"),
        table_csv="table_ii_beside_paper" if data["table"]["n"].isna().any() else "table_ii",
        curves=plot_curves(data["training_history"]),
        subgroups=data["subgroups"].to_dict("records"),
        too_few=TOO_FEW,
        annotators=data["annotators"].to_dict("records"),
        reliability=plot_reliability(data["calibration"]),
        thresholds=plot_thresholds(data["threshold_sweep"], _name_thresholds(data["score_intervals"])),
        audit=data["metric_audit"].fillna("").to_dict("records"),
        passport_facts=[(name.replace("_", " "), _format_fact(value)) for name, value in dataset_passport.items()],
        model_card=MarkdownIt("commonmark", {"html": False}).enable("table").render(card),
        settings=[*run_record.items(), *((f"network.{name}", value) for name, value in metadata.items())],
    )


def _show_cases(data: Mapping[str, Any], subset: str) -> dict[str, Any]:
    """Return the gallery: views of cases, the extremes of the headline subset, and the values of the filters."""
    case_metrics, groups = data["case_metrics"], describe_groups(data["cases"])
    shown = choose_shown(case_metrics, MOST_CASES)
    views = view_cases(shown, groups, data["images"], data["masks"], data["predicted_masks"])
    by_row = {view["row"]: view for view in views}  # choose_shown always selects the extremes
    ranked = list(case_metrics[case_metrics["subset"] == subset].sort_values("dice", kind="stable").index)
    extremes = {"Worst": ranked[0], "Median": ranked[len(ranked) // 2], "Best": ranked[-1]}
    return {
        "views": views,
        "all_cases": len(case_metrics),
        "extremes": [(name, by_row[row]) for name, row in extremes.items()],
        "subsets": list(dict.fromkeys(case_metrics["subset"])),
        "diagnosis_names": sorted(set(groups["diagnosis"])),
        "sizes": list(groups["lesion_size"].sort_values().astype(str).unique()),
    }


def _name_thresholds(score_intervals: pd.DataFrame) -> dict[float, str]:
    """Return the thresholds to mark in the plot, with their labels."""
    by_role = score_intervals.drop_duplicates("threshold_role").set_index("threshold_role")["threshold"]
    enhanced, network = by_role[ENHANCEMENT], by_role[NETWORK]
    return {enhanced: f"{enhanced:g} (enhancement)", 0.5: "0.5", network: f"{network:g} (network)"}


def _format_fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_format_fact(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(_format_fact(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
