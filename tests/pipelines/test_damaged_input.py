"""What `kedro run` says of damaged cases, read from files through the catalog of conf/base."""

from pathlib import Path
from typing import Any

import damage
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesion_segmentation.data import synthetic
from lesion_segmentation.errors import InputError

COUNT = 25


@pytest.fixture
def folder(project) -> Path:
    """Drawn cases in the place and form of PH2's files."""
    folder = project / "data" / "01_raw" / "ph2"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, case_id in enumerate(synthetic.case_ids(COUNT), start=1):
        case = synthetic.draw_case(number)
        Image.fromarray(case.image).save(damage.image_of(folder, case_id))
        Image.fromarray(case.mask).save(damage.mask_of(folder, case_id))
    (folder / "PH2_dataset.txt").write_text(synthetic.annotations_text(COUNT))
    return folder


@pytest.fixture
def process(run, project, folder) -> Any:
    """`kedro run --pipelines=data_processing` on the folder, giving the cases."""

    def process(**params: Any) -> pd.DataFrame:
        run(env="cpu", params={"split.protocol": "stratified", **params}, pipeline_names=["data_processing"])
        return pd.read_csv(project / "data" / "03_primary" / "cases.csv").set_index("case_id")

    return process


@pytest.mark.parametrize("harm", damage.DAMAGES, ids=lambda harm: harm.__name__)
def test_each_kind_of_damage_is_named_with_a_remedy_and_nothing_is_written(harm, process, project, folder):
    expected = harm(folder, "SYN007")
    with pytest.raises(InputError) as caught:
        process()
    report = str(caught.value)
    assert expected in report
    assert ": 1 problem\n" in report
    assert "Mend or replace these files" in report
    assert not (project / "data" / "03_primary").exists()


def test_all_damages_at_once_are_in_one_report(process, folder):
    expected = [harm(folder, f"SYN{number:03d}") for number, harm in enumerate(damage.DAMAGES, start=2)]
    with pytest.raises(InputError) as caught:
        process()
    assert "10 problems" in str(caught.value)
    assert [text for text in expected if text not in str(caught.value)] == []


def test_a_jpeg_named_bmp_is_read_by_its_content(process, folder):
    path = damage.image_of(folder, "SYN003")
    Image.open(path).save(path, "JPEG", quality=95)
    assert "SYN003" in process().index


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_masks_of_24_bit_and_with_a_palette_are_read_as_what_they_show(process, folder, mode):
    path = damage.mask_of(folder, "SYN003")
    Image.open(path).convert(mode).save(path)
    assert process().loc["SYN003", "lesion_area"] == pytest.approx(synthetic.draw_case(3).mask.mean())


def test_a_damaged_case_leaves_an_earlier_runs_outputs_whole(process, project, folder):
    process()
    primary = project / "data" / "03_primary"
    before = {path.name: path.read_bytes() for path in primary.iterdir()}
    damage.truncate_image(folder, "SYN002")
    with pytest.raises(InputError):
        process()
    assert {path.name: path.read_bytes() for path in primary.iterdir()} == before


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_masks_are_accepted(process, folder, value):
    path = damage.mask_of(folder, "SYN003")
    Image.fromarray(np.full(synthetic.draw_case(3).mask.shape, value, np.uint8)).save(path)
    assert process().loc["SYN003", "lesion_area"] == value / 255


def test_a_split_that_leaves_nothing_for_training_is_refused(process):
    with pytest.raises(InputError, match="nothing would be left for training"):
        process(**{"split.protocol": "folds", "split.validation_cases": COUNT})


def test_a_whole_run_reports_damage_before_it_looks_at_the_split(run, project, folder):
    """Without its melanomas the split could not be drawn: that must not hide why."""
    melanomas = [case_id for case_id in synthetic.case_ids(COUNT) if int(case_id[3:]) % 5 == 4]
    expected = [damage.remove_image(folder, case_id) for case_id in melanomas]
    with pytest.raises(InputError) as caught:
        run(env="cpu", params={"split.protocol": "stratified"})
    assert [text for text in expected if text not in str(caught.value)] == []
    assert not (project / "data" / "03_primary").exists()
