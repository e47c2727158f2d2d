"""Hook of MkDocs that fills pages of the reference from the code.

A line `<!-- generated: NAME -->` of a page is replaced by the text of the function GENERATORS[NAME].
The build fails if a name on the page of the Python API has no docstring.
"""

import html
import inspect
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import griffe
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
RELEASED = ROOT / "src" / "lesion_segmentation" / "released"
YAML_END = "...\n"
KINDS = {"null": "`null`", "boolean": "`true`, `false`", "object": "mapping", "string": "text"}
"""Names of the types of a JSON schema, where they are not those of the schema."""
PYTHON_API = ROOT / "docs" / "reference" / "python_api.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Check that each public name has a docstring, and add the license that the model card links to."""
    if missing := find_undocumented():
        raise PluginError(f"These public names have no docstring: {', '.join(missing)}. Add one to each.")
    files.append(File.generated(config, "reference/LICENSE", abs_src_path=str(RELEASED / "LICENSE")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the lines that stand for generated text."""
    return re.sub(r"^<!-- generated: (\w+) -->$", lambda line: GENERATORS[line[1]](), markdown, flags=re.MULTILINE)


def find_undocumented() -> list[str]:
    """Return the names on the page of the Python API that have no docstring."""
    package = griffe.load("lesion_segmentation", search_paths=[ROOT / "src"])
    pattern = re.compile(r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?", re.MULTILINE)
    missing = []
    for module, members in pattern.findall(PYTHON_API.read_text()):
        found: Any = package[module.partition(".")[2]]
        names = members.split(", ") if members else found.exports
        missing += [f"{module}.{name}" for name in names if not found[name].docstring]
    return missing


def describe_commands() -> str:
    """Return a section for each command of both programs."""
    from lesion_project.cli import cli
    from lesion_segmentation.cli import main

    sections = []
    for program, group in {"lesion-segmentation": main, "kedro": cli}.items():
        sections.append(f"## {program}")
        sections += [_describe_command(f"{program} {name}", each) for name, each in sorted(group.commands.items())]
    return "\n\n".join(sections)


def _describe_command(name: str, command: click.Command) -> str:
    context = click.Context(command)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = (each.get_help_record(context) for each in command.params if isinstance(each, click.Option))
    options = [f"`{names}`\n:   {_escape(text) or 'No description.'}" for names, text in filter(None, records)]
    return "\n\n".join([f"### {name}", f"Usage: `{usage}`", _escape(inspect.cleandoc(command.help or "")), *options])


def _escape(text: str) -> str:
    """Escape Markdown outside of code, join the lines of each paragraph, and link the pages of the site."""
    parts = re.split(r"(`[^`]*`)", "\n\n".join(" ".join(each.split()) for each in text.split("\n\n")))
    escape = partial(re.sub, r"([\\*_\[\]])", r"\\\1")
    text = "".join(part if part.startswith("`") else escape(html.escape(part, quote=False)) for part in parts)
    return re.sub(r"docs/([\w/\\]+\.md)", lambda page: f"[{page[0]}](../{page[1].replace(chr(92), '')})", text)


def describe_parameters() -> str:
    """Return a section for each group of parameters, with meaning, values and defaults."""
    from lesion_project.parameters import SETTINGS

    defaults = {path.name: _read_parameters(path) for path in sorted(CONF.iterdir()) if path.is_dir()}
    sections = [text for group, model in SETTINGS.items() for text in _describe_model(group, model, defaults)]
    return "\n\n".join(sections)


def _read_parameters(folder: Path) -> dict[str, Any]:
    """Return the parameters in a folder of conf by their full keys, with each mapping in them as well."""

    def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            yield prefix + key, value
            if isinstance(value, dict):
                yield from flatten(value, f"{prefix}{key}.")

    files = sorted(folder.glob("parameters*.yml"))
    return {key: value for file in files for key, value in flatten(yaml.safe_load(file.read_text()))}


def _describe_model(name: str, model: type[BaseModel], defaults: dict[str, dict[str, Any]]) -> list[str]:
    """Return the sections on the parameters of a model, and then those of the models in it."""
    summary, meanings = read_meanings(model)
    schema = model.model_json_schema()
    sections, nested = [f"## {name}", re.sub(r"^The parameters `\w+`\.", "", summary)], []
    for field, info in model.model_fields.items():
        key = f"{name}.{field}"
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            nested += _describe_model(key, info.annotation, defaults)
            continue
        values = _describe_schema(schema["properties"][field], schema.get("$defs", {}))
        facts = f"Values: {values}  \nDefault: {_describe_defaults(key, defaults)}"
        sections.append(f"### `{key}` {{ #{key} data-toc-label={field} }}\n\n{meanings.get(field, '')}\n\n{facts}")
    return sections + nested


def read_meanings(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return the text of a parameter model's docstring, and the meaning of each field in its section Attributes."""
    text, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    meanings = {name: _escape(meaning) for names, meaning in entries for name in names.split(", ")}
    return _escape(text.strip()), meanings


def _describe_defaults(key: str, defaults: dict[str, dict[str, Any]]) -> str:
    """Return the default in conf/base, and each other one with the environments that have it."""
    base = defaults["base"][key]
    others: dict[str, list[str]] = {}
    for environment, values in defaults.items():
        if values.get(key, base) != base:
            others.setdefault(_show(values[key]), []).append(f"*{_escape(environment)}*")
    return "; ".join([_show(base), *(f"{value} in {', '.join(names)}" for value, names in others.items())])


def _show(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return f"`{text.removesuffix(YAML_END).strip()}`"


def _describe_schema(schema: dict[str, Any], models: dict[str, Any]) -> str:
    """Describe the values that a JSON schema allows in words."""
    describe = partial(_describe_schema, models=models)
    match schema:
        case {"anyOf": choices}:
            return " or ".join(map(describe, choices))
        case {"enum": values}:
            return ", ".join(map(_show, values))
        case {"$ref": reference}:
            return f"`{{{', '.join(models[reference.rpartition('/')[2]]['properties'])}}}`"
        case {"type": "array", "items": items}:
            return f"list of {describe(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"mapping from names to {describe(values)}"
        case {"type": "string", "pattern": pattern}:
            return f"text that matches `{pattern}`"
        case {"type": "integer", "exclusiveMaximum": limit}:
            schema = {**schema, "maximum": limit - 1, "exclusiveMaximum": None}
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {schema[name]:,}" for name, word in words.items() if schema.get(name) is not None]
    return " ".join([KINDS.get(schema["type"], schema["type"]), *limits])


def describe_endpoints() -> str:
    """Return a section for each request that the HTTP service answers, from its OpenAPI description."""
    from lesion_segmentation.serving import ServiceSettings, create_app

    app: Any = create_app(None, ServiceSettings())  # type: ignore[arg-type]  # only requests need a predictor
    sections = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            sections += [f"## {method.upper()} {path}", operation["description"]]
            for each in operation.get("parameters", []):
                values, default = _describe_schema(each["schema"], {}), _show(each["schema"]["default"])
                sections.append(f"`{each['name']}` ({each['in']} parameter)\n:   Values: {values}. Default: {default}.")
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                fields = "`, `".join(content["schema"].get("properties", ()))
                meaning = f"the image in the field `{fields}`" if fields else "the image itself"
                sections.append(f"`{media_type}` (request body)\n:   {meaning}")
    return "\n\n".join(sections)


def describe_limits() -> str:
    """Return the settings of the HTTP service."""
    from lesion_segmentation.serving import ServiceSettings

    _, meanings = read_meanings(ServiceSettings)
    fields = ServiceSettings.model_fields.items()
    return "\n\n".join(f"`{name}`\n:   {meanings[name]} Default: {_show(each.default)}." for name, each in fields)


def read_model_card() -> str:
    """Return the model card of the released network, with links that work in the site."""
    return re.sub(r"\]\((?:\.\./)+docs/", "](../", (RELEASED / "README.md").read_text())


GENERATORS = {
    "commands": describe_commands,
    "parameters": describe_parameters,
    "endpoints": describe_endpoints,
    "limits": describe_limits,
    "model_card": read_model_card,
}
