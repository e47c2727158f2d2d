"""Summarize the scores of each case in results, and build the tables of docs/results/models.md.

    python results/benchmark_table.py summaries    # rewrite models.csv and differences.csv (a minute)
    python results/benchmark_table.py              # rewrite the tables of the page from these files

results/score_model.py writes the file of each model. README.md describes the files.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ledger
import marked_tables
import pandas as pd
from hardest_cases import describe_hardest
from protocols import list_protocols

from lesion_segmentation.evaluation.intervals import mean_interval

RESULTS = Path(__file__).parent
CASES = RESULTS / "cases"
DOCUMENT = RESULTS.parent / "docs" / "results" / "models.md"
SCORES = ("dice", "iou", "accuracy")
SELECTION_FOLDS = (0, 1)
"""Folds on which recipes are selected. The other folds are held out."""
FLIPS = {"": "none", "_tta": "four"}
"""The test-time augmentation behind each file ending."""
HELD_OUT, ALL, PAPER_CASES, PAPER_HELD_OUT = "folds 2 to 4", "all", "paper", "paper, folds 2 to 4"


class Model(NamedTuple):
    """A model that is scored on the folds: the name of its files and its description."""

    name: str
    description: str


class Recipe(NamedTuple):
    """A recipe that is scored on the paper's 50 test cases with one or more seeds."""

    name: str
    description: str
    cases: int
    """Training cases."""
    seeds: tuple[int, ...] = (0, 1, 2)


