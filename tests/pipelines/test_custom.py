"""A user's own images in all pipelines, and everything that may be wrong with them."""

import os
import unicodedata
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError
from mlflow import MlflowClient
from PIL import Image

from lesion_project.cli import cli
from lesion_project.cli import run as run_command
from lesion_project.datasets import OwnCases
from lesion_project.hooks.checks import check_parameters
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


@pytest.mark.long
def test_run_with_several_annotators_reports_their_agreement(run, project, tmp_path):
    synthetic.write_annotated_cases(tmp_path, 12)
    run(env="custom", params={**locate(tmp_path, table=False), "data.consensus": "soft", "training.epochs": 1})
    reporting = project / "data" / "custom" / "08_reporting"
    table = pd.read_csv(reporting / "annotators.csv")
    assert list(zip(table["first"], table["second"], strict=True))[2:4] == [
        ("shrunk", "smoothed"), ("prediction", "grown"),
    ]  # fmt: skip
    text = (reporting / "report.html").read_text()
    assert text.count('data-csv="annotators"') == table.size - 3 * len(table)
    assert '"grown": 12' in (reporting / "dataset_passport.json").read_text()


def test_soft_consensus_is_refused_with_copies():
    given = {"data": {"consensus": "soft"}, "augmentation": {"copies": ["rotated"]}}
    with pytest.raises(InputError, match=r"data\.consensus is soft, which does not apply to copies"):
        check_parameters(given)


def test_duplicate_file_names_are_refused_at_any_depth(own, tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / part / "one.png")
    done = CliRunner().invoke(cli, ["check-data", str(tmp_path), str(own / "masks")])
    assert done.exit_code == 1
    assert "one: there are two images, 'a/one.png' and 'b/one.png'" in done.output


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


