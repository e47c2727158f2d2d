"""Complete runs of conf/demo and conf/overfit, which show that their networks learn."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kornia.filters import otsu_threshold
from PIL import Image

from lesion_segmentation.evaluation import score_case

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.long


@pytest.fixture
def run_environment(project):
    """Return a function for `kedro run --env ...` with the committed configuration."""

    def run(env: str) -> pd.DataFrame:
        catalog = project / "conf" / env / "catalog.yml"
        catalog.write_text((ROOT / "conf" / env / catalog.name).read_text())
        bootstrap_project(project)
        with KedroSession.create(project, env=env) as session:
            session.run()
        table = pd.read_csv(project / "data" / env / "08_reporting" / "table_ii.csv")
        return table[table["threshold_role"] == "network"].set_index(["subset", "average"])

    return run


def test_demo_network_is_better_than_otsus_threshold(run_environment, project):
    table = run_environment("demo")
    images, masks = (np.load(project / "data" / "demo" / "03_primary" / f"{name}.npz") for name in ("images", "masks"))
    split = pd.read_csv(project / "data" / "demo" / "05_model_input" / "split.csv")
    test = split.loc[split["subset"] == "test", "case_id"]
    otsu = np.mean([score_case(otsu_lesion(images[case_id]), masks[case_id] > 0)["dice"] for case_id in test])
    assert otsu < 0.70
    # It was 0.85 to 0.87 on the processors tried; rounding changes so short a training by a few percentage points.
    assert table.loc[("test", "per_image"), "dice"] >= 0.80
    assert (project / "data" / "demo" / "08_reporting" / "report.html").is_file()


def test_overfit_network_learns_four_cases_by_heart(run_environment):
    table = run_environment("overfit")
    assert table.loc[("train", "per_image"), "n"] == 4
    assert table.loc[("train", "per_image"), "dice"] >= 0.99


def otsu_lesion(image: np.ndarray) -> np.ndarray:
    """Return the pixels that are darker than Otsu's threshold."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    _, threshold = otsu_threshold(torch.tensor(grey).float()[None, None], nbins=256)
    return grey <= float(threshold)
