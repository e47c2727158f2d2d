"""The loop of corrections: predict, correct the outlines that teach most, train on them, compare, register."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from PIL import Image

from lesion_segmentation.cli import main
from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.images.polygons import trace_polygons
from lesion_segmentation.model import load_network

SUBSETS = 8 * ["train"] + 4 * ["validation"] + 6 * ["test"] + 6 * ["new"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Create eighteen cases with masks and subsets, and six images without."""
    for number, subset in enumerate(SUBSETS, 1):
        case = synthesize_case(number)
        parts = {"new": case.image} if subset == "new" else {"images": case.image, "masks": case.mask}
        for part, pixels in parts.items():
            (tmp_path / "in" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "in" / part / f"case_{number}.png")
    write_table(tmp_path / "in", SUBSETS)
    return tmp_path / "in"


def write_table(folder: Path, subsets: list[str]) -> None:
    table = pd.DataFrame({"case_id": [f"case_{number}" for number in range(1, len(subsets) + 1)], "subset": subsets})
    table[table["subset"] != "new"].to_csv(folder / "cases.csv", index=False)


def correct(file: Path, truth: np.ndarray) -> None:
    """Replace the outline in a LabelMe file, as an annotator who draws the true border."""
    content = json.loads(file.read_text())
    polygons, _ = trace_polygons(truth)
    content["shapes"] = [{"label": "lesion", "shape_type": "polygon", "points": each.tolist()} for each in polygons]
    file.write_text(json.dumps(content))


@pytest.mark.long
def test_loop_of_corrections(run, project, folder):
    data = {"name": "loop", "images": folder / "images", "masks": folder / "masks", "table": folder / "cases.csv"}
    common = {f"data.{name}": str(value) for name, value in data.items()}
    common |= {"split.protocol": "given", "reporting.register": "loop"}
    run(env="custom", params={**common, "data_root": "data/first"})
    weights = project / "data" / "first" / "06_models" / "network.safetensors"

    out = folder.parent / "out"
    command = ["predict", folder / "new", out, "--weights", weights, "--annotations", "labelme", "--rank"]
    done = CliRunner().invoke(main, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    ranking = pd.read_csv(out / "ranking.csv")
    assert len(ranking) == 6
    assert ranking["disagreement"].is_monotonic_decreasing

    subsets = [*SUBSETS]
    for name in ranking["image"].head(2).str.removesuffix(".png"):
        number = int(name.removeprefix("case_"))
        file = out / "labelme" / f"{name}.json"
        correct(file, synthesize_case(number).mask)
        shutil.copy(folder / "new" / f"{name}.png", folder / "images")
        shutil.copy(file, folder / "masks")
        subsets[number - 1] = "train"
    write_table(folder, subsets)

    run(env="custom", params={**common, "training.init_from": str(weights), "data_root": "data/second"})
    second = project / "data" / "second"
    native = np.load(second / "03_primary" / "native_masks.npz")
    corrected = [number for number, subset in enumerate(subsets, 1) if subset == "train" and number > 18]
    assert len(corrected) == 2
    for number in corrected:
        mask, truth = native[f"case_{number}"].astype(bool), synthesize_case(number).mask
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) >= 0.99
    network = load_network(second / "06_models" / "network.safetensors")
    assert len(network.metadata.seen) == 10
    assert network.metadata.initialized_from

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    verdicts = [client.get_model_version("loop", str(number)).tags["compared_with_champion"] for number in (1, 2)]
    assert verdicts[0] == "the first of its name"
    assert "version 1" in verdicts[1]
    assert "Dice" in verdicts[1]
    ids = [client.get_model_version("loop", str(number)).tags["run_id"] for number in (1, 2)]
    compared = {"comparison.baseline": ids[0], "comparison.candidate": ids[1], "data_root": "data/second"}
    run(env="custom", params={**common, **compared}, pipeline_names=["comparison"])
    comparison = pd.read_csv(second / "08_reporting" / "comparison.csv").set_index(["subset", "metric"])
    assert comparison.loc[("test", "dice"), "n"] == 6
    assert comparison.loc[("train", "dice"), "n"] == 8  # the corrected cases have no counterpart
