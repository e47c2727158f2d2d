"""Score each output head of networks that learned several annotation styles.

    python results/annotation_styles.py score JOINT ISIC_ONLY ISIC PH2    # write results/annotation_styles.csv
    python results/annotation_styles.py differences                       # print means and differences of the heads
    python results/annotation_styles.py                                   # rebuild the tables of the page from it

JOINT is the data root of the cross-validation `joint_styles`, and ISIC_ONLY that of `isic_styles`. ISIC and PH2 have
the folders images and masks. The networks of folds 0 and 1 in JOINT predict ISIC 2018's validation and reserved cases
and the test cases of their fold, and the network in ISIC_ONLY those of both folds: at the size of the images, once with
each head. The page is docs/explanation/annotation_styles.md.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
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


def score(joint: Path, isic_only: Path, isic: Path, ph2: Path) -> pd.DataFrame:
    """Return network, subset, style, case_id, tool (empty if unknown), dice, iou and the ratio of the areas."""
    roots = {fold: joint / f"fold_{fold}" for fold in FOLDS}
    rows = [row for fold, root in roots.items() for row in score_isic(f"fold {fold}", root, isic)]
    rows += [row for fold, root in roots.items() for row in score_ph2(f"fold {fold}", root, ph2, [fold])]
    return pd.DataFrame([*rows, *score_ph2("isic_styles", isic_only, ph2, FOLDS)])


def score_isic(name: str, root: Path, isic: Path) -> Iterator[dict[str, str | float]]:
    """Yield the rows of ISIC 2018's validation and reserved cases (subset `test`) for each head of a network."""
    subsets = pd.read_csv(RESULTS / "isic2018_cases.csv").groupby("subset")["case_id"]
    tools = read_packaged_table(TOOLS).set_index("case_id")["annotation_style"]
    network = load_network(root / "06_models" / "network.safetensors")
    for style, subset in product(network.annotation_styles, ("validation", "test")):
        predictor = Predictor(network, annotation_style=style)
        for case_id, scores in score_cases(predictor, isic, list(subsets.get_group(subset))):
            facts = {"case_id": case_id, "tool": tools.get(case_id, "")}
            yield {"network": name, "subset": subset, "style": style, **facts, **scores}


def score_ph2(name: str, root: Path, ph2: Path, folds: Sequence[int]) -> Iterator[dict[str, str | float]]:
    """Yield the rows of PH2's cases in these folds for each head of a network."""
    case_ids = pd.read_csv(RESULTS / "folds.csv").query("fold in @folds")["case_id"]
    network = load_network(root / "06_models" / "network.safetensors")
    for style in network.annotation_styles:
        predictor = Predictor(network, annotation_style=style, keep_largest_component=True)
        for case_id, scores in score_cases(predictor, ph2, list(case_ids)):
            yield {"network": name, "subset": "PH2", "style": style, "case_id": case_id, "tool": "", **scores}


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


@cache
def hash_pixels(file: Path) -> str:
    return pixel_hash(to_rgb(open_image(file)))[:HASH_LENGTH]


def read_cases(networks: str, subset: str) -> pd.DataFrame:
    """Return the scores of a subset by network, style and case_id. `networks` begins their names."""
    cases = pd.read_csv(SCORES, keep_default_na=False)
    return cases[cases["network"].str.startswith(networks) & (cases["subset"] == subset)]


def tabulate_isic(subset: str) -> str:
    """Return the mean Dice and the median area of cases of ISIC 2018 by tool of the mask, for each head.

    The scores of a case are means over the two networks of joint training.
    """
    cases = _average(read_cases("fold", subset))
    styles = list(dict.fromkeys(cases["style"]))
    lines = [f"| tool of the mask | n | {' | '.join(styles)} |", f"|---|---|{'---|' * len(styles)}"]
    for tool, name in TOOL_NAMES.items():
        of_tool = cases[cases["tool"] == tool]
        groups = [of_tool[of_tool["style"] == style] for style in styles]
        cells = [f"{100 * each['dice'].mean():.1f}, {each['area'].median():.2f}" for each in groups]
        lines.append(f"| {name} | {len(groups[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tabulate_ph2(networks: str) -> str:
    """Return the scores of the cases of PH2 in folds 0 and 1 for each head."""
    lines = ["| output head | n | Dice | IoU | area |", "|---|---|---|---|---|"]
    for style, group in read_cases(networks, "PH2").groupby("style", sort=False):
        means = " | ".join(marked_tables.format_mean(group[name]) for name in ("dice", "iou"))
        lines.append(f"| {style} | {len(group)} | {means} | {group['area'].median():.2f} |")
    return "\n".join(lines)


def _average(cases: pd.DataFrame) -> pd.DataFrame:
    """Average each case and head over the networks."""
    return cases.groupby(["style", "tool", "case_id"], sort=False)[["dice", "area"]].mean().reset_index()


def list_differences() -> str:
    """Return the means of Dice that the page names, and the paired differences in percentage points with 95% CIs.

    The own head of an image is that of its tool, or `ISIC 2018` if the tool is unknown.
    """
    pairs: dict[str, pd.Series] = {}
    lines = []
    for subset in ("validation", "test"):
        by_head = _pivot("fold", subset)
        by_head["own"] = [row[tool or "ISIC 2018"] for (tool, _), row in by_head.iterrows()]
        lines += [f"{subset}: {head} for all: {100 * by_head[head].mean():.2f}" for head in ("own", "ISIC 2018", "T3")]
        known = by_head.loc[["T1", "T2", "T3"]]
        own = known["own"]
        others = (known[["T1", "T2", "T3"]].sum(axis=1) - own) / 2
        pairs[f"{subset}: own head, ISIC 2018"] = own - known["ISIC 2018"]
        pairs[f"{subset}: own head, other tools"] = own - others
    for networks, reference in (("fold", "PH2"), ("isic_styles", "ISIC 2018")):
        ph2 = _pivot(networks, "PH2")
        pairs |= {
            f"PH2, networks {networks}: {reference}, {style}": ph2[reference] - ph2[style]
            for style in ph2
            if style != reference
        }
    for name, difference in pairs.items():
        low, high = mean_interval(difference.to_numpy())
        row = {"dice": difference.mean(), "dice_low": low, "dice_high": high}
        lines.append(f"{name} (n = {len(difference)}): {marked_tables.format_difference(row, 'dice')}")
    return "\n".join(lines)


def _pivot(networks: str, subset: str) -> pd.DataFrame:
    cases = _average(read_cases(networks, subset))
    return cases.pivot_table(index=["tool", "case_id"], columns="style", values="dice")


TABLES = {
    "isic_by_head": partial(tabulate_isic, "validation"),
    "reserved_by_head": partial(tabulate_isic, "test"),
    "ph2_by_head": partial(tabulate_ph2, "fold"),
    "unseen_by_head": partial(tabulate_ph2, "isic_styles"),
}


def main(*arguments: str) -> None:
    if arguments == ("differences",):
        print(list_differences())
        return
    if arguments:
        score(*map(Path, arguments[1:])).to_csv(SCORES, index=False, float_format="%.6g")
    marked_tables.rewrite(DOCUMENT, TABLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
