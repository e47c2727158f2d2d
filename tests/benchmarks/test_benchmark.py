"""Tests that the benchmarks run and count correctly. Speed itself is not tested."""

import re
import signal
import subprocess
import time
from copy import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.pipeline import Node, Pipeline
from PIL import Image

from benchmarks import card, growth, stages
from benchmarks.busy import REPEATS, WARM_UP, busy, print_times
from benchmarks.networks import NETWORKS, OTHERS, build, count_gflop
from benchmarks.speed import Case, add_ratios, measure
from lesion_project.hooks.progress import ProgressHooks
from lesion_segmentation.model import ARCHITECTURES, segnet


def test_stages_from_a_file_to_its_mask_are_timed(tmp_path):
    Image.fromarray(np.full((48, 64, 3), 150, np.uint8)).save(tmp_path / "image.png")
    times = stages.time_stages(tmp_path / "image.png")
    assert len(times) == 8
    assert all(milliseconds >= 0 for milliseconds in times.values())


def test_count_gflop_agrees_with_a_hand_count_and_grows_with_squared_width():
    convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
    assert count_gflop(convolution) == pytest.approx(2 * 3 * 8 * 9 * 192 * 256 / 1e9)
    assert 14 < count_gflop(build("segnet", 0.5)) / count_gflop(build("segnet", 0.125)) < 16.5


@pytest.mark.parametrize("width", [0.25, 0.5])
def test_monai_unet_has_about_the_arithmetic_of_segnet(width):
    segnet, unet = (count_gflop(build(name, width)) for name in NETWORKS)
    assert unet == pytest.approx(segnet, rel=0.1)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", ["training", "inference", "inference, eager float32"])
def test_measure_times_every_task(task, network):
    row = measure(Case(task, network, 0.0625, 2))
    assert row["ms_per_image"] > 0
    assert row["peak_mb"] > 100
    if "eager" in task:
        assert row["precision"] == "32-true"


@pytest.mark.parametrize("task", ["training", "prediction"])
def test_measurements_for_a_gpu_run_without_one(task):
    row = card.measure_card(card.Measurement(task, "segnet", 0.0625, 2, compiled=False))
    assert row["images_per_second"] == pytest.approx(1e3 / row["ms_per_image"])
    assert row["first_seconds"] > 0


@pytest.mark.parametrize("network", OTHERS)
def test_measure_times_every_architecture(network):
    assert measure(Case("inference", network, 0.0625, 2))["gflop"] > 0
    assert {build(name, 0.0625).metadata.architecture for name in (*NETWORKS, *OTHERS)} == set(ARCHITECTURES)


def test_ratios_use_the_median_multiply_rate_of_their_precision():
    rows = [("training", 30.0, 900.0), ("inference", 10.0, 1000.0), ("inference", 20.0, 1100.0)]
    speed = pd.DataFrame(rows, columns=["task", "ms_per_image", "multiply_gflops"]).assign(precision="b", gflop=4.0)
    assert list(add_ratios(speed)["ratio"]) == pytest.approx([2.5, 2.5, 5.0])  # 4 GFLOP at 1,000 GFLOP/s: 4 ms


def test_step_is_timed_alone_and_beside_a_busy_process(capsys):
    naps: list[None] = []
    print_times("a nap", lambda: naps.append(time.sleep(0.001)), images=2)
    assert re.fullmatch(r"a nap: \d+\.\d ms per image alone, .* times\n", capsys.readouterr().out)
    assert len(naps) == 2 * (WARM_UP + REPEATS)


def test_busy_processes_end_after_an_error(monkeypatch):
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with pytest.raises(KeyError), busy(2):
        raise KeyError
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def test_keras_network_has_the_channels_of_segnet():
    """The script runs without PyTorch, so it repeats the channels."""
    source = (Path(__file__).parents[2] / "benchmarks" / "keras_step.py").read_text()
    network = segnet.DECODER, segnet.ENCODER, segnet.DENSE
    assert f"DECODER = {network[0]}" in source
    assert f"ENCODER = {network[1]}" in source
    assert f"DENSE = {network[2]}" in source


def test_growth_reads_the_seconds_of_each_stage_from_the_log(caplog):
    caplog.set_level("INFO", "lesion_segmentation")
    hooks = ProgressHooks()
    nodes = [Node(copy, "a", "b", name="one"), Node(copy, "b", "c", name="two"), Node(copy, "c", "d", name="alone")]
    pipeline = Pipeline(nodes[:2], namespace="stage") + Pipeline(nodes[2:])
    hooks.before_pipeline_run(pipeline)
    for node in pipeline.nodes:
        hooks.before_node_run(node)
        hooks.after_node_run(node)
    assert dict(growth.find_stages("\n".join(caplog.messages))) == {"stage": 0.0, "alone": 0.0}
