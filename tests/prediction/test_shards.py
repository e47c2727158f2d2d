"""Predictions by Dask workers: the bytes of a single process and one row per image, even if a worker is killed."""

import pandas as pd
import pytest
from click.testing import CliRunner
from kill import WorkerKiller, find_busiest_child

from lesion_segmentation.cli import main
from lesion_segmentation.prediction import shards

pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")


def masks_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_workers_equal_single_process_after_kill(many_images, tmp_path, monkeypatch):
    source, weights = many_images
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    result = CliRunner().invoke(main, ["predict", str(source), str(alone), "--weights", str(weights)])
    assert result.exit_code == 3, result.output
    monkeypatch.setattr(shards, "SHARD_SIZE", 10)
    killer = WorkerKiller(find_busiest_child(lambda: any(shared.rglob("*_mask.png"))))
    killer.start()
    options = ["--weights", str(weights), "--workers", "2"]
    result = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])
    assert result.exit_code == 3, result.output
    assert killer.killed
    assert masks_of(shared) == masks_of(alone)
    tables = [pd.read_csv(folder / "predictions.csv").drop(columns="seconds") for folder in (alone, shared)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == tables[0]["image"].nunique() == 40
    assert list(pd.read_csv(shared / "failures.csv")["image"]) == ["bad.png"]
    again = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])  # one file is left
    assert again.exit_code == 3
    assert masks_of(shared) == masks_of(alone)
