"""Predictions over Dask's workers: the bytes of one process, each picture once, also where a worker is killed."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kill import WorkerKiller, child_that_writes
from PIL import Image

from lesion_segmentation.inference import shards
from lesion_segmentation.model import NetworkMetadata, build_network, save_network
from lesion_segmentation.script import main

pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")


@pytest.fixture
def asked_for(tmp_path):
    folder, generator = tmp_path / "in", np.random.default_rng(0)
    for number in range(60):
        path = folder / f"{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40 + number, 70, 3), dtype=np.uint8)).save(path)
    (folder / "bad.png").write_bytes(b"no picture")
    weights = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 0.0625}, (64, 96))), weights)
    return folder, weights


def masks_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


@pytest.mark.slow
def test_shards_on_two_workers_of_which_one_is_killed_are_the_bytes_of_one_process(asked_for, tmp_path, monkeypatch):
    source, weights = asked_for
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    result = CliRunner().invoke(main, ["predict", str(source), str(alone), "--weights", str(weights)])
    assert result.exit_code == 3, result.output
    monkeypatch.setattr(shards, "SHARD", 20)
    killer = WorkerKiller(child_that_writes(shared, lambda: any(shared.rglob("*_mask.png"))))
    killer.start()
    options = ["--weights", str(weights), "--workers", "2"]
    result = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])
    assert result.exit_code == 3, result.output
    assert killer.killed
    assert masks_of(shared) == masks_of(alone)
    tables = [pd.read_csv(folder / "predictions.csv").drop(columns="seconds") for folder in (alone, shared)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == tables[0]["picture"].nunique() == 60
    assert list(pd.read_csv(shared / "failures.csv")["picture"]) == ["bad.png"]
    again = CliRunner().invoke(main, ["predict", str(source), str(shared), *options])  # nothing but the bad one is left
    assert again.exit_code == 3
    assert masks_of(shared) == masks_of(alone)
