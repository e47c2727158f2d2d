"""The ladder and the tries: tables of docs/results.md and docs/recipes.md, made from the files in results.

    python results/benchmark_table.py    # write the tables anew

results/score_model.py makes the files of the rows; results/experiments has one for each try, and experiments.csv what each try was.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import marked_tables
import pandas as pd

from lesion_segmentation.evaluation.intervals import mean_interval

RESULTS = Path(__file__).parent
DOCS = RESULTS.parent / "docs"
DOCUMENTS = (DOCS / "results.md", DOCS / "recipes.md")
SCORES = ("dice", "iou", "accuracy")
CHOOSING = (0, 1)
"""Folds that recipes are chosen on."""


class Row(NamedTuple):
    """A row of the ladder: its files' name, what its network saw besides PH2, and what it is."""

    name: str
    seen: str
    words: str


ROWS = (
    Row("otsu", "nothing", "Otsu's threshold of the grey levels"),
    Row("mean_mask", "nothing", "the mean mask of the other folds"),
    Row("unet", "nothing", "U-Net, 100 epochs"),
    Row("attention_unet", "nothing", "U-Net with attention, 100 epochs"),
    Row("residual_unet", "nothing", "U-Net of residual units, 100 epochs"),
    Row("unet_plus_plus", "nothing", "U-Net++, 100 epochs"),
    Row("segnet_e100", "nothing", "SegNet-v2, width 0.25, 100 epochs"),
    Row("segnet", "nothing", "SegNet-v2, width 0.25, 200 epochs"),
    Row("scratch", "nothing", "SegNet with skips and wide context"),
    Row("scratch_e400", "nothing", "SegNet with skips and wide context, 400 epochs"),
    Row("isic", "ISIC 2018", "SegNet with skips and wide context, begun from ISIC 2018"),
    Row("isic_joint", "ISIC 2018", "SegNet with skips and wide context, PH2 and ISIC 2018 in one training"),
    Row("imagenet", "ImageNet", "U-Net on EfficientNet-Lite2"),
    Row("imagenet_isic", "ImageNet, ISIC 2018", "U-Net on EfficientNet-Lite2, begun from ISIC 2018"),
    Row("joint", "ImageNet, ISIC 2018", "U-Net on EfficientNet-Lite2, PH2 and ISIC 2018 in one training"),
    Row("best", "ImageNet, ISIC 2018", "ensemble: the mean of isic, imagenet and imagenet_isic"),
    Row("best_two", "ImageNet, ISIC 2018", "ensemble: the mean of scratch and joint"),
    Row("best_e400", "ImageNet, ISIC 2018", "ensemble: the mean of scratch_e400 and joint"),
    Row("isic_to_ph2", "ImageNet, ISIC 2018; PH2 never", "U-Net on EfficientNet-Lite2"),
)
PAPER = {
    "cpu": "conf/cpu: SegNet with skips, width 0.25, 200 epochs",
    "width_1": "the same at width 1.0",
    "pretrained": "conf/pretrained: U-Net on EfficientNet-Lite2, 25 epochs",
}
"""Recipes that were scored on the paper's 50 cases, three seeds each."""
SEEDS = range(3)
STEPS = {
    "skips and wide context in SegNet": ("scratch", "segnet"),
    "400 epochs instead of 200": ("scratch_e400", "scratch"),
    "ISIC 2018 first, SegNet with skips": ("isic", "scratch"),
    "ISIC 2018 beside, a map each, SegNet with skips": ("isic_joint", "scratch"),
    "ImageNet and U-Net on EfficientNet-Lite2, for SegNet with skips": ("imagenet", "scratch"),
    "ISIC 2018 after ImageNet": ("imagenet_isic", "imagenet"),
    "both at once, a map each, instead of one after the other": ("joint", "imagenet_isic"),
    "the ensemble, for its best member": ("best", "imagenet_isic"),
    "an ensemble of two, for its best member": ("best_two", "joint"),
    "that ensemble with 400 epochs": ("best_e400", "best_two"),
    "an ensemble of two with 400 epochs, for its best member": ("best_e400", "joint"),
    "one lesion kept": ("imagenet", "imagenet_all_parts"),
    "one lesion kept, after ISIC 2018": ("imagenet_isic", "imagenet_isic_all_parts"),
    "one lesion kept, SegNet with skips": ("isic", "isic_all_parts"),
    "one lesion kept, PH2 never seen": ("isic_to_ph2", "isic_to_ph2_all_parts"),
}


def read_row(name: str) -> pd.DataFrame | None:
    """fold, counts and scores by case_id; none where the row is not there."""
    path = RESULTS / f"{name}.csv"
    return pd.read_csv(path).set_index("case_id") if path.is_file() else None


