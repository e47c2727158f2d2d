"""Test that the parameters, commands, options, environments and targets of make that README and site name exist."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from kedro.framework.cli.cli import KedroCLI
from pydantic import BaseModel

from docs.tools.code_blocks import find_blocks, find_pages
from lesion_project.parameters import RUNTIME_PARAMETERS, SETTINGS
from lesion_project.pipeline_registry import register_pipelines
from lesion_segmentation.cli import main

ROOT = Path(__file__).parents[2]
PROGRAMS = {"lesion-segmentation": main, "kedro": KedroCLI(project_path=ROOT)}
ENVIRONMENTS = {"--env mine", "--env my_recipe", *(f"--env {path.name}" for path in (ROOT / "conf").iterdir())}
"""The environments in conf, and those that readers of the pages create."""
TARGETS = {f"make {name}" for name in re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
NODES = {node.name for pipeline in register_pipelines().values() for node in pipeline.nodes}
OPERATORS = ("&&", "||", "|", ";", "&", ">")
FILES = ("csv", "py", "yml", "md", "svg", "png")
OPTIONS_OF_OTHERS = {"--build-arg", "--gpus", "--ntasks"}
"""Options of Docker and Slurm that a page names outside of a command."""


def list_parameters(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Yield a pattern for each full key. The keys of a mapping are free."""
    for field, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from list_parameters(f"{name}.{field}", info.annotation)
        yield rf"{name}\.{field}(\..+)?" if str(info.annotation).startswith("dict") else rf"{name}\.{field}"


PARAMETER = re.compile("|".join(key for name, model in SETTINGS.items() for key in list_parameters(name, model)))


def is_known(key: str) -> bool:
    """Return whether a key is a parameter, a node, a namespace or a file."""
    outside = key.partition(".")[0] in RUNTIME_PARAMETERS or key.rpartition(".")[2] in FILES
    return bool(outside or PARAMETER.fullmatch(key) or any(name.startswith(key) for name in NODES))


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that the words call, and its arguments."""
    command: Any = PROGRAMS[Path(words[0]).name]
    for number, word in enumerate(words[1:], start=1):
        if not isinstance(command, click.Group) or word.startswith("-"):
            return command, words[number:]
        command = command.get_command(click.Context(command), word) or click.Command("unknown")
    return command, []


def list_options(command: Any) -> set[str]:
    """Return the options of a command and of those in it."""
    context = click.Context(command)
    own = {name for option in command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    names = command.list_commands(context) if isinstance(command, click.Group) else ()
    return own.union(*(list_options(command.get_command(context, name)) for name in names))


@cache
def list_all_options() -> set[str]:
    return OPTIONS_OF_OTHERS.union(*map(list_options, PROGRAMS.values()))


def split_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours in a line of a shell."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe within text
        words = line.split()
    ends = [number for number, word in enumerate(words) if word in OPERATORS] + [len(words)]
    for start, word in enumerate(words[:-1]):
        if Path(word).name in PROGRAMS and (start == 0 or "/" in word or words[start - 1] in OPERATORS):
            yield words[start : min(end for end in ends if end > start)]


def find_unknown(page: Path) -> Iterator[str]:
    """Yield the names on a page that do not exist."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    blocks = [block.text for block in find_blocks(page) if block.language != "python"]
    whole = "\n".join([text, *blocks])
    keys = re.findall(rf"(?<![\w./-])(?:{'|'.join(SETTINGS)})(?:\.[a-z_]+)+\b(?![(/])", whole)
    for values in re.findall(r"--params[ =][\"']?(\S+)", whole):
        keys += re.findall(r"(?:^|,)([a-z_]+\.[a-z_.]+)=", values)
    yield from (key for key in keys if not is_known(key))
    code = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in code + re.findall(r"`([^`\n]+)`", text):
        for words in split_commands(line):
            command, rest = find_command(words)
            options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
            yield from (f"{option} in {line}" for option in options - list_options(command))
            yield from [line] if command.name == "unknown" else []
        if line.startswith("--") and line.split()[0].partition("=")[0] not in list_all_options():
            yield line
        yield from {f"--env {name}" for name in re.findall(r"(?:--env[ =]|\bENV=)(\w+)", line)} - ENVIRONMENTS
        yield from {f"make {name}" for name in re.findall(r"(?:^|&& )make ([\w-]+)", line)} - TARGETS


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in find_pages()])
def test_names_exist(page):
    assert "\n".join(find_unknown(page)) == ""
