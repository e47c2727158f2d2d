"""What is refused before any work is done."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

from lesion_project.datasets.file_paths import file_of
from lesion_project.parameters import RUNTIME_PARAMETERS, SETTINGS
from lesion_project.tracking.store import resolve_uri
from lesion_segmentation.core.atomic_files import existing_parent
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_problems
from lesion_segmentation.data.annotations import parse_annotations
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import DEVELOPMENT, SplitSettings, split_cases
from lesion_segmentation.training.settings import TrainingSettings

RAW = ("ph2_images", "ph2_masks", "ph2_annotations")
_OURS = "lesion_project.datasets."
MIN_FREE_MIB = 300
"""Less is refused: a run at a quarter of the width writes about 150. One at width 1.0 writes up to 900; if the disk
fills up on the way, the file that did not fit is named and the former one kept."""


class InputHooks:
    """Refuses unknown parameters, missing PH2, folders that cannot be written and splits that leave too little."""

    def __init__(self) -> None:
        self._parameters: Mapping[str, Any] = {}
        self._project = Path()
        self._store: Callable[[], str] = str

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember the parameters, and refuse impossible ones at once: Kedro would, but in its own words."""
        import lesion_project.pipelines  # noqa: F401 (it makes names known that parameters may have)

        self._parameters = context.config_loader["parameters"]
        self._project = Path(context.project_path)
        self._store = lambda: resolve_uri(context.config_loader["mlflow"], self._project)
        _require_on_the_command_line(self._parameters, context.config_loader.runtime_params or {})
        check_parameters(self._parameters)

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Refuse versions of data sets that would not keep any."""
        asked_for = [
            name
            for name, entry in conf_catalog.items()
            if isinstance(entry, Mapping) and entry.get("versioned") and str(entry["type"]).startswith(_OURS)
        ]
        if asked_for:
            raise InputError(
                f"versioned: true cannot be at {', '.join(asked_for)} of the catalog: this project's types keep no "
                "versions. Leave it out: MLflow keeps the files of every run, and --params data_root=<folder> gives "
                "a run a place of its own."
            )

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look at the runner, the names of the parameters, the raw data that this run reads, and where it writes."""
        if "ParallelRunner" in str(run_params.get("runner")):
            raise InputError(
                "ParallelRunner cannot be used: its processes could not tell MLflow what they made. Leave out "
                "--runner, or take ThreadRunner."
            )
        known = (*SETTINGS, *RUNTIME_PARAMETERS)
        unknown = [name for name in self._parameters if name not in {*known, *_asked_for_by_pipelines()}]
        if unknown:
            raise InputError(f"Unknown parameters: {', '.join(unknown)}. Expected one of: {', '.join(known)}")
        missing = [name for name in RAW if name in pipeline.inputs() and not catalog.exists(name)]
        if missing:
            raise InputError(
                f"PH2 is not in place: {', '.join(missing)} not found in data/01_raw/ph2.\n"
                "Bring it in with: make ph2 FROM=<folder or zip of PH2> (the README says where PH2 comes from),\n"
                "or run on synthetic cases: kedro run --env demo"
            )
        _require_in_reach(pipeline, catalog)
        files = [file_of(catalog, name) for name in pipeline.all_outputs()]
        store = {self._project} if self._store().startswith("sqlite:") else set()  # a server's is not written here
        _check_folders({path.parent for path in files if path is not None} | store)
        _check_hardware(pipeline.inputs(), self._parameters)
        _check_export(pipeline, self._parameters)
        if "params:inference" in pipeline.inputs():
            _open_store(self._store())
        if "params:training" in pipeline.inputs():
            settings, size = (
                TrainingSettings(**self._parameters["training"]),
                ImageSize(**self._parameters["image_size"]),
            )
            if settings.init_from is not None:
                _open_store(self._store())
            _check_network(settings, size, catalog)
        if set(RAW) <= pipeline.inputs():
            catalog.load("ph2_images")  # a folder of one's own that is not there is told at once
        if set(RAW) <= pipeline.inputs() and "network" in pipeline.all_outputs():
            _check_batch(catalog, self._parameters)


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the values of all groups of parameters.

    Raises:
        InputError: Values are impossible or keys unknown; all of them are in one report.
    """
    given = {name: parameters.get(name) or {} for name in SETTINGS}
    problems = [problem for name, group in SETTINGS.items() for problem in find_problems(name, group, given[name])]
    if problems:
        raise InputError.from_problems("These parameters cannot be", problems, "conf/base shows all parameters.")


def _require_in_reach(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Refuse to begin behind a node whose output is kept in memory only."""
    from kedro.framework.project import pipelines

    inputs = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    missing = [name for name in inputs if isinstance(catalog.get(name), MemoryDataset) and not catalog.exists(name)]
    if missing:
        makers = [node.name for node in pipelines["__default__"].nodes if missing[0] in node.outputs]
        begin = f"Begin there: --from-nodes={makers[0]}" if makers else "Select the node that makes it, too."
        raise InputError(f"{missing[0]} is kept in memory only, and what makes it is not selected. {begin}")


