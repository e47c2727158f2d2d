"""A user's own images in all pipelines, and everything that may be wrong with them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError
from mlflow import MlflowClient
from PIL import Image

from lesion_project.cli import cli
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import DataSettings, ImageSize, read_cases
from lesion_segmentation.data.sources import synthetic

ENDINGS = (".jpg", ".png", ".bmp", ".tif", ".webp")
MASKS = (".png", "_mask.png", "_segmentation.png", "_lesion.bmp", "_Mask.tiff")
CASES = 20


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Synthetic cases in five formats, at several depths, with blanks in their names, and a table."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for number in range(1, CASES + 1):
        case, name = synthetic.synthesize_case(number), f"lesion {number:03d}"
        image = folder / "images" / f"site {number % 3}" / f"{name}{ENDINGS[number % 5]}"
        mask = folder / "masks" / f"{name}{MASKS[number % 5]}"
        for path, pixels in ((image, case.image), (mask, case.mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
        diagnosis = ("nevus", "melanoma")[number // 2 % 2] if number > 1 else "melanoma"  # one diagnosis per patient
        rows.append({"case_id": name, "diagnosis": diagnosis, "group": f"patient {number // 2}", "camera": str(number)})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder


def locate(own: Path, table: bool = True) -> dict[str, str]:
    given = {"data.images": str(own / "images"), "data.masks": str(own / "masks")}
    return given | ({"data.table": str(own / "table.csv")} if table else {})


@pytest.mark.long
@pytest.mark.parametrize("table", [True, False])
def test_folder_of_images_passes_all_pipelines(run, project, own, table):
    run(env="custom", params={**locate(own, table), "data.name": "mine", "training.epochs": 1})
    root = project / "data" / "custom"
    cases = pd.read_csv(root / "03_primary" / "cases.csv", keep_default_na=False)
    assert len(cases) == CASES
    assert set(cases["source"]) == {"mine"}
    assert ("camera" in cases) == table
    split = pd.read_csv(root / "05_model_input" / "split.csv").merge(cases, on="case_id")
    assert split.groupby("group")["subset"].nunique().max() == 1
    page = (root / "08_reporting" / "report.html").read_text()
    assert "mine" in page
    assert "PH2 cases" not in page
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (tracked,) = client.search_runs([client.get_experiment_by_name("mine-segnet").experiment_id])
    assert tracked.info.status == "FINISHED"
    assert tracked.inputs.dataset_inputs[0].dataset.name == "mine"


def test_check_data_reports_all_problems_at_once(own, tmp_path):
    folder = tmp_path / "wrong"
    for path in sorted(own.rglob("*.*")):
        copy = folder / path.relative_to(own)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    images, masks = ({path.stem: path for path in sorted((folder / part).rglob("*.*"))} for part in ("images", "masks"))
    images["lesion 001"].unlink()
    next(path for name, path in masks.items() if name.startswith("lesion 002")).unlink()
    images["lesion 003"].write_bytes(images["lesion 003"].read_bytes()[:300])
    images["lesion 004"].write_bytes(b"")
    Image.new("CMYK", (40, 40)).save(images["lesion 006"].with_suffix(".tif"))
    images["lesion 006"].unlink()
    Image.new("L", (3, 3)).save(next(path for name, path in masks.items() if name.startswith("lesion 007")))
    grey = next(path for name, path in masks.items() if name.startswith("lesion 008"))
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(grey.with_suffix(".png"))
    if grey.suffix != ".png":
        grey.unlink()
    Image.open(images["lesion 009"]).save(images["lesion 010"].with_suffix(".png"))
    if images["lesion 010"].suffix != ".png":
        images["lesion 010"].unlink()
    table = pd.read_csv(folder / "table.csv")
    table = table[table["case_id"] != "lesion 011"]
    pd.concat([table, table.tail(1).assign(case_id="lesion 999")]).to_csv(folder / "table.csv", index=False)
    before = sorted(folder.rglob("*"))
    called = ["check-data", str(folder / "images"), str(folder / "masks"), str(folder / "table.csv")]
    done = CliRunner().invoke(cli, called)
    assert done.exit_code == 1
    for case, words in {
        "001": "a mask but no image", "002": "an image but no mask", "003": "cannot be read",
        "004": "cannot be read", "006": "CMYK", "007": "expected the same size", "008": "grey values found",
        "010": "identical to that of lesion 009", "011": "not found in the table", "999": "neither an image nor a mask",
    }.items():  # fmt: skip
        assert any(case in line and words in line for line in done.output.splitlines()), (case, words, done.output)
    assert sorted(folder.rglob("*")) == before


def test_check_data_describes_valid_data_and_writes_nothing(own, project):
    bootstrap_project(project)
    before = sorted(own.rglob("*"))
    done = CliRunner().invoke(cli, ["check-data", str(own / "images"), str(own / "masks"), str(own / "table.csv")])
    assert done.exit_code == 0, done.output
    assert f"{CASES} cases" in done.output
    assert "10 groups" in done.output or "11 groups" in done.output
    assert sorted(own.rglob("*")) == before
    assert not (project / "data" / "custom").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.images": None}, "No folder of images is given"),
        ({"data.images": "/nowhere"}, "/nowhere is not a folder"),
        ({"data.name": "a/b"}, r"data\.name"),
    ],
)
def test_missing_folder_is_reported_before_any_work(run, project, own, change, message):
    given = {name: value for name, value in (locate(own) | change).items() if value is not None}
    with pytest.raises((InputError, DatasetError), match=message):  # the command line unwraps the second
        run(env="custom", params=given)
    assert not (project / "data" / "custom").exists()


def test_duplicate_file_names_are_refused_at_any_depth(own, tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / part / "one.png")
    done = CliRunner().invoke(cli, ["check-data", str(tmp_path), str(own / "masks")])
    assert done.exit_code == 1
    assert "one: there are two files, a/one.png and b/one.png" in done.output


def test_other_pixels_with_ids_of_ph2_are_not_named_ph2():
    made = {f"IMD{number:03d}": synthetic.synthesize_case(number) for number in (2, 3)}
    read = read_cases(
        {name: (lambda case=case: Image.fromarray(case.image)) for name, case in made.items()},
        {name: (lambda case=case: Image.fromarray(case.mask)) for name, case in made.items()},
        pd.DataFrame({"case_id": list(made), "diagnosis": "nevus"}),
        ImageSize(height=64, width=96),
        DataSettings(),
    )
    assert set(read.cases["source"]) == {"not PH2"}
