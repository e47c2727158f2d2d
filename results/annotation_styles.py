"""Score each output head of networks that learned several annotation styles.

    python results/annotation_styles.py score ROOT ISIC PH2    # write results/annotation_styles.csv
    python results/annotation_styles.py differences            # print the paired differences of the heads
    python results/annotation_styles.py                        # rebuild the tables of the page from it

ROOT is the data root of a cross-validation on PH2 of which folds 0 and 1 are finished, whose networks have not seen
ISIC 2018's validation cases. ISIC and PH2 have the folders images and masks. Each network predicts the 200 validation
cases of ISIC 2018 and the test cases of its fold, at the size of the images, once with each head. The page is
docs/explanation/annotation_styles.md.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import marked_tables
import pandas as pd

from lesion_segmentation.data.sources.folder import find_images
from lesion_segmentation.data.sources.isic2018 import TOOLS, read_packaged_table
from lesion_segmentation.evaluation.intervals import mean_interval
from lesion_segmentation.evaluation.scores import count_pixels, score_counts
from lesion_segmentation.images.read import open_image, pixel_hash, to_mask, to_rgb
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training.initialization import HASH_LENGTH

RESULTS = Path(__file__).parent
SCORES = RESULTS / "annotation_styles.csv"
DOCUMENT = RESULTS.parent / "docs" / "explanation" / "annotation_styles.md"
FOLDS = (0, 1)
TOOL_NAMES = {"T1": "T1, manual points", "T2": "T2, not recorded", "T3": "T3, automatic filling", "": "unknown"}


def score(root: Path, isic: Path, ph2: Path) -> pd.DataFrame:
    """Return fold, style, case_id, tool (`PH2` for cases of PH2), dice, iou and the ratio of the areas."""
    subsets = pd.read_csv(RESULTS / "isic2018_cases.csv")
    folds = pd.read_csv(RESULTS / "folds.csv")
    tools = read_packaged_table(TOOLS).set_index("case_id")["annotation_style"]
    validation = subsets.loc[subsets["subset"] == "validation", "case_id"]
    rows = []
    for fold in FOLDS:
        network = load_network(root / f"fold_{fold}" / "06_models" / "network.safetensors")
        held_out = folds.loc[folds["fold"] == fold, "case_id"]
        for style in network.annotation_styles:
            predictor = Predictor(network, annotation_style=style)
            facts = {"fold": fold, "style": style}
            for case_id, scores in score_cases(predictor, isic, list(validation)):
                rows.append({**facts, "case_id": case_id, "tool": tools.get(case_id, ""), **scores})
            for case_id, scores in score_cases(predictor, ph2, list(held_out)):
                rows.append({**facts, "case_id": case_id, "tool": "PH2", **scores})
    return pd.DataFrame(rows)


def score_cases(predictor: Predictor, root: Path, case_ids: list[str]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the case_id and the scores of each case. `area` is the predicted area divided by that of the mask."""
    images, masks = find_images(root / "images"), find_images(root / "masks", masks=True)
    seen = [case_id for case_id in case_ids if hash_pixels(images[case_id]) in predictor.metadata.seen]
    if seen:
        raise SystemExit(f"The network was trained on cases to be scored, such as {seen[0]}.")
    predictions = predictor(images[case_id] for case_id in case_ids)
    for case_id, prediction in zip(case_ids, predictions, strict=True):
        counts = count_pixels(prediction.mask, to_mask(open_image(masks[case_id])))
        scores = score_counts(**counts)
        area = (counts["tp"] + counts["fp"]) / (counts["tp"] + counts["fn"])
        yield case_id, {"dice": float(scores["dice"]), "iou": float(scores["iou"]), "area": area}


def hash_pixels(file: Path) -> str:
    return pixel_hash(to_rgb(open_image(file)))[:HASH_LENGTH]


def tabulate_isic() -> str:
    """Return the mean Dice and the median area of ISIC 2018's validation cases by tool of the mask, for each head.

    The scores of a case are means over the two networks.
    """
    cases = _average(pd.read_csv(SCORES, keep_default_na=False).query("tool != 'PH2'"))
    styles = list(dict.fromkeys(cases["style"]))
    lines = [f"| tool of the mask | n | {' | '.join(styles)} |", f"|---|---|{'---|' * len(styles)}"]
    for tool, name in TOOL_NAMES.items():
        of_tool = cases[cases["tool"] == tool]
        groups = [of_tool[of_tool["style"] == style] for style in styles]
        cells = [f"{100 * each['dice'].mean():.1f}, {each['area'].median():.2f}" for each in groups]
        lines.append(f"| {name} | {len(groups[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tabulate_ph2() -> str:
    """Return the scores of the cases of PH2 in folds 0 and 1 for each head."""
    cases = pd.read_csv(SCORES, keep_default_na=False).query("tool == 'PH2'")
    lines = ["| output head | n | Dice | IoU | area |", "|---|---|---|---|---|"]
    for style, group in cases.groupby("style", sort=False):
        means = " | ".join(marked_tables.format_mean(group[name]) for name in ("dice", "iou"))
        lines.append(f"| {style} | {len(group)} | {means} | {group['area'].median():.2f} |")
    return "\n".join(lines)


def _average(cases: pd.DataFrame) -> pd.DataFrame:
    """Average each case and head over the networks."""
    return cases.groupby(["style", "tool", "case_id"], sort=False)[["dice", "area"]].mean().reset_index()


def list_differences() -> str:
    """Return the paired differences of Dice that the page names, in percentage points with their 95% CIs."""
    scores = pd.read_csv(SCORES, keep_default_na=False)
    by_head = _average(scores).pivot_table(index=["tool", "case_id"], columns="style", values="dice")
    known = by_head.loc[["T1", "T2", "T3"]]
    tools = known.index.get_level_values("tool")
    own = pd.Series([row[tool] for tool, (_, row) in zip(tools, known.iterrows(), strict=True)], known.index)
    others = (known[["T1", "T2", "T3"]].sum(axis=1) - own) / 2
    pairs = {"own head, ISIC 2018": own - known["ISIC 2018"], "own head, other tools": own - others}
    ph2 = by_head.loc["PH2"]
    pairs |= {f"on PH2: PH2, {style}": ph2["PH2"] - ph2[style] for style in ph2 if style != "PH2"}
    lines = []
    for name, difference in pairs.items():
        low, high = mean_interval(difference.to_numpy())
        row = {"dice": difference.mean(), "dice_low": low, "dice_high": high}
        lines.append(f"{name} (n = {len(difference)}): {marked_tables.format_difference(row, 'dice')}")
    return "\n".join(lines)


TABLES = {"isic_by_head": tabulate_isic, "ph2_by_head": tabulate_ph2}


def main(*arguments: str) -> None:
    if arguments == ("differences",):
        print(list_differences())
        return
    if arguments:
        score(*map(Path, arguments[1:])).to_csv(SCORES, index=False, float_format="%.6g")
    marked_tables.rewrite(DOCUMENT, TABLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
