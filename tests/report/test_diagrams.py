"""Diagrams of the data flow and of the network, figures 1 and 3 of the paper."""

import io

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lesion_project.pipeline_registry import register_pipelines
from lesion_segmentation.model import SegNet
from lesion_segmentation.model.layers import summarize_layers
from lesion_segmentation.report.diagrams import draw_flow, draw_network


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_numbered_layer_is_a_labelled_bar():
    table = summarize_layers(SegNet(0.0625), 64, 96)
    saved = pd.read_csv(io.StringIO(table.to_csv(index=False)))  # as the catalog loads it
    figure = draw_network(saved)
    bars = [
        patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and round(patch.get_width(), 6) == 0.8
    ]
    assert len([bar for bar in bars if round(bar.get_x(), 6) != -0.4]) == 64
    assert [text for text in texts(figure) if text.isdigit()] == [str(number) for number in range(1, 65)]
    assert "64 layers" in figure.axes[0].get_title()
    assert "2 x 3 x 64" in texts(figure)  # output of the dense layers


@pytest.fixture
def steps() -> pd.DataFrame:
    pipelines = register_pipelines()
    return pd.DataFrame(
        [
            {"pipeline": name, "step": node.short_name, "inputs": node.inputs, "outputs": node.outputs}
            for name in ("data_processing", "augmentation", "training", "reporting")
            for node in pipelines[name].nodes
        ]
    )


def test_flow_shows_every_step_and_shared_dataset(steps):
    shown = "\n".join(texts(draw_flow(steps)))
    assert all(step in shown for step in steps["step"])
    assert "guarded_samples\nsample_images\nsample_masks" in shown
    assert "network\ntraining_history" in shown
