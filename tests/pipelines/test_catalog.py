"""Configuration, catalog and pipelines as they are declared, without a run."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from kedro.framework.startup import bootstrap_project
from kedro.io import AbstractDataset, DataCatalog, MemoryDataset
from kedro_viz.data_access import DataAccessManager
from kedro_viz.integrations.kedro.data_loader import load_data
from kedro_viz.server import populate_data
from PIL import Image

import lesion_project.datasets
from lesion_project.configuration import ProjectConfigLoader
from lesion_project.hooks.checks import check_parameters
from lesion_project.parameters import SETTINGS
from lesion_project.pipeline_registry import register_pipelines
from lesion_project.settings import CONFIG_LOADER_ARGS
from lesion_project.tracking.description import nest
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import NetworkMetadata, build_network, check_options
from lesion_segmentation.training.settings import SEGNET_OPTIONS, TrainingSettings

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted(path.parent.name for path in ROOT.glob("conf/*/parameters*.yml") if path.parent.name != "local")
LAYERS = ["01_raw", "03_primary", "05_model_input", "06_models", "07_model_output", "08_reporting"]
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
    """Return the configuration of every dataset of the pipelines."""
    resolver = DataCatalog.from_config(dict(config(env, **runtime_params)["catalog"])).config_resolver
    return {name: resolver.resolve_pattern(name) for name in sorted(used_names())}


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return resolved("base")


def test_catalog_declares_exactly_the_datasets_of_the_pipelines(catalog):
    assert all(entry["type"] for entry in catalog.values())
    declared = {name for name in config("base")["catalog"] if "{" not in name and not name.startswith("_")}
    assert declared <= used_names() | {"training_checkpoint"}  # which nodes get in params:this_run.training


def test_only_the_comparison_loads_from_mlflow(catalog):
    found = {name for name, entry in catalog.items() if entry["type"].endswith("RunArtifact")}
    assert found == {
        f"{run}_{name}" for run in ("baseline", "candidate") for name in ("case_metrics", "predicted_masks")
    }


def test_preview_accepts_the_arguments_of_the_catalog(catalog):
    for name, entry in catalog.items():
        given = entry.get("metadata", {}).get("kedro-viz", {}).get("preview_args", {})
        kind = AbstractDataset.from_config("any", {**entry, "filepath": f"{name}.csv"}) if given else None
        if kind is not None:
            inspect.signature(kind.preview).bind(**given)


def test_every_dataset_type_survives_a_round_trip_through_its_configuration():
    types = set()
    for env in ("base", "demo", "custom", "isic_and_ph2"):
        entries = resolved(env, comparison={"baseline": "f0", "candidate": "f1"}) | {
            "training_checkpoint": config(env)["catalog"]["training_checkpoint"]
        }
        catalog = DataCatalog.from_config(entries)
        first = {name: catalog.get(name) for name in catalog}  # datasets are created on access
        text = yaml.safe_dump(catalog.to_config()[0], sort_keys=False)
        again = DataCatalog.from_config(yaml.safe_load(text))
        second = {name: again.get(name) for name in again}
        assert {name: repr(dataset) for name, dataset in first.items() if not isinstance(dataset, MemoryDataset)} == {
            name: repr(dataset) for name, dataset in second.items()
        }
        assert yaml.safe_dump(again.to_config()[0], sort_keys=False) == text
        types |= {type(dataset) for dataset in second.values()}
    assert types >= {kind for kind in vars(lesion_project.datasets).values() if isinstance(kind, type)}


def test_fixed_names_are_catalog_entries():
    assert set(config("base")["catalog"]) >= FIXED_NAMES


def test_parameter_models_are_those_that_pipelines_use():
    inputs = {name for pipeline in register_pipelines().values() for name in pipeline.inputs()}
    used = {name.removeprefix("params:") for name in inputs if ":" in name}
    assert used | {"sweep"} == set(SETTINGS) | {"this_run.training", "this_run.record"}
    assert set(config("base")["parameters"]) == {*SETTINGS, "data_root"}


@pytest.mark.parametrize("group", SETTINGS)
def test_defaults_of_parameter_models_equal_conf_base(group):
    given = config("base")["parameters"][group]
    fields = SETTINGS[group].model_fields
    assert set(given) == set(fields)  # conf/base lists every parameter
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()
                if not field.is_required()}  # fmt: skip
    settings = SETTINGS[group](**given)
    if group == "prediction":  # without conf, None means the value that is stored with the weights
        assert defaults.pop("test_time_augmentation") is defaults.pop("keep_largest_component") is None
    assert {name: getattr(settings, name) for name in defaults} == defaults
    assert [name for name, field in fields.items() if field.is_required()] == (["protocol"] if group == "split" else [])


def test_fixed_file_paths(catalog):
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
def test_environments_share_only_01_raw(env, given, root):
    for name, entry in resolved(env, **given).items():
        path = str(entry.get("filepath", entry.get("path", "")))
        if "/01_raw/" in path:
            assert path.startswith("data/01_raw/"), name
        elif path:
            assert path == root or path.startswith((f"{root}/03_", f"{root}/05_", f"{root}/06_", f"{root}/07_",
                                                    f"{root}/08_")), name  # fmt: skip


def test_kedro_viz_reports_the_layers_of_every_pipeline_in_order():
    """kedro-viz adds a node per namespace, and shows no layers if that makes a cycle of layers."""
    bootstrap_project(ROOT)
    catalog, pipelines, extras = load_data(ROOT, "demo")
    manager = DataAccessManager()
    populate_data(manager, catalog, pipelines, extras)
    shown = {}
    for name in pipelines:
        manager.create_modular_pipelines_tree_for_registered_pipeline(name)
        nodes = manager.get_nodes_for_registered_pipeline(name)
        used = {node.layer for node in nodes if getattr(node, "layer", None)}
        shown[name] = [layer for layer in manager.get_sorted_layers_for_registered_pipeline(name) if layer in used]
        assert shown[name] == sorted(used), name
        assert used, name
    assert shown["__default__"] == LAYERS


def test_pipelines_are_namespaces_and_the_default_is_the_first_four():
    pipelines = register_pipelines()
    four = ["data_processing", "augmentation", "training", "reporting"]
    assert list(pipelines) == [
        "__default__",
        *four,
        "comparison",
        "cross_validation",
        "diagnosis",
        "prediction",
        "prediction_with_truth",
    ]
    for name in list(pipelines)[1:]:
        assert {node.namespace.split(".")[0] for node in pipelines[name].nodes} == {name.removesuffix("_with_truth")}
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in four)


def test_reporting_has_namespaces_that_tags_select():
    reporting = register_pipelines()["reporting"]
    parts = {"prediction", "scores", "tables", "figures", "page", "export"}
    assert {node.namespace for node in reporting.nodes} == {f"reporting.{part}" for part in parts}
    for part in parts:
        chosen = reporting.filter(tags=[part])
        assert {node.namespace for node in chosen.nodes} == {f"reporting.{part}"}
    made = reporting.filter(tags=["figures"]).all_outputs()
    assert made
    assert all(name.endswith("#figure") for name in made)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_environment_has_valid_parameters_a_catalog_and_a_network(env):
    parameters = config(env)["parameters"]
    check_parameters(parameters)
    DataCatalog.from_config(resolved(env))
    settings = TrainingSettings(**parameters["training"])
    with torch.device("meta"):
        network = build_network(NetworkMetadata(settings.architecture, settings.network_options))
    options = network.metadata.options
    given = {name: parameters["training"][name] for name in SEGNET_OPTIONS}
    assert given == {name: options.get(name) for name in SEGNET_OPTIONS}


@pytest.mark.parametrize("env", [env for env in ENVIRONMENTS if env != "base"])
def test_every_environment_overrides_base_and_begins_with_its_purpose(env):
    (path,) = (ROOT / "conf" / env).glob("parameters*.yml")
    first, rest = path.read_text().split("\n", 1)
    assert re.fullmatch(r"# [A-Z].*\.", first)
    base = config("base")["parameters"]
    assert all(set(values) <= set(base[name]) for name, values in yaml.safe_load(rest).items())


def test_parameters_that_an_environment_does_not_set_come_from_base():
    training = config("cpu", training={"epochs": 3})["parameters"]["training"]
    assert (training["epochs"], training["width"], training["optimizer"]) == (3, 0.25, "adamw")


def test_accurate_with_200_epochs_is_the_published_model_scratch():
    training = config("accurate", training={"epochs": 200})["parameters"]["training"]
    options = {"architecture": "segnet_skip", "width": 0.25, "unpooling": "indices", "logit_batch_norm": False,
               "epochs": 200, "loss": "bce_iou"}  # fmt: skip
    assert training == config("base")["parameters"]["training"] | options


def test_recipe_of_the_released_network_is_isic_and_ph2_with_documented_parameters():
    text = (ROOT / "conf" / "isic_and_ph2" / "parameters.yml").read_text()
    given = nest(dict(item.split("=") for item in re.search('--params "(.*)"', text)[1].split(",")))
    given["split"]["validation_cases"], given["data"]["leave_out"] = int(given["split"]["validation_cases"]), None
    loader = config("isic_and_ph2", **given)
    check_parameters(loader["parameters"])
    split = {"protocol": "isic2018", "scored_source": "ISIC 2018", "validation_cases": 200, "fold": 0, "seed": 0}
    assert loader["parameters"]["split"] == split
    assert loader["catalog"]["ph2_images"]["sources"]["ISIC 2018"]["leave_out"] is None
    kept = config("isic_and_ph2")["catalog"]["ph2_masks"]["sources"]["ISIC 2018"]["leave_out"]
    assert kept == "isic2018_reserved"


@pytest.mark.parametrize(
    ("env", "given"), [("base", {"architecture": "unet_lite"}), ("unet", {}), ("unet", {"epochs": 3})]
)
def test_architecture_without_the_options_of_base_ignores_them(env, given):
    training = config(env, training=given)["parameters"]["training"]
    assert [training[name] for name in SEGNET_OPTIONS] == [None] * 3
    assert not set(TrainingSettings(**training).network_options) & set(SEGNET_OPTIONS)
    assert TrainingSettings(architecture="unet_lite").network_options == {}


@pytest.mark.parametrize(
    ("env", "given", "name"),
    [
        ("cpu", {"architecture": "unet_lite"}, "width"),
        ("unet", {"width": 1.0}, "width"),
        ("local", {"architecture": "unet_lite", "width": 0.5}, "width"),  # it has no parameters file
        ("base", {"architecture": "monai", "options": {"network": "BasicUNet"}, "unpooling": "nearest"}, "unpooling"),
    ],
)
def test_architecture_refuses_options_it_lacks_from_environment_or_command_line(env, given, name):
    settings = TrainingSettings(**config(env, training=given)["parameters"]["training"])
    with pytest.raises(InputError, match=rf"The options of {settings.architecture} .*\n.*{name}: no such parameter"):
        check_options(settings.architecture, settings.network_options)


RENAMED = {
    "training.begin_from": "training.init_from",  # renamed
    "prediction.single_lesion": "prediction.keep_largest_component",  # renamed
    "training.seen_per_epoch": "training.source_rates",  # renamed
    "training.on_the_fly": "training.online_augmentation",  # renamed
    "training.optimiser": "training.optimizer",  # renamed
    "prediction.outline": "prediction.annotation_style",  # renamed
    "split.drawn_from": "split.scored_source",  # renamed
}


@pytest.mark.parametrize("old", RENAMED)
def test_former_name_of_a_parameter_is_refused_with_its_new_name(old):
    with pytest.raises(InputError, match=f"{old} was renamed. Use {RENAMED[old]}."):
        check_parameters(config("base", **nest({old: "x"}))["parameters"])


def test_former_names_of_a_group_an_option_and_a_value_are_refused_with_their_new_names():
    with pytest.raises(InputError, match=r"inference was renamed\. Use prediction\."):
        check_parameters(config("base", inference={"device": "cpu"})["parameters"])
    with pytest.raises(InputError, match=r"scaling is 'standardised', .* renamed\. Use 'standardized'\."):
        check_parameters(config("base", training={"scaling": "standardised"})["parameters"])  # renamed
    with pytest.raises(InputError, match=r"outlines was renamed\. Use annotation_styles\."):
        check_options("segnet_skip", {"outlines": ["PH2"]})


HEAVY = ("torch", "mlflow", "lightning", "kornia", "scipy", "matplotlib", "skimage", "sklearn", "monai", "plotly")


def list_imported(statements, modules, cwd=ROOT):
    """Return which of these modules a new process imports that runs the statements in a project."""
    code = (
        "import sys; from pathlib import Path\n"
        "from kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(Path.cwd())\n"
        f"{statements}\n"
        f"print(sorted(set({modules!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import lesion_project.cli, lesion_project.settings", (*HEAVY, "pandas", "kedro_datasets")),
        ("from kedro.framework.project import pipelines; assert len(dict(pipelines)) == 10", HEAVY),
        ("import lesion_project.datasets", HEAVY),
    ],
)
def test_commands_import_only_what_they_need(statement, absent):
    """`kedro --help` imports settings and commands, `kedro registry list` the pipelines, kedro-viz the catalog."""
    assert list_imported(statement, absent) == "[]"


@pytest.mark.after_a_run
def test_run_imports_only_what_its_nodes_need(project):
    """MLflow itself imports scipy, but not scipy.stats, which takes longer than the rest of scipy."""
    statement = "from lesion_project.cli import run; run({!r}, standalone_mode=False)"
    absent = {*HEAVY, "scipy.stats"} - {"mlflow", "scipy"}
    describe = ["--env", "demo", "--nodes", "describe_dataset"]
    assert list_imported(statement.format(describe), absent, project) == "[]"
    draw = ["--env", "demo", "--nodes", "draw_split"]
    assert list_imported(statement.format(draw), absent | {"matplotlib.pyplot"}, project) == "['matplotlib']"


def test_prediction_without_tracking_imports_neither_catalog_nor_mlflow(project):
    Image.new("RGB", (64, 48), (220, 180, 160)).save(project / "image.png")
    statement = "from lesion_project.cli import cli; cli({!r}, standalone_mode=False)"
    command = statement.format(["predict", "image.png", "masks", "--no-tracking"])
    assert list_imported(command, {*HEAVY, "pandas", "kedro_datasets"} - {"torch", "scipy"}, project) == "[]"
    assert (project / "masks" / "image_mask.png").is_file()