MODELS = (
    Model("otsu", "Otsu's threshold"),
    Model("mean_mask", "mean mask of the training cases"),
    Model("unet", "U-Net"),
    Model("attention_unet", "U-Net with attention"),
    Model("residual_unet", "U-Net with residual units"),
    Model("unet_plus_plus", "U-Net++"),
    Model("segnet_e100", "SegNet-v2, width 0.25, 100 epochs"),
    Model("segnet", "SegNet-v2, width 0.25, 200 epochs"),
    Model("segnet_v2", "SegNet-v2, width 0.25, 120 epochs of 96 x 128, then 40 of 192 x 256"),
    Model("scratch", "SegNet with skips, 200 epochs"),
    Model("scratch_e400", "SegNet with skips, 400 epochs"),
    Model("isic", "SegNet with skips, first ISIC 2018"),
    Model("isic_joint", "SegNet with skips, joint training"),
    Model("imagenet", "Lite2 U-Net"),
    Model("imagenet_isic", "Lite2 U-Net, first ISIC 2018"),
    Model("joint", "Lite2 U-Net, joint training"),
    Model("joint_styles", "Lite0 U-Net, joint training, a head per tool"),
    Model("best", "isic + imagenet + imagenet_isic"),
    Model("best_two", "scratch + joint"),
    Model("best_e400", "scratch_e400 + joint"),
    Model("isic_to_ph2", "Lite2 U-Net, ISIC 2018 only"),
    Model("isic_to_ph2_styles", "Lite0 U-Net, ISIC 2018 only, the head T2"),
)
RECIPES = (
    Recipe("base_w100_e100_v30_s0", "SegNet-v2, width 1.0, 100 epochs, `kedro run`", 120, (0,)),
    Recipe("base_w100_e100_s0", "SegNet-v2, width 1.0, 100 epochs, no validation cases", 150, (0,)),
    Recipe("base_w025_e100_s0", "SegNet-v2, width 0.25, 100 epochs", 150, (0,)),
    Recipe("segnet_cpu", "SegNet-v2, width 0.25, 200 epochs", 150),
    Recipe("paper_cpu", "SegNet with skips, width 0.25, 200 epochs", 120),
    Recipe("paper_width_1", "SegNet with skips, width 1.0, 200 epochs", 120),
    Recipe("paper_pretrained", "Lite2 U-Net", 120),
)
STEPS = {
    "skips, dilated context, soft IoU in the loss": ("scratch", "segnet"),
    "160 epochs, 120 of them on images of half height and width, soft IoU in the loss": ("segnet_v2", "segnet"),
    "skips, dilated context, 200 epochs at full size": ("scratch", "segnet_v2"),
    "400 epochs instead of 200": ("scratch_e400", "scratch"),
    "Lite2 U-Net initialized from ISIC 2018": ("imagenet_isic", "imagenet"),
    "joint training instead of initialization": ("joint", "imagenet_isic"),
    "ensemble instead of its best member": ("best_e400", "joint"),
    "Lite2 U-Net, joint training with ISIC 2018": ("joint", "imagenet"),
    "SegNet with skips initialized from ISIC 2018": ("isic", "scratch"),
    "SegNet with skips, joint training with ISIC 2018": ("isic_joint", "scratch"),
    "Lite2 U-Net instead of SegNet with skips": ("imagenet", "scratch"),
    "ensemble of three instead of its best member": ("best", "imagenet_isic"),
    "ensemble of two with 200 epochs instead of its best member": ("best_two", "joint"),
    "ensemble of two with 400 epochs instead of 200": ("best_e400", "best_two"),
    "Lite0 instead of Lite2, and a head per tool, joint training": ("joint_styles", "joint"),
    "Lite0 instead of Lite2, and a head per tool, without PH2": ("isic_to_ph2_styles", "isic_to_ph2"),
    "SegNet-v2 with PH2 instead of Lite0 U-Net without PH2": ("segnet", "isic_to_ph2_styles"),
    "Lite2 U-Net with PH2, too, instead of Lite0 U-Net without PH2": ("joint", "isic_to_ph2_styles"),
    "largest connected component kept, Lite2 U-Net": ("imagenet", "imagenet_all_parts"),
    "largest connected component kept, Lite2 U-Net from ISIC 2018": ("imagenet_isic", "imagenet_isic_all_parts"),
    "largest connected component kept, SegNet with skips": ("isic", "isic_all_parts"),
    "largest connected component kept, without PH2": ("isic_to_ph2", "isic_to_ph2_all_parts"),
}
SHOWN_STEPS = 7
"""Number of steps, from the first one, that the page shows."""
SIZES = {
    "lite2_e25_all_256": "Lite2 U-Net, 256 x 320",
    "lite2_e25_all_384": "Lite2 U-Net, 384 x 512",
    "skip_e200_iou_256": "SegNet with skips, 256 x 320",
    "segnet_e200_iou_96": "SegNet-v2, 96 x 128, also soft IoU in the loss",
    "segnet_e400_iou_96": "SegNet-v2, 96 x 128, 400 epochs instead of 200",
    "segnet_grow_e40": "SegNet-v2, 96 x 128, then 40 epochs of 192 x 256, instead of 96 x 128 alone",
    "segnet_half_e160": "SegNet-v2, 120 epochs of 96 x 128, then 40 of 192 x 256, also soft IoU in the loss",
}
"""Experiments with images of another size than 192 x 256."""
RECIPE_PAIRS = {
    "width 1.0 instead of 0.25, SegNet with skips": ("paper_width_1", "paper_cpu"),
    "width 1.0 and 100 epochs instead of width 0.25 and 200, SegNet-v2": ("base_w100_e100_s0", "segnet_cpu"),
    "100 epochs instead of 200, SegNet-v2 at width 0.25": ("base_w025_e100_s0", "segnet_cpu"),
}


