"""The catalog and the pipelines as they are declared, without running anything."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.io import AbstractDataset, DataCatalog

from lesion_project.configuration import ProjectConfigLoader
from lesion_project.parameters import SETTINGS
from lesion_project.pipeline_registry import register_pipelines
from lesion_project.settings import CONFIG_LOADER_ARGS

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


def config(env: str, **runtime_params: Any) -> ProjectConfigLoader:
    return ProjectConfigLoader(str(ROOT / "conf"), env=env, runtime_params=runtime_params, **CONFIG_LOADER_ARGS)


def used_names() -> set[str]:
    names = {name for pipeline in register_pipelines().values() for name in pipeline.datasets()}
    return {name for name in names if not name.startswith("params:")}


def resolved(env: str, **runtime_params: Any) -> dict[str, dict[str, Any]]:
    """Every data set that a pipeline names, patterns filled in."""
    resolver = DataCatalog.from_config(dict(config(env, **runtime_params)["catalog"])).config_resolver
    return {name: resolver.resolve_pattern(name) for name in sorted(used_names())}


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return resolved("base")


def test_every_dataset_of_every_pipeline_is_in_the_catalog_and_no_other(catalog):
    assert all(entry["type"] for entry in catalog.values())
    declared = {name for name in config("base")["catalog"] if "{" not in name and not name.startswith("_")}
    assert declared <= used_names() | {"training_checkpoint"}  # given as params:this_run.checkpoint


def test_only_what_two_runs_left_is_looked_for_in_mlflow(catalog):
    found = {name for name, entry in catalog.items() if entry["type"].endswith("RunArtifact")}
    assert found == {
        f"{run}_{name}" for run in ("baseline", "candidate") for name in ("case_metrics", "predicted_masks")
    }


def test_every_preview_can_be_called_with_what_the_catalog_gives_it(catalog):
    for name, entry in catalog.items():
        given = entry.get("metadata", {}).get("kedro-viz", {}).get("preview_args", {})
        kind = AbstractDataset.from_config("any", {**entry, "filepath": f"{name}.csv"}) if given else None
        if kind is not None:
            inspect.signature(kind.preview).bind(**given)


def test_every_fixed_name_is_an_entry_of_its_own():
    assert set(config("base")["catalog"]) >= FIXED_NAMES


def test_every_group_of_parameters_is_used_and_known():
    inputs = {name for pipeline in register_pipelines().values() for name in pipeline.inputs()}
    used = {name.removeprefix("params:") for name in inputs if ":" in name}
    assert used | {"sweep"} == set(SETTINGS) | {f"this_run.{name}" for name in ("callbacks", "record", "checkpoint")}
    assert set(config("base")["parameters"]) == {*SETTINGS, "data_root"}


@pytest.mark.parametrize("group", SETTINGS)
def test_a_value_stands_in_conf_base_or_in_the_settings_never_differently_in_both(group):
    given = config("base")["parameters"][group]
    fields = SETTINGS[group].model_fields
    assert set(given) == set(fields)  # conf/base shows everything that can be set
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()
                if not field.is_required()}  # fmt: skip
    settings = SETTINGS[group](**given)
    assert {name: getattr(settings, name) for name in defaults} == defaults
    assert [name for name in fields if name not in defaults] == (["protocol"] if group == "split" else [])


def test_fixed_places(catalog):
    assert {name: catalog[name]["filepath"] for name in FOLDERS} == FOLDERS


@pytest.mark.parametrize(
    ("env", "given", "root"),
    [
        ("base", {}, "data"),
        ("local", {}, "data"),
        ("demo", {}, "data/demo"),
        ("base", {"data_root": "/elsewhere"}, "/elsewhere"),
        ("demo", {"data_root": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_every_environment_has_data_of_its_own_and_01_raw_is_shared(env, given, root):
    for name, entry in resolved(env, **given).items():
        path = str(entry.get("filepath", entry.get("path", "")))
        if "/01_raw/" in path:
            assert path.startswith("data/01_raw/"), name
        elif path:
            assert path == root or path.startswith((f"{root}/03_", f"{root}/05_", f"{root}/06_", f"{root}/07_",
                                                    f"{root}/08_")), name  # fmt: skip


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
    assert list(pipelines) == [
        "__default__",
        *four,
        "comparison",
        "cross_validation",
        "prediction",
        "prediction_with_truth",
    ]
    for name in list(pipelines)[1:]:
        assert {node.namespace.split(".")[0] for node in pipelines[name].nodes} == {name.removesuffix("_with_truth")}
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in four)


def test_reporting_opens_in_parts_that_tags_select():
    reporting = register_pipelines()["reporting"]
    parts = {"prediction", "scores", "tables", "figures", "page", "export"}
    assert {node.namespace for node in reporting.nodes} == {f"reporting.{part}" for part in parts}
    for part in parts:
        chosen = reporting.filter(tags=[part])
        assert {node.namespace for node in chosen.nodes} == {f"reporting.{part}"}
    made = reporting.filter(tags=["figures"]).all_outputs()
    assert made
    assert all(name.endswith("#figure") for name in made)


@pytest.mark.parametrize("env", ["base", "cpu", "demo", "paper", "overfit", "pretrained"])
def test_environments_only_override(env):
    """No key of an environment is unknown to base."""
    base = config("base")["parameters"]
    for path in (ROOT / "conf" / env).glob("parameters*.yml"):
        for group, values in yaml.safe_load(path.read_text()).items():
            assert set(values) <= set(base[group]), path


def test_an_environment_keeps_the_keys_it_does_not_name():
    training = config("cpu", training={"epochs": 3})["parameters"]["training"]
    assert (training["epochs"], training["width"], training["loss"]) == (3, 0.25, "bce_iou")


HEAVY = ("torch", "mlflow", "lightning", "kornia", "scipy", "matplotlib", "sklearn", "monai")


@pytest.mark.parametrize(
    ("what", "absent"),
    [
        ("import lesion_project.cli, lesion_project.settings", (*HEAVY, "pandas", "kedro_datasets")),
        ("from kedro.framework.project import pipelines; assert len(dict(pipelines)) == 9", HEAVY),
        ("import lesion_project.datasets", ("torch", "mlflow", "lightning", "kornia", "scipy")),
    ],
)
def test_commands_start_without_what_they_do_not_need(what, absent):
    """`kedro --help` imports settings and commands, `kedro registry list` the pipelines, kedro-viz the catalog."""
    code = (
        "import sys; from pathlib import Path\n"
        "from kedro.framework.startup import bootstrap_project\n"
        f"bootstrap_project(Path({str(ROOT)!r}))\n"
        f"{what}\n"
        f"print(sorted(set({absent!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
