"""Table of docs/results/models.md with published scores and their protocols, which benchmark_table.py rebuilds."""

import re
from pathlib import Path

import pandas as pd

from lesion_segmentation.evaluation.scores import ISIC_LIMIT

RESULTS = Path(__file__).parent
SCORES = ("dice", "iou", "thresholded_jaccard")
STEPS = "four flips, largest connected component; means over images"


def list_protocols() -> str:
    """Return the rows of protocols.csv below those of this project, for each set of images."""
    rows = pd.concat([pd.DataFrame(_score_own()), pd.read_csv(RESULTS / "protocols.csv")])
    rows["source"] = rows["source"].fillna("this project")
    titles = ("images", "network", "source", "protocol", "Dice", "IoU", "thresholded Jaccard")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for row in rows.sort_values("data", kind="stable").to_dict("records"):
        cells = ["" if pd.isna(row[score]) else f"{row[score]:.1f}" for score in SCORES]
        texts = (row["data"], row["network"], _link(row["source"]), row["protocol"])
        lines.append(f"| {' | '.join([*texts, *cells])} |")
    return "\n".join(lines)


def _link(source: str) -> str:
    """Link the arXiv number or DOI of a source."""
    source = re.sub(r"arXiv:([\d.]+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)
    return re.sub(r"doi:([\w./]+)", r"[doi:\1](https://doi.org/\1)", source)


def _score_own() -> list[dict[str, object]]:
    reserved = pd.read_csv(RESULTS / "released" / "isic_isic.csv")
    reserved["thresholded_jaccard"] = reserved["iou"].where(reserved["iou"] >= ISIC_LIMIT, 0)
    unseen = pd.read_csv(RESULTS / "cases" / "isic_to_ph2_tta.csv")
    held_out = pd.read_csv(RESULTS / "cases" / "isic_to_ph2_styles_tta.csv").query("fold >= 2")
    return [
        {
            "data": "ISIC 2018",
            "network": "the released network",
            "protocol": f"300 training images reserved for release tests, copies of 256 x 256; {STEPS}",
            **{score: 100 * reserved[score].mean() for score in SCORES},
        },
        {
            "data": "PH2, not in training",
            "network": "`isic_to_ph2`",
            "protocol": f"trained on ISIC 2018, last epoch; all 200 cases, 192 x 256; {STEPS}",
            **{score: 100 * unseen[score].mean() for score in SCORES[:2]},
        },
        {
            "data": "PH2, not in training",
            "network": "`isic_to_ph2_styles`",
            "protocol": "trained on ISIC 2018, last epoch; 120 cases, 192 x 256; output head of an annotation tool, "
            f"chosen on the other 80 cases; {STEPS}",
            **{score: 100 * held_out[score].mean() for score in SCORES[:2]},
        },
    ]