def read_scores(name: str, folder: Path = CASES) -> pd.DataFrame | None:
    """Return fold, pixel counts and scores by case_id, or None if the folder has no file of this name."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path).set_index("case_id") if path.is_file() else None


def read_seeds(recipe: Recipe, suffix: str) -> list[pd.DataFrame]:
    """Return the scores by case_id of each seed, or an empty list if the recipe has none of this kind."""
    if (ledger.LEDGER / f"{recipe.name}.csv").is_file():
        return [ledger.read_test_cases(recipe.name)] if suffix == "_tta" else []
    tables = (read_scores(f"{recipe.name}_seed{seed}{suffix}") for seed in recipe.seeds)
    return [table for table in tables if table is not None]


def summarize() -> pd.DataFrame:
    """Return the mean scores of each model and recipe, with 95% CIs for whole sets of cases."""
    rows: list[dict[str, Any]] = []
    for model in MODELS:
        for suffix, flips in FLIPS.items():
            if (cases := read_scores(model.name + suffix)) is not None:
                facts = {"model": model.name, "test_time_augmentation": flips, "seed": "0"}
                sets = {ALL: cases} if len(cases) == 200 else {}
                sets[HELD_OUT] = cases[~cases["fold"].isin(SELECTION_FOLDS)]
                rows += (facts | _summarize_cases(name, table) for name, table in sets.items())
                groups = cases.groupby("fold")
                rows += (facts | _summarize_cases(f"fold {fold}", table, False) for fold, table in groups)
    folds = pd.read_csv(RESULTS / "folds.csv").set_index("case_id")["fold"]
    for recipe in RECIPES:
        for suffix, flips in FLIPS.items():
            seeds = read_seeds(recipe, suffix)
            if seeds:
                facts = {"model": recipe.name, "test_time_augmentation": flips}
                facts["seed"] = "mean of 0, 1, 2" if len(seeds) > 1 else "0"
                mean = _average(seeds)
                held_out = mean[~mean.index.map(folds).isin(SELECTION_FOLDS)]
                rows += (facts | _summarize_cases(*each) for each in ((PAPER_CASES, mean), (PAPER_HELD_OUT, held_out)))
            if len(seeds) > 1:
                for number, table in zip(recipe.seeds, seeds, strict=True):
                    rows.append(facts | {"seed": str(number)} | _summarize_cases(PAPER_CASES, table, False))
    return pd.DataFrame(rows)


def _average(seeds: list[pd.DataFrame]) -> pd.DataFrame:
    return sum(table[list(SCORES)] for table in seeds) / len(seeds)


def _summarize_cases(name: str, cases: pd.DataFrame, interval: bool = True) -> dict[str, Any]:
    row: dict[str, Any] = {"cases": name, "n": len(cases)}
    for score in SCORES:
        low, high = mean_interval(cases[score].to_numpy()) if interval else (None, None)
        row |= {score: cases[score].mean(), f"{score}_low": low, f"{score}_high": high}
    if {"tp", "fp", "fn"} <= set(cases):
        row["pooled_dice"] = 2 * cases["tp"].sum() / (2 * cases["tp"] + cases["fp"] + cases["fn"]).sum()
    if "dice_native" in cases and cases["dice_native"].notna().all():
        row["native_dice"] = cases["dice_native"].mean()
    return row


def compare() -> pd.DataFrame:
    """Return paired differences, with 95% CIs, of steps between models, recipes, experiments and causes."""
    rows = []
    for kind, description, name, reference, tables in _list_pairs():
        changed, former = tables
        both = changed.index.intersection(former.index)
        sets = {"": both}
        if kind == "step":
            held_out = both[~changed.loc[both, "fold"].isin(SELECTION_FOLDS)]
            sets = {HELD_OUT: held_out} | ({ALL: both} if len(both) == 200 else {})
        for cases, index in sets.items():
            row: dict[str, Any] = {"kind": kind, "change": description, "model": name, "reference": reference}
            row |= {"cases": cases or ("folds 0 and 1" if kind == "experiment" else PAPER_CASES), "n": len(index)}
            for score in SCORES:
                difference = (changed.loc[index, score] - former.loc[index, score]).to_numpy()
                low, high = mean_interval(difference)
                row |= {score: difference.mean(), f"{score}_low": low, f"{score}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _list_pairs() -> Iterator[tuple[str, str, str, str, list[pd.DataFrame]]]:
    """Yield kind, description, names and tables of each pair. Recipes and causes are means over seeds."""
    for description, pair in STEPS.items():
        yield "step", description, *pair, [pd.read_csv(CASES / f"{name}_tta.csv", index_col="case_id") for name in pair]
    recipes = {recipe.name: recipe for recipe in RECIPES}
    for description, pair in RECIPE_PAIRS.items():
        yield "recipe", description, *pair, [_average(read_seeds(recipes[name], "_tta")) for name in pair]
    for row in pd.read_csv(RESULTS / "experiments.csv", keep_default_na=False).itertuples():
        if row.against:
            tables = [pd.read_csv(RESULTS / "experiments" / f"{name}.csv", index_col="case_id") for name in row[1:4:2]]
            yield "experiment", row.change, row.name, row.against, tables
    for description, pair in ledger.CAUSES.items():
        seeds = ledger.find_common_seeds(*pair)
        tables = [_average([ledger.read_test_cases(f"{name}_s{seed}") for seed in seeds]) for name in pair]
        yield "cause", description, *pair, tables


SUMMARIES: Mapping[str, Callable[[], pd.DataFrame]] = {
    "models": summarize,
    "differences": compare,
}


def read_summary(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv", dtype={"seed": str})


def models() -> str:
    """Return the scores of each model on the folds."""
    table = read_summary("models")
    lines = [
        "| model | network | Dice, 120 held-out cases | Dice, 200 cases | IoU | accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        rows = find_rows(table, model.name)
        cells = [marked_tables.format_interval(rows[HELD_OUT], "dice")]
        if ALL in rows:
            cells.append(marked_tables.format_interval(rows[ALL], "dice"))
            cells += (f"{100 * rows[ALL][score]:.2f}" for score in ("iou", "accuracy"))
        else:
            cells += ["", "", ""]
        lines.append(f"| {model.name} | {model.description} | {' | '.join(cells)} |")
    return "\n".join(lines)


def find_rows(table: pd.DataFrame, name: str) -> dict[str, pd.Series]:
    """Return the rows of a model by set of cases, of all seeds together and with four flips where there are any."""
    rows = table[(table["model"] == name) & table["dice_low"].notna()]
    flips = "four" if (rows["test_time_augmentation"] == "four").any() else "none"
    return {row["cases"]: row for _, row in rows[rows["test_time_augmentation"] == flips].iterrows()}


def steps() -> str:
    """Return the paired differences in Dice that the most important steps make on the held-out cases."""
    table = read_summary("differences").query("kind == 'step' and cases == @HELD_OUT").set_index("change")
    lines = ["| step | models | Dice |", "|---|---|---|"]
    for step, (name, reference) in list(STEPS.items())[:SHOWN_STEPS]:
        difference = marked_tables.format_difference(table.loc[step], "dice")
        lines.append(f"| {step} | {name}, {reference} | {difference} |")
    return "\n".join(lines)


def sizes() -> str:
    """Return the paired differences in Dice of experiments with images of another size, on folds 0 and 1."""
    table = read_summary("differences").query("kind == 'experiment'").set_index("model")
    lines = ["| network and size | Dice |", "|---|---|"]
    lines += [
        f"| {title} | {marked_tables.format_difference(table.loc[name], 'dice')} |" for name, title in SIZES.items()
    ]
    return "\n".join(lines)


def paper() -> str:
    """Return the scores of each recipe on the paper's 50 test cases."""
    table = read_summary("models")
    lines = ["| recipe | training cases | seeds | Dice | IoU | accuracy |", "|---|---|---|---|---|---|"]
    for recipe in RECIPES:
        row = find_rows(table, recipe.name)[PAPER_CASES]
        cells = [marked_tables.format_interval(row, "dice"), *(f"{100 * row[score]:.2f}" for score in SCORES[1:])]
        lines.append(f"| {recipe.description} | {recipe.cases} | {len(recipe.seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


PH2_RUNS = ("scratch_e400", "scratch", "segnet_v2", "segnet", "segnet_e100", "unet", "imagenet", "otsu", "mean_mask")
ISIC_RUNS = (
    "isic_skip", "isic", "isic_joint", "isic_lite2", "imagenet_isic", "joint", "joint_styles", "isic_to_ph2",
    "isic_styles", "isic_to_ph2_styles", "best", "best_two", "best_e400",
)  # fmt: skip


def commands() -> str:
    """Return the commands that train models on PH2, or score them."""
    return _list_commands(PH2_RUNS)


def commands_with_isic() -> str:
    """Return the commands that train models on ISIC 2018, too, and those of the ensembles."""
    return _list_commands(ISIC_RUNS, ".needs-isic")


def _list_commands(names: Iterable[str], *markers: str) -> str:
    found = pd.read_csv(RESULTS / "runs.csv").set_index("model")["command_today"]
    lines = [line for name in names for line in (f"# {name}", found[name])]
    return "\n".join([f"```{{{' '.join(['.bash', '.needs-ph2', '.needs-gpu', *markers])}}}", *lines, "```"])


TABLES: dict[str, Callable[[], str]] = {
    "models": models,
    "steps": steps,
    "sizes": sizes,
    "hardest": describe_hardest,
    "paper": paper,
    "protocols": list_protocols,
    "commands": commands,
    "commands_with_isic": commands_with_isic,
}


if __name__ == "__main__":
    if sys.argv[1:] == ["summaries"]:
        for name, make in SUMMARIES.items():
            make().to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.8f")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    marked_tables.rewrite(DOCUMENT, TABLES)