def ladder() -> str:
    """Every row, plain and over four views: the cases that nothing was chosen on, and all."""
    lines = [
        "| row | seen besides PH2 | network | views | Dice, folds 2 to 4 | IoU | accuracy | Dice, all 200 | IoU "
        "| accuracy | pooled Dice | Dice at own size |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        for suffix, views in (("", "1"), ("_tta", "4")):
            cases = read_row(row.name + suffix)
            if cases is None:
                continue
            untouched = cases[~cases["fold"].isin(CHOOSING)]
            cells = [*_with_intervals(untouched), *(_with_intervals(cases) if len(cases) == 200 else ["", "", ""])]
            pooled = 200 * cases["tp"].sum() / (2 * cases["tp"] + cases["fp"] + cases["fn"]).sum()
            lines.append(
                f"| {row.name} | {row.seen} | {row.words} | {views} | {' | '.join(cells)} | {pooled:.2f} | "
                f"{_percent(cases['dice_native'])} |"
            )
    return "\n".join(lines)


def paper() -> str:
    """The paper's 50 cases: means over three seeds, and those of the cases that are in no fold for choosing."""
    folds = pd.read_csv(RESULTS / "folds.csv").set_index("case_id")["fold"]
    lines = [
        "| recipe | views | Dice | IoU | accuracy | Dice of each seed "
        "| Dice, the 32 of folds 2 to 4 | IoU | accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, words in PAPER.items():
        for suffix, views in (("", "1"), ("_tta", "4")):
            seeds = [pd.read_csv(RESULTS / f"paper_{name}_seed{seed}{suffix}.csv") for seed in SEEDS]
            mean = _mean_of_seeds(name, suffix)
            each = ", ".join(f"{100 * seed['dice'].mean():.2f}" for seed in seeds)
            untouched = mean[~mean.index.map(folds).isin(CHOOSING)]
            cells = [*_with_intervals(mean), each, *_with_intervals(untouched)]
            lines.append(f"| {words} | {views} | {' | '.join(cells)} |")
    difference = _differences(_mean_of_seeds("width_1", "_tta"), _mean_of_seeds("cpu", "_tta"))
    lines.append(f"| width 1.0 less width 0.25, paired | 4 | {' | '.join(difference)} | | | | |")
    return "\n".join(lines)


def _mean_of_seeds(name: str, suffix: str) -> pd.DataFrame:
    each = [pd.read_csv(RESULTS / f"paper_{name}_seed{seed}{suffix}.csv").set_index("case_id") for seed in SEEDS]
    return sum(table[list(SCORES)] for table in each) / len(SEEDS)  # type: ignore[return-value]


def steps() -> str:
    """What each step buys, over four views: paired case by case."""
    lines = [
        "| step | Dice, folds 2 to 4 | IoU | accuracy | Dice, all 200 | IoU | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for words, (name, reference) in STEPS.items():
        rows = [read_row(f"{each}_tta") for each in (name, reference)]
        if rows[0] is None or rows[1] is None:
            continue
        untouched = [row[~row["fold"].isin(CHOOSING)] for row in rows if row is not None]
        cells = [
            *_differences(*untouched),
            *(_differences(*rows) if all(len(row) == 200 for row in rows) else [""] * 3),
        ]
        lines.append(f"| {words}: {name} against {reference} | {' | '.join(cells)} |")
    return "\n".join(lines)


def worst() -> str:
    """The ten worst cases of each trained row over four views, with their Dice."""
    lines = ["| row | ten worst cases, Dice |", "|---|---|"]
    for row in ROWS:
        cases = read_row(f"{row.name}_tta")
        if cases is not None:
            found = (100 * cases["dice"]).nsmallest(10)
            lines.append(f"| {row.name} | {', '.join(f'{case} {dice:.0f}' for case, dice in found.items())} |")
    return "\n".join(lines)


def tries() -> str:
    """Each try against what it changes, on the folds for choosing: the mean over four views."""
    table = pd.read_csv(RESULTS / "experiments.csv", keep_default_na=False)
    lines = [
        "| try | change | against | n | Dice | difference in Dice | IoU | accuracy | minutes a fold | on | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in table.itertuples():
        cases, reference = (_read_try(name) for name in (each.name, each.against))
        dice = f"{100 * cases['dice'].mean():.2f}"
        cells = [dice, "", "", ""]
        if reference is not None:
            cells = [dice, *_differences(cases, reference)]
        lines.append(
            f"| {each.name} | {each.change} | {each.against} | {len(cases)} | {' | '.join(cells)} | "
            f"{float(each.minutes):.1f} | {each.device} | {each.commit} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "ladder": ladder,
    "paper": paper,
    "steps": steps,
    "worst": worst,
    "experiments": tries,
}


def rebuild(text: str) -> str:
    """The document with its tables made anew."""
    return marked_tables.rebuild(text, TABLES)


def _read_try(name: str) -> pd.DataFrame | None:
    path = RESULTS / "experiments" / f"{name}.csv"
    return pd.read_csv(path).set_index("case_id") if path.is_file() else None


def _percent(scores: pd.Series) -> str:
    return "" if scores.isna().any() else f"{100 * scores.mean():.2f}"


def _with_intervals(cases: pd.DataFrame) -> list[str]:
    cells = []
    for score in SCORES:
        low, high = mean_interval(cases[score].to_numpy())
        cells.append(f"{100 * cases[score].mean():.2f} ({100 * low:.2f} to {100 * high:.2f})")
    return cells


def _differences(cases: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Of the cases that both have, with intervals."""
    both = cases.index.intersection(reference.index)
    return [marked_tables.tell_difference(cases.loc[both, score], reference.loc[both, score]) for score in SCORES]


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rebuild(document.read_text()))
