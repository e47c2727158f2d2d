"""Checks of parameters, inputs and outputs before a run does any work."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Pipeline

from lesion_project.datasets.atomic import file_of
from lesion_project.parameters import RUNTIME_PARAMETERS, SETTINGS
from lesion_project.tracking.store import resolve_uri
from lesion_segmentation.core.atomic_files import existing_parent
from lesion_segmentation.core.errors import InputError, find_input_error, pluralize
from lesion_segmentation.core.parameter_model import find_problems
from lesion_segmentation.core.recorded_settings import RENAMED_KEYS
from lesion_segmentation.data.annotations import parse_annotations
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import DEVELOPMENT, SplitSettings, split_cases
from lesion_segmentation.training.settings import TrainingSettings

RAW = ("ph2_images", "ph2_masks", "ph2_annotations")
_OWN_TYPES = "lesion_project.datasets."
MIN_FREE_MIB = 300
"""Free disk space, in MiB, that a run requires.

A run with training.width=0.25 writes about 150 MiB, and one with training.width=1.0 up to 900 MiB. If the disk fills
up, an error names the file that did not fit, and the previous version of the file is kept.
"""


class InputHooks:
    """Hooks that refuse a run that cannot succeed."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the parameters before Kedro does, because Kedro's messages are less specific."""
        import lesion_project.pipelines  # noqa: F401 (registers values that parameters may have)

        self._config: Mapping[str, Any] = context.config_loader
        self._parameters: Mapping[str, Any] = context.config_loader["parameters"]
        self._project = Path(context.project_path)
        _refuse_ineffective_parameters(self._parameters, context.config_loader.runtime_params or {})
        check_parameters(self._parameters)

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Refuse `versioned: true` for dataset types of this project, which keep no versions."""
        versioned = [
            name
            for name, entry in conf_catalog.items()
            if isinstance(entry, Mapping) and entry.get("versioned") and str(entry["type"]).startswith(_OWN_TYPES)
        ]
        if versioned:
            raise InputError(
                f"versioned: true is set for {', '.join(versioned)} in the catalog, but this project's dataset types "
                "keep no versions. Remove it: MLflow keeps the files of every run, and a run gets its own folder with "
                "--params data_root=<folder>."
            )

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check the runner, parameter names, inputs, output folders, hardware, export, network and batch size."""
        if "ParallelRunner" in str(run_params.get("runner")):
            raise InputError(
                "ParallelRunner cannot be used: its processes cannot log their outputs to the MLflow run. "
                "Omit --runner, or use ThreadRunner."
            )
        versions = run_params.get("load_versions") or ()
        if unversioned := [name for name in versions if getattr(catalog.get(name), "_version", None) is None]:
            raise InputError(f"--load-versions names {', '.join(unversioned)}, which keep no versions. Omit them.")
        known = (*SETTINGS, *RUNTIME_PARAMETERS)
        unknown = [name for name in self._parameters if name not in {*known, *_list_pipeline_parameters()}]
        if unknown:
            raise InputError(f"Unknown parameters: {', '.join(unknown)}. Expected one of: {', '.join(known)}.")
        missing = [name for name in RAW if name in pipeline.inputs() and not catalog.exists(name)]
        if missing:
            raise InputError(
                f"PH2 is missing: {', '.join(missing)} not found in data/01_raw/ph2.\n"
                "Import it with: make ph2 FROM=<folder or zip of PH2> (docs/tutorials/ph2.md says where to get PH2),\n"
                "or run on synthetic cases: kedro run --env demo"
            )
        _require_inputs(pipeline, catalog, run_params)
        tracking_uri = resolve_uri(self._config["mlflow"], self._project)
        files = [file_of(catalog, name) for name in pipeline.all_outputs()]
        store = {self._project} if tracking_uri.startswith("sqlite:") else set()  # a server has its own disk
        _check_folders({path.parent for path in files if path is not None} | store)
        _check_hardware(pipeline.inputs(), self._parameters)
        _check_export(pipeline, self._parameters)
        if "trained_networks" in pipeline.inputs():
            import mlflow

            mlflow.set_tracking_uri(tracking_uri)  # networks of earlier runs are read from this run's store
        if "params:training" in pipeline.inputs():
            settings = TrainingSettings(**self._parameters["training"])
            _check_network(settings, ImageSize(**self._parameters["image_size"]), catalog)
        if set(RAW) <= pipeline.inputs():
            catalog.load("ph2_images")  # raises an error for a missing folder of the user's own data
            if "network" in pipeline.all_outputs():
                _check_batch(catalog, self._parameters)


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise an InputError that lists all invalid values and unknown keys."""
    given = {name: parameters.get(name) or {} for name in SETTINGS}
    renamed = [name for name in parameters if name in RENAMED_KEYS and name not in SETTINGS]
    problems = [f"{name} was renamed. Use {RENAMED_KEYS[name]}." for name in renamed]
    problems += [problem for name, group in SETTINGS.items() for problem in find_problems(name, group, given[name])]
    if given["data"].get("consensus") == "soft" and given["augmentation"].get("copies"):
        problems.append("data.consensus is soft, which does not apply to copies. Use augmentation.copies=[].")
    if problems:
        raise InputError.from_problems("Invalid parameters", problems, "See conf/base for all parameters.")


def _require_inputs(pipeline: Pipeline, catalog: DataCatalog, run_params: Mapping[str, Any]) -> None:
    """Refuse a selection of nodes whose inputs do not exist.

    An input in memory exists only if a selected node makes it. With --only-missing-outputs, files may be missing,
    because the nodes that read them may be skipped.
    """
    from kedro.framework.project import pipelines

    inputs = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    missing = [name for name in inputs if _is_missing(catalog, name)]
    if in_memory := [name for name in missing if isinstance(catalog.get(name), MemoryDataset)]:
        nodes = [node for each in pipelines.values() for node in each.nodes if in_memory[0] in node.outputs]
        remedy = f"Start there: --from-nodes={nodes[0].name}" if nodes else "Select that node, too."
        raise InputError(f"{in_memory[0]} is kept in memory only, and the node that makes it is not selected. {remedy}")
    if missing and not run_params.get("only_missing_outputs"):
        makers = [name for name in pipelines if name != "__default__" and pipelines[name].all_outputs() & set(missing)]
        env = f" --env {run_params['env']}" if run_params["env"] else ""
        remedy = f"Run what makes them: kedro run{env} --pipelines={','.join(makers)}" if makers else "Add them first."
        problems = dict.fromkeys(_explain_missing(catalog, name) for name in missing)
        raise InputError.from_problems("Inputs of the selected nodes are missing", list(problems), remedy)


def _is_missing(catalog: DataCatalog, name: str) -> bool:
    """Return whether an input does not exist. Kedro takes datasets without `_exists` for missing, so they are not."""
    return type(catalog.get(name))._exists is not AbstractDataset._exists and not catalog.exists(name)


def _explain_missing(catalog: DataCatalog, name: str) -> str:
    """Return which file is missing, or why a dataset without a file cannot be loaded."""
    if file := file_of(catalog, name):
        return f"{name}: {file} does not exist."
    try:
        catalog.load(name)
    except DatasetError as error:
        return str(find_input_error(error) or error)
    return f"{name} does not exist."


def _refuse_ineffective_parameters(parameters: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Refuse parameters in a file that only have an effect on the command line: the catalog reads them from there."""
    idle = [name for name in RUNTIME_PARAMETERS if name in parameters and name not in runtime]
    given, on_command_line = parameters.get("data") or {}, runtime.get("data") or {}
    by_catalog = ("images", "masks", "table", "leave_out", "ignore")
    idle += [f"data.{name}" for name in by_catalog if given.get(name) and name not in on_command_line]
    if idle:
        raise InputError(
            f"{', '.join(idle)} in a parameters file has no effect. Remove it there, and set it on the command line: "
            f"--params {idle[0]}=..."
        )


