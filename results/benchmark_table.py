"""Build the tables of docs/results.md and docs/recipes.md from the files in results.

    python results/benchmark_table.py    # rewrite the tables

results/score_model.py writes the file of each model. results/experiments holds one file per experiment, and
results/experiments.csv describes the experiments.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import marked_tables
import pandas as pd

RESULTS = Path(__file__).parent
DOCS = RESULTS.parent / "docs"
DOCUMENTS = (DOCS / "results.md", DOCS / "recipes.md")
SCORES = ("dice", "iou", "accuracy")
SELECTION_FOLDS = (0, 1)
"""Folds on which recipes are selected. The other folds are held out."""
FLIPS = {"": "none", "_tta": "four"}
"""The test-time augmentation behind each file ending."""


class Model(NamedTuple):
    """A model of the benchmark table: the name of its files, its training data besides PH2, and its description."""

    name: str
    training_data: str
    description: str


MODELS = (
    Model("otsu", "nothing", "Otsu's threshold of the grey levels"),
    Model("mean_mask", "nothing", "the mean mask of the other folds"),
    Model("unet", "nothing", "U-Net, 100 epochs"),
    Model("attention_unet", "nothing", "U-Net with attention, 100 epochs"),
    Model("residual_unet", "nothing", "U-Net with residual units, 100 epochs"),
    Model("unet_plus_plus", "nothing", "U-Net++, 100 epochs"),
    Model("segnet_e100", "nothing", "SegNet-v2, width 0.25, 100 epochs"),
    Model("segnet", "nothing", "SegNet-v2, width 0.25, 200 epochs"),
    Model("scratch", "nothing", "SegNet with skips and dilated context, 200 epochs"),
    Model("scratch_e400", "nothing", "SegNet with skips and dilated context, 400 epochs"),
    Model("isic", "ISIC 2018", "SegNet with skips and dilated context, initialized from ISIC 2018"),
    Model("isic_joint", "ISIC 2018", "SegNet with skips and dilated context, joint training on PH2 and ISIC 2018"),
    Model("imagenet", "ImageNet", "U-Net on EfficientNet-Lite2"),
    Model("imagenet_isic", "ImageNet, ISIC 2018", "U-Net on EfficientNet-Lite2, initialized from ISIC 2018"),
    Model("joint", "ImageNet, ISIC 2018", "U-Net on EfficientNet-Lite2, joint training on PH2 and ISIC 2018"),
    Model("best", "ImageNet, ISIC 2018", "ensemble: the mean of isic, imagenet and imagenet_isic"),
    Model("best_two", "ImageNet, ISIC 2018", "ensemble: the mean of scratch and joint"),
    Model("best_e400", "ImageNet, ISIC 2018", "ensemble: the mean of scratch_e400 and joint"),
    Model("isic_to_ph2", "ImageNet, ISIC 2018; never PH2", "U-Net on EfficientNet-Lite2"),
)
PAPER = {
    "cpu": "SegNet with skips, width 0.25, 200 epochs",
    "width_1": "SegNet with skips, width 1.0, 200 epochs",
    "pretrained": "`--env pretrained`: U-Net on EfficientNet-Lite2, 25 epochs",
}
"""Recipes that were scored on the paper's 50 test cases with three seeds each."""
SEEDS = range(3)
STEPS = {
    "skips and dilated context in SegNet": ("scratch", "segnet"),
    "400 epochs instead of 200": ("scratch_e400", "scratch"),
    "initialized from ISIC 2018, SegNet with skips": ("isic", "scratch"),
    "joint training with ISIC 2018, one output head per source, SegNet with skips": ("isic_joint", "scratch"),
    "U-Net on EfficientNet-Lite2 pretrained on ImageNet instead of SegNet with skips": ("imagenet", "scratch"),
    "ISIC 2018 after ImageNet": ("imagenet_isic", "imagenet"),
    "joint training, one output head per source, instead of one source after the other": ("joint", "imagenet_isic"),
    "the ensemble instead of its best member": ("best", "imagenet_isic"),
    "an ensemble of two instead of its best member": ("best_two", "joint"),
    "the ensemble of two with 400 epochs": ("best_e400", "best_two"),
    "the ensemble of two with 400 epochs instead of its best member": ("best_e400", "joint"),
    "largest connected component kept": ("imagenet", "imagenet_all_parts"),
    "largest connected component kept, after ISIC 2018": ("imagenet_isic", "imagenet_isic_all_parts"),
    "largest connected component kept, SegNet with skips": ("isic", "isic_all_parts"),
    "largest connected component kept, no training on PH2": ("isic_to_ph2", "isic_to_ph2_all_parts"),
}