def _require_on_the_command_line(parameters: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Refuse parameters of a file that would have no effect there: the catalog is made from the command line's."""
    idle = [name for name in RUNTIME_PARAMETERS if name in parameters and name not in runtime]
    given, asked_for = parameters.get("data") or {}, runtime.get("data") or {}
    idle += [f"data.{name}" for name in ("images", "masks", "table") if given.get(name) and name not in asked_for]
    if idle:
        raise InputError(
            f"{', '.join(idle)}: this is given on the command line (--params {idle[0]}=...), but stands in a "
            "parameters file, where it would have no effect. Take it out there."
        )


def _asked_for_by_pipelines() -> set[str]:
    """Groups of parameters that any registered pipeline takes, one of the user's own, too, but for the run's own."""
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
            problems.append(f"{folder}: {parent} is a file, expected a folder")
        elif not os.access(parent, os.W_OK | os.X_OK):
            problems.append(f"{folder}: no permission to write in {parent}")
        elif free < MIN_FREE_MIB:
            problems.append(f"{folder}: {free:.0f} MiB free, {MIN_FREE_MIB} expected")
    if problems:
        raise InputError.from_problems(
            "The outputs cannot be written",
            problems,
            "Nothing was begun. Free some space or get permission; all of a run's files can stand elsewhere: "
            "--params data_root=<folder>",
        )


def _check_hardware(inputs: set[str], parameters: Mapping[str, Any]) -> None:
    """Refuse at once a device that is not there."""
    asked_for = [name for name in ("training", "prediction") if f"params:{name}" in inputs]
    if not asked_for:
        return
    import torch

    for name in asked_for:
        if parameters[name]["device"] == "cuda" and not torch.cuda.is_available():
            raise InputError(f"{name}.device is cuda, but PyTorch finds no GPU. Ask for auto or cpu.")


def _check_export(pipeline: Pipeline, parameters: Mapping[str, Any]) -> None:
    """Refuse at once to export what resizes in a way that the file could not."""
    asked_for = "network" in pipeline.all_outputs() and "exported_network" in pipeline.all_outputs()
    if asked_for and parameters["reporting"]["export"] and parameters["image_size"]["resizing"] == "lanczos":
        raise InputError("reporting.export is true, but image_size.resizing is lanczos, which ONNX does not know.")


def _open_store(tracking_uri: str) -> None:
    """Let earlier runs be looked for where this one will go to, before it has begun."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)


def _check_network(settings: TrainingSettings, image_size: ImageSize, catalog: DataCatalog) -> None:
    """Refuse at once a network that cannot be built, and weights that are not there or not for it."""
    import torch

    from lesion_segmentation.model import NetworkMetadata, build_network
    from lesion_segmentation.model.layers import require_maps
    from lesion_segmentation.training.initialization import choose_initialization

    with torch.device("meta"):  # its shapes alone
        network = build_network(NetworkMetadata(settings.architecture, settings.network_options))
    require_maps(network, image_size.height, image_size.width)
    if settings.encoder_learning_rate is not None and not hasattr(network, "encoder"):
        raise InputError(f"training.encoder_learning_rate is set, but {settings.architecture} has no encoder.")
    initialization = choose_initialization(catalog.load("encoders"), catalog.load("trained_networks"), settings)
    if initialization.encoder is not None:
        network.load_encoder(initialization.encoder.tensors)


def _check_batch(catalog: DataCatalog, parameters: Mapping[str, Any]) -> None:
    """Draw the split from the annotations alone, to refuse at once one that leaves less than a batch for training."""
    from lesion_segmentation.training.source_sampling import require_sources

    try:
        loaded = catalog.load("ph2_annotations")
        annotations = parse_annotations(loaded) if isinstance(loaded, str) else loaded
    except InputError:
        return  # the check of the cases names this, and all other faults with it
    if not set(annotations["case_id"]) == set(catalog.load("ph2_images")) == set(catalog.load("ph2_masks")):
        return  # the same
    if "source" not in annotations:
        annotations = annotations.assign(source=parameters["data"]["name"])
    require_sources(parameters["training"]["source_rates"], list(annotations["source"]))
    split = split_cases(annotations, SplitSettings(**parameters["split"]))
    seen = int(split["subset"].isin(["train", DEVELOPMENT]).sum()) * (1 + len(parameters["augmentation"]["copies"]))
    batch_size = parameters["training"]["batch_size"]
    if batch_size > seen:
        raise InputError(
            f"training.batch_size is {batch_size}, but there are only {seen} training samples. Choose a smaller batch."
        )