def _list_pipeline_parameters() -> set[str]:
    """List the top-level parameters that registered pipelines use, including pipelines that the user added."""
    from kedro.framework.project import pipelines

    inputs = {name for pipeline in pipelines.values() for name in pipeline.inputs()}
    groups = {name.removeprefix("params:").partition(".")[0] for name in inputs if name.startswith("params:")}
    return groups - {"this_run"}


def _check_folders(folders: set[Path]) -> None:
    problems = []
    for folder in sorted(folders):
        parent = existing_parent(folder / "file")
        free = shutil.disk_usage(parent).free / 1024**2
        if not parent.is_dir():
            problems.append(f"{folder}: {parent} is a file, but a folder is needed")
        elif not os.access(parent, os.W_OK | os.X_OK):
            problems.append(f"{folder}: no permission to write in {parent}")
        elif free < MIN_FREE_MIB:
            problems.append(f"{folder}: {free:.0f} MiB free, but {MIN_FREE_MIB} MiB are needed")
    if problems:
        raise InputError.from_problems(
            "The outputs cannot be written",
            problems,
            "Free some space, get write permission, or choose another folder: --params data_root=<folder>",
        )


def _check_hardware(inputs: set[str], parameters: Mapping[str, Any]) -> None:
    """Refuse CUDA on a machine without a GPU."""
    for name in ("training", "prediction"):
        if f"params:{name}" in inputs and parameters[name]["device"] == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise InputError(f"{name}.device is cuda, but PyTorch finds no GPU. Use auto or cpu.")