def read_scores(name: str, folder: Path = RESULTS) -> pd.DataFrame | None:
    """Return fold, pixel counts and scores by case_id, or None if the folder has no file of this name."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path).set_index("case_id") if path.is_file() else None


def benchmark() -> str:
    """Return the benchmark table: each model without and with test-time augmentation, held-out folds first."""
    lines = [
        "| model | training data besides PH2 | network | test-time augmentation | Dice, folds 2 to 4 | IoU | accuracy "
        "| Dice, all 200 | IoU | accuracy | pooled Dice | Dice at native size |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        for suffix, flips in FLIPS.items():
            cases = read_scores(model.name + suffix)
            if cases is None:
                continue
            held_out = cases[~cases["fold"].isin(SELECTION_FOLDS)]
            cells = [*_means(held_out), *(_means(cases) if len(cases) == 200 else ["", "", ""])]
            pooled = 200 * cases["tp"].sum() / (2 * cases["tp"] + cases["fp"] + cases["fn"]).sum()
            lines.append(
                f"| {model.name} | {model.training_data} | {model.description} | {flips} | {' | '.join(cells)} | "
                f"{pooled:.2f} | {_percent(cases['dice_native'])} |"
            )
    return "\n".join(lines)


def paper() -> str:
    """Return the scores on the paper's 50 test cases: means over three seeds, of all and of the held-out cases."""
    folds = pd.read_csv(RESULTS / "folds.csv").set_index("case_id")["fold"]
    lines = [
        "| recipe | test-time augmentation | Dice | IoU | accuracy | Dice of each seed "
        "| Dice, the 32 of folds 2 to 4 | IoU | accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, description in PAPER.items():
        for suffix, flips in FLIPS.items():
            seeds = _read_seeds(name, suffix)
            mean = _mean_over_seeds(seeds)
            each = ", ".join(f"{100 * seed['dice'].mean():.2f}" for seed in seeds)
            held_out = mean[~mean.index.map(folds).isin(SELECTION_FOLDS)]
            lines.append(f"| {description} | {flips} | {' | '.join([*_means(mean), each, *_means(held_out)])} |")
    wide, narrow = (_mean_over_seeds(_read_seeds(name, "_tta")) for name in ("width_1", "cpu"))
    lines.append(f"| width 1.0 minus width 0.25, paired | four | {' | '.join(_differences(wide, narrow))} | | | | |")
    return "\n".join(lines)


def _read_seeds(name: str, suffix: str) -> list[pd.DataFrame]:
    return [pd.read_csv(RESULTS / f"paper_{name}_seed{seed}{suffix}.csv").set_index("case_id") for seed in SEEDS]


def _mean_over_seeds(seeds: list[pd.DataFrame]) -> pd.DataFrame:
    return sum(table[list(SCORES)] for table in seeds) / len(seeds)  # type: ignore[return-value]


def steps() -> str:
    """Return the paired difference that each step makes, with test-time augmentation over four flips."""
    lines = [
        "| step | Dice, folds 2 to 4 | IoU | accuracy | Dice, all 200 | IoU | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for description, (name, reference) in STEPS.items():
        models = [pd.read_csv(RESULTS / f"{each}_tta.csv").set_index("case_id") for each in (name, reference)]
        held_out = [cases[~cases["fold"].isin(SELECTION_FOLDS)] for cases in models]
        cells = [
            *_differences(*held_out),
            *(_differences(*models) if all(len(cases) == 200 for cases in models) else [""] * 3),
        ]
        lines.append(f"| {description}: {name} against {reference} | {' | '.join(cells)} |")
    return "\n".join(lines)


def worst() -> str:
    """Return the ten cases with the lowest Dice of each trained model, with test-time augmentation."""
    lines = ["| model | ten worst cases, Dice |", "|---|---|"]
    for model in MODELS:
        cases = read_scores(f"{model.name}_tta")
        if cases is not None:
            found = (100 * cases["dice"]).nsmallest(10)
            lines.append(f"| {model.name} | {', '.join(f'{case} {dice:.0f}' for case, dice in found.items())} |")
    return "\n".join(lines)


def experiments() -> str:
    """Return the scores of each experiment on the selection folds, with four flips, beside its reference."""
    table = pd.read_csv(RESULTS / "experiments.csv", keep_default_na=False)
    lines = [
        "| experiment | change | against | n | Dice | difference in Dice | IoU | accuracy | minutes a fold | on "
        "| commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        cases, reference = (read_scores(name, RESULTS / "experiments") for name in (row.name, row.against))
        differences = ["", "", ""] if reference is None else _differences(cases, reference)
        cells = [f"{100 * cases['dice'].mean():.2f}", *differences]
        lines.append(
            f"| {row.name} | {row.change} | {row.against} | {len(cases)} | {' | '.join(cells)} | "
            f"{float(row.minutes):.1f} | {row.device} | {row.commit} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "benchmark": benchmark,
    "paper": paper,
    "steps": steps,
    "worst": worst,
    "experiments": experiments,
}


def _percent(scores: pd.Series) -> str:
    return "" if scores.isna().any() else f"{100 * scores.mean():.2f}"


def _means(cases: pd.DataFrame) -> list[str]:
    return [marked_tables.format_mean(cases[score]) for score in SCORES]


def _differences(cases: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """Return the difference in each score over the cases that both tables contain."""
    both = cases.index.intersection(reference.index)
    return [marked_tables.format_difference(cases.loc[both, score], reference.loc[both, score]) for score in SCORES]


if __name__ == "__main__":
    for document in DOCUMENTS:
        marked_tables.rewrite(document, TABLES)
