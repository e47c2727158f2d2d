"""Checks of the names that `kedro run` selects.

Kedro reports an unknown name with a stack trace, suggests no similar nodes, tags and namespaces, and ignores an unknown
tag beside a known one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from inspect import signature
from itertools import accumulate
from pathlib import Path
from typing import Any

from lesion_segmentation.core.errors import InputError

RUNNERS = ("SequentialRunner", "ThreadRunner", "ParallelRunner")
"""Runners of Kedro. A hook refuses the last one with the reason."""


def check_environment(conf: Path, env: str | None) -> None:
    """Raise an `InputError` if an environment is not the name of a folder in `conf`, such as a path to elsewhere."""
    if env is not None and conf.is_dir():  # Kedro also reads archives and object stores
        _require_known("environment", [env], [path.name for path in conf.iterdir() if path.is_dir()])


def check_runner(name: str, params: Mapping[str, Any]) -> None:
    """Raise an `InputError` for a runner that does not exist, or for parameters that it does not have."""
    from kedro.utils import load_obj

    if "." not in name:  # else it is the path of a class of the user's own
        _require_known("runner", [name], RUNNERS)
    try:
        runner = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The runner {name!r} cannot be imported: {error}. Check the name or omit --runner."
        ) from error
    _require_known(f"parameter of {name}", params, signature(runner).parameters)


def check_selection(options: Mapping[str, Any], pipelines: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `kedro run`, with the namespace added to each node name that is unique without it."""
    selected = [*_split(options.get("pipelines")), *_split(options.get("pipeline"))]
    _require_known("pipeline", selected, pipelines)
    nodes = [node for name in selected or ["__default__"] for node in pipelines[name].nodes]
    known = shorten_node_names(node.name for node in nodes)
    checked = dict(options)
    for option in ("node_names", "from_nodes", "to_nodes"):
        if requested := _split(options.get(option)):
            _require_known("node", requested, known)
            checked[option] = [known[name] for name in requested]
    _require_known("tag", _split(options.get("tags")), {tag for node in nodes for tag in node.tags})
    spaces = [accumulate(node.namespace.split("."), "{}.{}".format) for node in nodes if node.namespace]
    _require_known("namespace", _split(options.get("namespaces")), {name for levels in spaces for name in levels})
    inputs, outputs = ({name for node in nodes for name in getattr(node, kind)} for kind in ("inputs", "outputs"))
    _require_known("node input", _split(options.get("from_inputs")), inputs)
    _require_known("node output", _split(options.get("to_outputs")), outputs)
    return checked


def shorten_node_names(names: Iterable[str]) -> dict[str, str]:
    """Map each full node name, and each name that is unique without its namespace, to the full name."""
    bare = {name: name.rpartition(".")[2] for name in names}
    count = Counter(bare.values())
    return {short: full for full, short in bare.items() if count[short] == 1} | {full: full for full in bare}


def _require_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    problems = []
    for name in set(names) - set(known):
        similar = " or ".join(map(repr, get_close_matches(name, known)))
        hint = f"Did you mean {similar}?" if similar else f"Expected one of: {', '.join(sorted(known))}."
        problems.append(f"Unknown {kind} {name[:100]!r}. {hint}")
    if problems:
        raise InputError("\n".join(sorted(problems)))


def _split(value: str | Iterable[str] | None) -> list[str]:
    """Split names of one comma-separated string, the form that a file of options has."""
    parts = value.split(",") if isinstance(value, str) else value or []
    return [part.strip() for part in parts if part.strip()]
