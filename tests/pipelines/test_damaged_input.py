"""Messages of `kedro run` about damaged cases, which are read from files through the catalog of conf/base."""

import shutil
from pathlib import Path
from typing import Any

import damage
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, SYNTHETIC
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image

from lesion_project.configuration import ProjectConfigLoader
from lesion_project.pipeline_registry import register_pipelines
from lesion_project.settings import CONFIG_LOADER_ARGS
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources import synthetic

COUNT = 25


@pytest.fixture(scope="session")
def original_folder(tmp_path_factory) -> Path:
    """Synthetic cases as files in the layout of PH2, made once."""
    folder = tmp_path_factory.mktemp("synthetic") / "ph2"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, case_id in enumerate(synthetic.case_ids(COUNT), start=1):
        case = synthetic.synthesize_case(number)
        Image.fromarray(case.image).save(damage.image_of(folder, case_id))
        Image.fromarray(case.mask).save(damage.mask_of(folder, case_id))
    (folder / "PH2_dataset.txt").write_text(synthetic.annotations_text(COUNT))
    return folder


@pytest.fixture
def folder(project, original_folder) -> Path:
    """Synthetic cases in the folder and layout of PH2."""
    return Path(shutil.copytree(original_folder, project / "data" / "01_raw" / "ph2"))


@pytest.fixture
def process(project, folder) -> Any:
    """Return a function that runs the node read_cases on the catalog of conf/base, with outputs in memory."""
    pipeline = register_pipelines()["data_processing"].filter(node_names=["data_processing.read_cases"])
    loader = ProjectConfigLoader(str(project / "conf"), env="base", **CONFIG_LOADER_ARGS)
    raw = {name: loader["catalog"][name] for name in ("ph2_images", "ph2_masks", "ph2_annotations")}
    for entry in raw.values():
        entry.update({key: str(project / entry[key]) for key in ("path", "filepath") if key in entry})

    def process() -> pd.DataFrame:
        catalog = DataCatalog.from_config(raw)
        catalog["params:image_size"] = SMALL
        catalog["params:data"] = SYNTHETIC
        outputs = SequentialRunner().run(pipeline, catalog)
        return outputs["cases"].load().set_index("case_id")

    return process


@pytest.mark.parametrize("harm", damage.DAMAGES, ids=lambda harm: harm.__name__)
def test_each_kind_of_damage_is_reported_with_a_remedy(harm, process, folder):
    expected = harm(folder, "SYN007")
    with pytest.raises(InputError) as caught:
        process()
    report = str(caught.value)
    assert expected in report
    assert ": 1 problem\n" in report
    assert "Fix or replace these files" in report


def test_all_damaged_files_are_in_one_report(process, folder):
    expected = [harm(folder, f"SYN{number:03d}") for number, harm in enumerate(damage.DAMAGES, start=2)]
    with pytest.raises(InputError) as caught:
        process()
    assert "10 problems" in str(caught.value)
    assert [text for text in expected if text not in str(caught.value)] == []


def test_jpeg_named_bmp_is_read_by_its_content(process, folder):
    path = damage.image_of(folder, "SYN003")
    Image.open(path).save(path, "JPEG", quality=95)
    assert "SYN003" in process().index


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_masks_in_24_bit_and_with_a_palette_are_read(process, folder, mode):
    path = damage.mask_of(folder, "SYN003")
    Image.open(path).convert(mode).save(path)
    assert process().loc["SYN003", "lesion_area"] == pytest.approx(synthetic.synthesize_case(3).mask.mean())


def test_damaged_case_leaves_outputs_of_an_earlier_run_unchanged(run, project, folder):
    only = {"params": {"split.protocol": "stratified"}, "pipeline_names": ["data_processing"]}
    run(env="cpu", **only)
    primary = project / "data" / "cpu" / "03_primary"
    before = {path.name: path.read_bytes() for path in primary.iterdir()}
    damage.truncate_image(folder, "SYN002")
    with pytest.raises(InputError):
        run(env="cpu", **only)
    assert {path.name: path.read_bytes() for path in primary.iterdir()} == before


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_masks_are_accepted(process, folder, value):
    path = damage.mask_of(folder, "SYN003")
    Image.fromarray(np.full(synthetic.synthesize_case(3).mask.shape, value, np.uint8)).save(path)
    assert process().loc["SYN003", "lesion_area"] == value / 255


def test_split_without_training_cases_is_refused(run, folder):
    with pytest.raises(InputError, match="nothing would be left for training"):
        run(env="cpu", params={"split.protocol": "folds", "split.validation_cases": COUNT})


def test_run_reports_damage_before_the_split(run, project, folder):
    """The split also fails without melanomas, but the damage is the cause."""
    melanomas = [case_id for case_id in synthetic.case_ids(COUNT) if int(case_id[3:]) % 5 == 4]
    expected = [damage.remove_image(folder, case_id) for case_id in melanomas]
    with pytest.raises(InputError) as caught:
        run(env="cpu", params={"split.protocol": "stratified"})
    assert [text for text in expected if text not in str(caught.value)] == []
    assert not (project / "data" / "cpu" / "03_primary").exists()
