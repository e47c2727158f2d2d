"""The catalog and the pipelines as they are declared, without running anything."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from lesion_segmentation.hooks.checks import PARAMETER_GROUPS
from lesion_segmentation.pipeline_registry import register_pipelines
from lesion_segmentation.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
LAYERS = ["raw", "primary", "model_input", "models", "model_output", "reporting"]
FIXED_NAMES = {
    "ph2_images", "ph2_masks", "ph2_annotations", "cases", "images", "masks", "dataset_passport", "split", "samples",
    "sample_images", "sample_masks", "training_history", "network", "probabilities", "case_metrics", "table_ii",
}  # fmt: skip
FOLDERS = {
    "cases": "data/03_primary/cases.csv",
    "split": "data/05_model_input/split.csv",
    "samples": "data/05_model_input/samples.csv",
    "training_history": "data/08_reporting/training_history.csv",
    "network": "data/06_models/network.safetensors",
    "case_metrics": "data/08_reporting/case_metrics.csv",
    "table_ii": "data/08_reporting/table_ii.csv",
}


def config(env: str, **runtime_params: Any) -> OmegaConfigLoader:
    arguments = CONFIG_LOADER_ARGS | {"runtime_params": runtime_params}
    return OmegaConfigLoader(str(ROOT / "conf"), env=env, **arguments)


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return config("base")["catalog"]


def test_every_dataset_of_every_pipeline_is_in_the_catalog(catalog):
    datasets = {name for pipeline in register_pipelines().values() for name in pipeline.datasets()}
    used = {name for name in datasets if not name.startswith("params:")}
    assert used == set(catalog)


def test_every_group_of_parameters_is_used_and_known():
    used = {name.removeprefix("params:") for name in register_pipelines()["__default__"].inputs() if ":" in name}
    assert used == set(PARAMETER_GROUPS) == set(config("base")["parameters"])


def test_fixed_names_and_places(catalog):
    assert set(catalog) >= FIXED_NAMES
    assert {name: catalog[name]["filepath"] for name in FOLDERS} == FOLDERS


def test_folders_from_05_on_follow_the_data_root():
    moved = config("base", data_root="/elsewhere")["catalog"]
    for name, entry in moved.items():
        path = entry.get("filepath", entry.get("path", ""))
        assert path.startswith("/elsewhere/") == any(f"/0{layer}_" in path for layer in (5, 6, 7, 8)), name


def test_no_edge_goes_from_a_later_layer_to_an_earlier_one(catalog):
    """kedro-viz drops all layers otherwise."""
    layer = {
        name: LAYERS.index(entry["metadata"]["kedro-viz"]["layer"])
        for name, entry in catalog.items()
        if "metadata" in entry
    }
    for node in [node for pipeline in register_pipelines().values() for node in pipeline.nodes]:
        for source in set(node.inputs) & set(layer):
            for target in set(node.outputs) & set(layer):
                assert layer[source] <= layer[target], f"{node.name}: {source} -> {target}"


def test_each_pipeline_is_a_box_and_the_default_is_all_four():
    pipelines = register_pipelines()
    four = ["data_processing", "augmentation", "training", "reporting"]
    assert list(pipelines) == ["__default__", *four, "comparison", "cross_validation"]
    for name in list(pipelines)[1:]:
        assert {node.namespace for node in pipelines[name].nodes} == {name}
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in four)


@pytest.mark.parametrize("env", ["base", "cpu", "demo", "paper", "overfit"])
def test_environments_only_override(env):
    """No key of an environment is unknown to base."""
    base = config("base")["parameters"]
    for path in (ROOT / "conf" / env).glob("parameters*.yml"):
        for group, values in yaml.safe_load(path.read_text()).items():
            assert set(values) <= set(base[group]), path


def test_an_environment_keeps_the_keys_it_does_not_name():
    training = config("cpu", training={"epochs": 3})["parameters"]["training"]
    assert (training["epochs"], training["width"], training["loss"]) == (3, 0.25, "bce_dice")


def test_commands_start_without_torch_and_mlflow():
    """What `kedro registry list` and kedro-viz import: settings, registry, pipelines and the catalog's classes."""
    code = (
        "import sys; from pathlib import Path\n"
        "from kedro.framework.startup import bootstrap_project\n"
        f"bootstrap_project(Path({str(ROOT)!r}))\n"
        "from kedro.framework.project import pipelines\n"
        "import lesion_segmentation.cli, lesion_segmentation.settings, lesion_segmentation.datasets\n"
        "assert len(dict(pipelines)) == 7\n"
        "print(sorted({'torch', 'mlflow', 'lightning', 'kornia'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
