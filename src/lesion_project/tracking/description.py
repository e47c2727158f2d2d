"""What a run is, in words: its name, its tags and its description in MLflow."""

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

from lesion_project.parameters import RUNTIME_PARAMETERS
from lesion_segmentation.core.storage import hide_passwords

UNKNOWN = "unknown"

_NAMED_APART = ("training.seed", "split.fold", "split.protocol", *RUNTIME_PARAMETERS)
"""Parameters that stand in a run's name in words of their own, or not at all."""

_SELECTIONS = ("node_names", "tags", "namespaces", "from_nodes", "to_nodes", "from_inputs", "to_outputs")
"""What of Kedro's run parameters chooses a part of a pipeline."""

_FREE = ("training.source_rates.", "training.options.")
"""Groups whose keys say nothing by themselves."""
_BY_US = ("parent_run", "tracked_run")
"""Parameters that a user's command never has."""


@dataclass(frozen=True)
class Description:
    """A run's name, and its tags, those with which MLflow knows source, user and description among them."""

    name: str
    tags: dict[str, str]


def describe_run(command: str, run_params: Mapping[str, Any], parameters: Mapping[str, Any], root: Path) -> Description:
    """What tells a run from others; what differs comes first in its name.

    Args:
        command: Of Kedro, such as run.
        run_params: As Kedro's hooks get them.
        parameters: The groups that the run takes.
        root: Of the project, for its commit.
    """
    environment = "base" if run_params.get("env") in (None, "local") else str(run_params["env"])
    selection = _selection(run_params)
    given = dict(run_params.get("runtime_params") or {})
    if given.pop("places", None):  # names of a user's files stand in no record
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
        "mlflow.note.content": f"`{kedro_command}`\n\nat commit {commit}{'' if clean else ', with changes'}",
    }
    if commit != UNKNOWN:
        tags["mlflow.source.git.commit"] = commit
    if "training" in parameters:
        tags["seed"] = str(parameters["training"]["seed"])
    what = [word for word in (command.split()[0], selection) if word not in ("run", "all")]
    words = [*_differences(parameters, runtime), environment, *what]
    return Description(f"{' '.join(words)} {datetime.now():%m-%d %H:%M}", tags)


def _differences(parameters: Mapping[str, Any], runtime: Mapping[str, Any]) -> list[str]:
    """Fold or protocol, seed and what the command changed, by the last part of its name."""
    split = parameters.get("split", {})
    protocol = split.get("protocol", "")
    words = [f"fold {split['fold']}"] if protocol == "folds" and "fold" in split else []
    words += [f"seed {parameters['training']['seed']}"] if "training" in parameters else []
    changed = {name: value for name, value in runtime.items() if name not in _NAMED_APART}
    shown = {name: ".".join(name.split(".")[-2 if name.startswith(_FREE) else -1 :]) for name in changed}
    ends = Counter(shown.values())
    for name, value in changed.items():
        end = shown[name]
        short = f"{value:.4g}" if isinstance(value, float) else value  # a search draws sixteen digits
        words.append(f"{end if ends[end] == 1 else name}={short}")
    return words if protocol in ("", "folds") else [*words, protocol]


def _selection(run_params: Mapping[str, Any]) -> str:
    """Which part of which pipelines, as the command chose it; all is the whole default pipeline."""
    pipelines = [",".join(run_params.get("pipeline_names") or [])]
    parts = [f"{name.replace('_', ' ')} {','.join(run_params[name])}" for name in _SELECTIONS if run_params.get(name)]
    return " ".join(filter(None, [*pipelines, *parts])) or "all"


def _kedro_command(command: str, run_params: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    """The command that makes this run, also where it was begun from Python; lists cannot be given on a command line."""
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
    given = [f"{name}={'null' if value is None else value}" for name, value in runtime.items() if name not in _BY_US]
    return shlex.join([*words, *(["--params", ",".join(given)] if given else [])])


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return UNKNOWN


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or a project that is no repository
        return UNKNOWN


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} to {"a": {"b": 1}}, as --params does."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def merge(common: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parameters, with those that go over them."""
    merged = dict(common)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