def photograph(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(60, 230, (60, 80, 3), np.uint8))


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """Create the folders `images` and `masks` of twelve cases in the current folder, and table.csv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(12):
        photograph(number).save(tmp_path / "images" / f"c{number:02}.png")
        Image.fromarray(np.pad(np.full((9, 9 + number), 255, np.uint8), 20)[:60, :80]).resize((80, 60), 0).save(
            tmp_path / "masks" / f"c{number:02}.png"
        )
    write_table(tmp_path, [("test", "validation", "train", "train")[number % 4] for number in range(12)])
    return tmp_path


def write_table(folder: Path, subsets: list[str], **columns: list[str]) -> None:
    ids = [f"c{number:02}" for number in range(12)]
    table = pd.DataFrame({"case_id": ids, "diagnosis": ["nevus", "melanoma"] * 6, "subset": subsets, **columns})
    table.to_csv(folder / "table.csv", index=False, sep=";", encoding="utf-8-sig")


def check(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["check-data", "images", "masks", *arguments])
    return done.exit_code, done.output


def test_check_data_shows_the_size_of_each_subset(small):
    code, output = check("table.csv")
    assert code == 0, output
    assert "split.protocol=given       train 6, test 3, validation 3" in output


def test_check_data_reports_faults_of_files_table_subsets_and_groups_together(small):
    write_table(small, ["Test", "val", *["train"] * 5, *["test"] * 5], group=["p1", "p1", *"abcdefghi", "i"])
    text = (small / "table.csv").read_text()
    (small / "table.csv").write_text(text.replace("c09;", "c99;") + "c01;nevus;train;z\n")
    photograph(3).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(small / "images" / "c08.png")
    photograph(2).save(small / "images" / "c02.jpg")
    (small / "images" / "c04.png").write_bytes(b"")
    (small / "masks" / "c05.png").rename(small / "masks" / "c50.png")
    code, output = check("table.csv")
    assert code == 1
    for words in (
        "c02: there are two images, 'c02.jpg' and 'c02.png'", "table.csv: c01: it is listed twice",
        "c04: the image cannot be read", "c05: there is an image but no mask", "c50: there is a mask but no image",
        "c09: not found in the table", "c99: it is in the table, but there is neither an image nor a mask",
        "c00: the subset is 'Test', expected train, validation, test", "c01: the subset is 'val'",
        "group p1: it is in Test and val", "c03 (train) and c08 (test) are near-duplicates",
    ):  # fmt: skip
        assert words in output
    assert "make ph2" not in output


def test_ragged_or_missing_table_hides_no_other_fault(small):
    (small / "masks" / "c05.png").unlink()
    (small / "table.csv").write_text("case_id,diagnosis\nc00,nevus,\n")
    output = check("table.csv")[1]
    assert "table.csv: line 2: the number of cells is 3, expected 2" in output
    assert "c05: there is an image but no mask" in output
    assert "2 problems" in output
    assert (
        "/nowhere is not a folder, expected a folder of masks"
        in CliRunner().invoke(cli, ["check-data", "images", "/nowhere", "table.csv"]).output
    )


def test_absent_table_is_not_blamed(small):
    (small / "images" / "c05.png").unlink()
    _, output = check()
    assert "1 problem\n  - c05: there is a mask but no image" in output


def test_names_match_in_any_unicode_form_and_equal_names_are_refused(small):
    composed, decomposed = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))
    (small / "images" / "c01.png").rename(small / "images" / f"{decomposed}.png")
    (small / "masks" / "c01.png").rename(small / "masks" / f"{composed}_mask.png")
    (small / "table.csv").write_text((small / "table.csv").read_text().replace("c01", decomposed))
    assert check("table.csv")[0] == 0
    photograph(30).save(small / "images" / f"{composed}.png")
    output = check("table.csv")[1]
    assert r"there are two images, 'Gro\u0308\xdfe.png' and 'Gr\xf6\xdfe.png'" in output


def test_name_that_is_not_utf_8_is_reported_with_the_other_problems(small):
    try:
        os.rename("images/c01.png", b"images/c\xe9.png")
    except OSError:
        pytest.skip("this file system only takes names in UTF-8")
    code, output = check("table.csv")
    assert code == 1
    assert r"'c\udce9.png': the name is not valid UTF-8" in output
    assert "c01: there is a mask but no image" in output


def test_ignore_skips_files_whose_ending_check_data_names(small):
    for number in range(3):
        photograph(20 + number).save(small / "images" / f"c{number:02}_superpixels.png")
    code, output = check("table.csv")
    assert code == 1
    assert "3 files without a mask or an image end in _superpixels.png" in output
    assert "--ignore '*_superpixels.png'" in output
    assert check("table.csv", "--ignore", "*_none.png *_superpixels.png")[0] == 0
    params = "data.images=images,data.masks=masks,data.ignore=*_superpixels.png"
    option = next(option for option in run_command.params if option.name == "params")
    given = option.callback(click.Context(run_command), option, params)["data"]
    assert set(OwnCases("images", **given).load()) == {f"c{number:02}" for number in range(12)}


def test_remedy_for_grey_masks_makes_them_black_and_white(small):
    for path in sorted((small / "masks").iterdir())[:5]:
        Image.open(path).save(path.with_suffix(".jpg"), quality=50)
        path.unlink()
    output = check("table.csv")[1]
    assert "grey values found" in output
    lines = [line.removeprefix("    ") for line in output.splitlines() if line.startswith("    ")]
    exec("\n".join(lines))
    (small / "masks").rename(small / "jpeg")
    (small / "binary_masks").rename(small / "masks")
    assert check("table.csv")[0] == 0


def test_check_data_warns_of_a_split_that_will_fail(small):
    for number in range(1, 12, 2):  # all melanomas are near-duplicates
        Image.fromarray(np.asarray(photograph(1)) + np.uint8(number)).save(small / "images" / f"c{number:02}.png")
    pd.read_csv(small / "table.csv", sep=";").drop(columns="subset").to_csv(small / "table.csv", index=False)
    code, output = check("table.csv")
    assert code == 0, output
    assert "split.protocol=stratified  this split will fail: The split is stratified" in output
    assert "melanoma 6 in 1" in output
    assert "leak_guard.max_distance" in output


def test_linked_folders_are_read_and_other_files_are_named(small, tmp_path_factory, caplog):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (small / "images" / "c00.png").rename(elsewhere / "c00.png")
    (small / "images" / "more").symlink_to(elsewhere)
    (small / "images" / "c99.gif").write_bytes(b"")
    (small / "images" / "._c01.png").write_bytes(b"hidden")
    code, output = check()
    assert code == 0, output
    assert "12 cases" in output
    assert "1 file of images left out, such as c99.gif: its name must end in one of .jpg" in caplog.text