def _check_export(pipeline: Pipeline, parameters: Mapping[str, Any]) -> None:
    """Refuse to export a network whose images are resized in a way that ONNX does not support."""
    exports = "network" in pipeline.all_outputs() and "exported_network" in pipeline.all_outputs()
    if exports and parameters["reporting"]["export"] and parameters["image_size"]["resizing"] == "lanczos":
        raise InputError(
            "reporting.export is true, but image_size.resizing is lanczos, which ONNX does not support. "
            "Use another resizing, or reporting.export=false."
        )


def _check_network(settings: TrainingSettings, image_size: ImageSize, catalog: DataCatalog) -> None:
    """Refuse a network that cannot be built, and initial weights that are missing or do not fit it."""
    import torch

    from lesion_segmentation.model import NetworkMetadata, build_network
    from lesion_segmentation.model.layers import require_heads
    from lesion_segmentation.training.initialization import choose_initialization

    with torch.device("meta"):  # allocates no weights
        network = build_network(NetworkMetadata(settings.architecture, settings.network_options))
    require_heads(network, image_size.height, image_size.width)
    if settings.half_size_epochs:
        try:
            require_heads(network, (image_size.height + 1) // 2, (image_size.width + 1) // 2)
        except InputError as error:
            raise InputError(
                f"training.half_size_fraction is {settings.half_size_fraction:g}, but {error} Use a larger "
                "image_size.height and image_size.width, or training.half_size_fraction=0."
            ) from error
    if settings.encoder_learning_rate is not None and not hasattr(network, "encoder"):
        raise InputError(
            f"training.encoder_learning_rate is set, but {settings.architecture} has no encoder. Use null."
        )
    pretrained_weights, trained_networks = catalog.load("pretrained_weights"), catalog.load("trained_networks")
    initialization = choose_initialization(pretrained_weights, trained_networks, settings)
    if initialization.pretrained is not None:
        network.load_pretrained(initialization.pretrained.tensors)


def _check_batch(catalog: DataCatalog, parameters: Mapping[str, Any]) -> None:
    """Split the cases by their annotations alone, and refuse a split with fewer training samples than a batch."""
    from lesion_segmentation.training.samples import require_sources

    try:
        loaded = catalog.load("ph2_annotations")
        annotations = parse_annotations(loaded) if isinstance(loaded, str) else loaded
    except InputError:
        return  # the run reports this together with all other problems when it reads the cases
    if not set(annotations["case_id"]) == set(catalog.load("ph2_images")) == set(catalog.load("ph2_masks")):
        return  # the run reports this, too
    if "source" not in annotations:
        annotations = annotations.assign(source=parameters["data"]["name"])
    require_sources(parameters["training"]["source_rates"], list(annotations["source"]))
    split = split_cases(annotations, SplitSettings(**parameters["split"]))
    seen = int(split["subset"].isin(["train", DEVELOPMENT]).sum()) * (1 + len(parameters["augmentation"]["copies"]))
    batch_size = parameters["training"]["batch_size"]
    if batch_size > seen:
        raise InputError(
            f"training.batch_size is {batch_size}, but the training set has only {pluralize(seen, 'sample')}. "
            f"Use at most {seen}."
        )
