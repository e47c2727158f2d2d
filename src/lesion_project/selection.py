"""What the options of `kedro run` select, checked before anything is loaded: a typo is told in a sentence."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lesion_segmentation.core.errors import InputError

NODE_OPTIONS = {"node_names": "--nodes", "from_nodes": "--from-nodes", "to_nodes": "--to-nodes"}


def check_environment(conf: Path, env: str | None) -> None:
    """Refuse an environment that has no folder.

    Raises:
        InputError: Names those that have.
    """
    if env is None or (conf / env).is_dir():
        return
    known = sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name != "local")
    raise InputError(f"--env is {env}, {_expected(env, known)}")


def check_selection(options: Mapping[str, Any], pipelines: Mapping[str, Any]) -> dict[str, Any]:
    """The options with every bare node name made whole, where it is unique.

    Raises:
        InputError: There is no such pipeline, node, tag or namespace; all are named.
    """
    problems: list[str] = []
    names = [*_split(options.get("pipelines")), *_split(options.get("pipeline"))]
    problems += [
        f"--pipelines has {name}, {_expected(name, list(pipelines))}" for name in names if name not in pipelines
    ]
    if problems:
        raise InputError.from_problems("What is asked for is not there", problems, "kedro registry list shows all.")
    nodes = [node for name in names or ["__default__"] for node in pipelines[name].nodes]
    whole = {node.name for node in nodes}
    checked = dict(options)
    for option, shown in NODE_OPTIONS.items():
        asked_for = _split(options.get(option))
        if asked_for:
            checked[option] = [_find_node(name, whole, shown, problems) for name in asked_for]
    tags = {tag for node in nodes for tag in node.tags}
    problems += [f"--tags has {tag}, {_expected(tag, tags)}" for tag in _split(options.get("tags")) if tag not in tags]
    spaces = {space for node in nodes for space in _namespaces(node.namespace)}
    problems += [
        f"--namespaces has {space}, {_expected(space, spaces)}"
        for space in _split(options.get("namespaces"))
        if space not in spaces
    ]
    if problems:
        raise InputError.from_problems(
            "What is asked for is not there", problems, "kedro registry describe lists the nodes of a pipeline."
        )
    return checked


def _find_node(name: str, whole: set[str], option: str, problems: list[str]) -> str:
    if name in whole:
        return name
    found = [each for each in whole if each.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    problems.append(f"{option} has {name}, {_expected(name, whole | {each.rpartition('.')[2] for each in whole})}")
    return name


def _namespaces(namespace: str | None) -> list[str]:
    """reporting.tables is in reporting, too."""
    parts = (namespace or "").split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _split(value: str | Iterable[str] | None) -> list[str]:
    if not value:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    return [part.strip() for part in parts if part.strip()]


def _expected(name: str, known: Iterable[str]) -> str:
    names = sorted(each for each in known if each)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of: {', '.join(names)}"
