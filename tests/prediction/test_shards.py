"""Predictions over Dask's workers: the bytes of one process, each picture once, also where a worker is killed."""

import pandas as pd
import pytest
from click.testing import CliRunner
from kill import WorkerKiller, child_that_writes

from lesion_segmentation.cli import main
from lesion_segmentation.prediction import shards

pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")


def masks_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_shards_on_two_workers_of_which_one_is_killed_give_the_bytes_of_one(many_pictures, tmp_path, monkeypatch):
    source, weights = many_pictures
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    result = CliRunner().invoke(main, ["predict", str(source), str(alone), "--weights", str(weights)])
    assert result.exit_code == 3, result.output
    monkeypatch.setattr(shards, "SHARD", 10)
    killer = WorkerKiller(child_that_writes(shared, lambda: any(shared.rglob("*_mask.png"))))
    killer.start()
    options = ["--weights", str(weights), "--workers", "2"]
    result = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])
    assert result.exit_code == 3, result.output
    assert killer.killed
    assert masks_of(shared) == masks_of(alone)
    tables = [pd.read_csv(folder / "predictions.csv").drop(columns="seconds") for folder in (alone, shared)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == tables[0]["picture"].nunique() == 40
    assert list(pd.read_csv(shared / "failures.csv")["picture"]) == ["bad.png"]
    again = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])  # nothing but the bad one is left
    assert again.exit_code == 3
    assert masks_of(shared) == masks_of(alone)
