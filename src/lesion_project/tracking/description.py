"""Name, tags, test scores and description of a run in MLflow."""

import getpass
import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lesion_project.parameters import RUNTIME_PARAMETERS
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.data.splits import leaks, split_hash
from lesion_segmentation.data.summary import data_hash
from lesion_segmentation.evaluation.tables import SCORES, at_network_threshold

UNKNOWN = "unknown"

_NAMED_APART = ("training.seed", "split.fold", "split.protocol", *RUNTIME_PARAMETERS)
"""Parameters that a run's name mentions in words of its own or omits."""

_SELECTIONS = ("node_names", "tags", "namespaces", "from_nodes", "to_nodes", "from_inputs", "to_outputs")
"""Options of `kedro run` that select a part of a pipeline."""

_OPEN_MAPPINGS = ("training.source_rates.", "training.options.")
"""Parameters whose keys users choose. A key alone is not informative, so the name shows the parameter, too."""
_INTERNAL = ("parent_run", "tracked_run")
"""Parameters that this project sets, and a user's command never has."""


@dataclass(frozen=True)
class Description:
    """A run's name and tags, including MLflow's own tags for source, user and description."""

    name: str
    tags: dict[str, str]


def describe_run(command: str, run_params: Mapping[str, Any], parameters: Mapping[str, Any], root: Path) -> Description:
    """Describe a run so that it can be distinguished from others. Its name starts with what differs between runs.

    `run_params` have the form that Kedro passes to hooks, and `parameters` are the nested ones that the run uses.
    """
    environment = "base" if run_params.get("env") in (None, "local") else str(run_params["env"])
    selection = _selection(run_params)
    given = dict(run_params.get("runtime_params") or {})
    if given.pop("predict_arguments", None):  # the names of a user's files are not recorded
        command = "predict IN OUT"
        given = {name: value for name, value in given.items() if name != "data_root"}
    runtime = {
        name: hide_passwords(value) if isinstance(value, str) else value for name, value in flatten(given).items()
    }
    kedro_command = _kedro_command(command, run_params, runtime)
    commit, changed = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    clean = changed in ("", UNKNOWN)
    tags = {
        "environment": environment,
        "pipelines": selection,
        "git_commit": commit,
        "git_dirty": {"": "false", UNKNOWN: UNKNOWN}.get(changed, "true"),
        "kedro_command": kedro_command,
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": f"`{kedro_command}`\n\nat commit {commit}{'' if clean else ' with uncommitted changes'}",
    }
    if commit != UNKNOWN:
        tags["mlflow.source.git.commit"] = commit
    if "training" in parameters:
        tags["seed"] = str(parameters["training"]["seed"])
    parts = [word for word in (command.split()[0], selection) if word not in ("run", "all")]
    words = [*_differences(parameters, runtime), environment, *parts]
    return Description(f"{' '.join(words)} {datetime.now():%m-%d %H:%M}", tags)


def describe_resuming(run_params: Mapping[str, Any]) -> str:
    """Return the command that resumes the training of an interrupted run."""
    resumed = merge(run_params.get("runtime_params") or {}, {"training": {"resume": True}})
    return _kedro_command("run", run_params, flatten(resumed))


def describe_dataset(name: str, data: Any) -> dict[str, str]:
    """Return the tags that identify the cases, the split or the network of a run; none for other datasets."""
    match name:
        case "cases":
            return {"data_hash": data_hash(data)}
        case "split":
            protocol = str(data["protocol"].iloc[0])
            return {"split_hash": split_hash(data), "protocol": protocol, "leak": str(leaks(protocol)).lower()}
        case "network":
            return {"trained_by": data.metadata.mlflow_run_id, "network": data.title}
    return {}


def describe_device(training: Mapping[str, Any]) -> str:
    """Name the device and the precision that these training parameters select on this machine."""
    import torch

    from lesion_segmentation.core.hardware import choose_hardware

    device, precision = choose_hardware(training["device"], training["precision"])
    return f"{torch.cuda.get_device_name() if device == 'cuda' else device} {precision}"


def select_test_scores(table_ii: pd.DataFrame) -> dict[str, float]:
    """Return test_dice, test_dice_pooled and so on at the network's threshold; none if no test case was scored."""
    test = at_network_threshold(table_ii[table_ii["subset"] == "test"])
    suffixes = {"per_image": "", "pooled": "_pooled"}
    return {
        f"test_{score}{suffixes[str(row.average)]}": float(getattr(row, score))
        for row in test.itertuples()
        for score in SCORES
    }


def _differences(parameters: Mapping[str, Any], runtime: Mapping[str, Any]) -> list[str]:
    """List fold or protocol, seed, and each parameter of the command line under the last part of its name."""
    split = parameters.get("split", {})
    protocol = split.get("protocol", "")
    words = [f"fold {split['fold']}"] if protocol == "folds" and "fold" in split else []
    words += [f"seed {parameters['training']['seed']}"] if "training" in parameters else []
    changed = {name: value for name, value in runtime.items() if name not in _NAMED_APART}
    shown = {name: ".".join(name.split(".")[-2 if name.startswith(_OPEN_MAPPINGS) else -1 :]) for name in changed}
    ends = Counter(shown.values())
    for name, value in changed.items():
        end = shown[name]
        short = f"{value:.4g}" if isinstance(value, float) else value  # a search samples sixteen digits
        words.append(f"{end if ends[end] == 1 else name}={short}")
    return words if protocol in ("", "folds") else [*words, protocol]


def _selection(run_params: Mapping[str, Any]) -> str:
    """Name the pipelines and the options that select a part of them, or "all" for the whole default pipeline."""
    pipelines = [",".join(run_params.get("pipeline_names") or [])]
    parts = [f"{name.replace('_', ' ')} {','.join(run_params[name])}" for name in _SELECTIONS if run_params.get(name)]
    return " ".join(filter(None, [*pipelines, *parts])) or "all"


def _kedro_command(command: str, run_params: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    """Return the command that repeats this run, even if it was started from Python. Lists have no command-line form."""
    words = ["kedro", *command.split()]
    if run_params.get("env"):
        words += ["--env", str(run_params["env"])]
    for name in ("pipeline_names", *_SELECTIONS):
        if run_params.get(name):
            option = {"pipeline_names": "pipelines", "node_names": "nodes"}.get(name, name.replace("_", "-"))
            words += [f"--{option}", ",".join(run_params[name])]
    if run_params.get("only_missing_outputs"):
        words.append("--only-missing-outputs")
    if "ThreadRunner" in str(run_params.get("runner")):
        words += ["--runner", "ThreadRunner"]
    if "folds" in run_params:
        words += ["--folds", run_params["folds"]]
    given = [f"{name}={'null' if value is None else value}" for name, value in runtime.items() if name not in _INTERNAL]
    return shlex.join([*words, *(["--params", ",".join(given)] if given else [])])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user of a container may have no name
        return UNKNOWN


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or the project is not a repository
        return UNKNOWN


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Convert {"a.b": 1} to {"a": {"b": 1}}, like Kedro's --params."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def merge(common: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested parameters. Values of `over` take precedence."""
    merged = dict(common)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Convert {"a": {"b": 1}} to {"a.b": 1}, and lists to JSON."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
