"""The store of predictions: claims, part files, exported tables."""

import json
import os
import socket
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.prediction import PredictionStore, list_input_images, store
from lesion_segmentation.prediction.input_images import ImageFile, SelectedImages

FILE = ImageFile(Path("a.png"), "a.png", (1, 2))


def claimed(folder: Path, kinds=("mask",)) -> PredictionStore:
    opened = PredictionStore(folder)
    opened.claim({"weights": "a"}, kinds)
    return opened


def finish(opened: PredictionStore, *files: ImageFile) -> tuple[int, int]:
    return opened.finish(SelectedImages([*files], [*files]))


def test_only_unfinished_files_of_killed_local_processes_are_removed(tmp_path):
    claimed(tmp_path)
    host = socket.gethostname()
    writers = (f"{host}-{os.getpid()}", f"{host}-{2**22 - 1}", f"{host}-2-{2**22 - 1}", f"elsewhere-{2**22 - 1}")
    unfinished = [tmp_path / ".predictions" / f"unfinished-{writer}-ab-0.png" for writer in writers]
    for path in unfinished:
        path.touch()
    claimed(tmp_path)
    assert [path.exists() for path in unfinished] == [True, False, True, True]


def test_failure_never_overrides_success_for_same_file(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (file,) = list_input_images(tmp_path / "a.png")
    first, second = claimed(tmp_path / "out"), claimed(tmp_path / "out")
    first.add(file, {"lesion_area": 5, "flag": ""})
    first.flush()
    second.add_failure(file, "read too early")
    assert finish(second, file) == (1, 0)
    assert second.find_remaining([file]) == []


def test_files_of_all_runs_on_the_same_image_count(tmp_path):
    for kinds in (("mask", "overlay"), ("mask", "probability")):
        store_of_run = claimed(tmp_path, kinds)
        store_of_run.add(FILE, {"lesion_area": 5, "flag": ""})
        store_of_run.flush()
    assert claimed(tmp_path, ("mask", "overlay", "probability")).find_remaining([FILE]) == []
    changed = ImageFile(FILE.path, FILE.name, (1, 3))
    assert claimed(tmp_path).find_remaining([changed]) == [changed]


def test_damaged_provenance_is_refused(tmp_path):
    claimed(tmp_path)
    for content in ("[", "[]"):
        (tmp_path / "predictions.json").write_text(content)
        with pytest.raises(InputError, match=r"predictions\.json is damaged"):
            claimed(tmp_path)


def test_other_provenance_is_refused_with_the_difference(tmp_path):
    claimed(tmp_path)
    with pytest.raises(InputError, match="weights: a there, b now"):
        PredictionStore(tmp_path).claim({"weights": "b"})
    (tmp_path / "predictions.json").write_text(json.dumps({"weights": "a", "format_version": 1}))
    with pytest.raises(InputError, match="format_version: 1 there, 2 now"):
        claimed(tmp_path)


def test_worker_without_shared_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist on a worker"):
        PredictionStore(tmp_path / "out").join({"weights": "a"})
    assert not (tmp_path / "out").exists()


def test_rows_are_flushed_by_count_and_by_age(tmp_path, monkeypatch):
    opened = claimed(tmp_path)
    parts = tmp_path / ".predictions"

    def flushed() -> list[int]:
        return sorted(len(path.read_text().splitlines()) for path in parts.glob("*.jsonl"))

    monkeypatch.setattr(store, "MAX_ROWS", 3)
    for number in range(4):
        opened.add(ImageFile(Path(), f"{number}.png"), {})
    assert flushed() == [3]
    monkeypatch.setattr(store, "MAX_SECONDS", 0)
    opened.add_failure(ImageFile(Path(), "4.png"), "bad")
    assert flushed() == [2, 3]


def test_row_counts_only_for_its_kinds_of_files(tmp_path):
    opened = claimed(tmp_path)
    opened.add(FILE, {})
    opened.flush()
    assert claimed(tmp_path, ("mask", "overlay")).find_remaining([FILE]) == [FILE]
    both = claimed(tmp_path, ("mask", "overlay"))
    both.add(FILE, {})
    both.flush()
    assert claimed(tmp_path).find_remaining([FILE]) == []


def test_stores_that_finish_at_once_export_each_row_once(tmp_path, monkeypatch):
    files = [ImageFile(tmp_path, f"{number}.png", (number, 0)) for number in range(6)]
    first, second, third = (claimed(tmp_path / "out") for _ in range(3))
    for file in files[:3]:
        first.add_failure(file, "bad")
        first.add(file, {"width": 1})
    first.flush()
    for file in files[2:5]:
        second.add(file, {"width": 2})
    third.add(files[5], {"width": 3})
    export = PredictionStore._export

    def export_while_third_flushes(self, *arguments):
        monkeypatch.setattr(PredictionStore, "_export", export)
        third.flush()
        export(self, *arguments)

    monkeypatch.setattr(PredictionStore, "_export", export_while_third_flushes)
    assert finish(second, *files) == (6, 0)
    assert finish(third, *files) == (6, 0)
    tables = second.read_tables()
    assert list(tables.table["width"]) == [1, 1, 2, 2, 2, 3]
    assert tables.failures.empty


@pytest.mark.parametrize("name", ["café.png", "a\udcffb.png", "x/y.png"])
def test_newest_row_counts_for_any_file_name(tmp_path, name):
    original, changed = ImageFile(tmp_path, name, (1, 2)), ImageFile(tmp_path, name, (1, 3))
    out = tmp_path / "out"
    opened = claimed(out)
    opened.add(original, {"width": 5, "left": "", "flag": ""})
    assert finish(opened, original) == (1, 0)
    assert os.fsencode(name) in (out / "predictions.csv").read_bytes()
    assert claimed(out).find_remaining([original]) == []
    assert claimed(out).find_remaining([changed]) == [changed]
    opened = claimed(out)
    opened.add_failure(changed, "it is damaged")
    assert finish(opened, changed) == (0, 1)  # the row of the original file no longer counts
    tables = opened.read_tables()
    assert (len(tables.table), list(tables.failures["reason"])) == (0, ["it is damaged"])
    opened = claimed(out)
    opened.add(changed, {"width": 7})
    assert finish(opened, changed) == (1, 0)
    tables = opened.read_tables()
    assert (list(tables.table["width"]), len(tables.failures)) == ([7], 0)
    for part in (out / ".predictions").glob("*.jsonl"):
        part.write_bytes(part.read_bytes()[:30])
    assert claimed(out).find_remaining([changed]) == [changed]  # damaged rows are predicted again


def test_missing_and_damaged_tables_are_refused(tmp_path):
    opened = claimed(tmp_path)
    with pytest.raises(InputError, match=r"contains no predictions: predictions\.csv is missing"):
        opened.read_tables()
    (tmp_path / "predictions.csv").write_text("")
    with pytest.raises(InputError, match="are damaged"):
        opened.read_tables()
    finish(opened)
    assert isinstance(opened.read_tables().table, pd.DataFrame)
