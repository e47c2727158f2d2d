"""Tests of the packaging: dependencies, extras and data files of both packages."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import DISTRIBUTION, distribution_of, explain_missing_extras, find_extra
from lesion_segmentation.core.tensor_files import write_tensors
from lesion_segmentation.model import NetworkMetadata

SRC = Path(__file__).parents[1] / "src"
CONFIGURATION = tomllib.loads((SRC.parent / "pyproject.toml").read_text())
PROJECT = CONFIGURATION["project"]
EXTRAS = PROJECT["optional-dependencies"]

PROCESS = """
import json, sys
from importlib.machinery import PathFinder

refused, commands = json.load(sys.stdin)

class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in refused else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras

import lesion_segmentation.evaluation, lesion_segmentation.prediction, lesion_segmentation.images.masks
import lesion_segmentation.model, lesion_segmentation.prediction
from click.testing import CliRunner
from lesion_segmentation.cli import main

results = [CliRunner().invoke(main, command) for command in commands]
print(json.dumps([[result.exit_code, result.output, repr(result.exception)] for result in results]))
"""


def find_imports() -> Iterator[tuple[str, Path]]:
    """Yield the top-level name of each absolute import in src, with its file."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield str(node.module).partition(".")[0], path


def names(requirements: list[str]) -> set[str]:
    return {Requirement(text).name for text in requirements}


def find_base() -> set[str]:
    """Return the distributions that are installed without any extra, including indirect requirements."""
    found, queue = {DISTRIBUTION}, [DISTRIBUTION]
    while queue:
        try:
            requirements = [Requirement(text) for text in requires(queue.pop()) or []]
        except PackageNotFoundError:
            continue
        for requirement in requirements:
            name = normalize(requirement.name)
            if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                found.add(name)
                queue.append(name)
    return found


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_each_import_is_declared_in_a_dependency_or_extra():
    declared = names(PROJECT["dependencies"]).union(*(names(EXTRAS[name]) for name in EXTRAS if name != "dev"))
    known = {*sys.stdlib_module_names, "lesion_segmentation", "lesion_project"}
    others = {(name, str(path)) for name, path in find_imports() if name not in known}
    assert not {(name, path) for name, path in others if distribution_of(name) not in declared}


def test_each_data_file_is_packaged():
    packages = CONFIGURATION["tool"]["setuptools"]["package-data"]
    packaged = {path for name, patterns in packages.items() for each in patterns for path in (SRC / name).glob(each)}
    for name in ("lesion_segmentation", "lesion_project"):
        files = {path for path in (SRC / name).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert SRC / name / "py.typed" in files
        assert files <= packaged


def test_base_dependencies_are_few():
    assert len(PROJECT["dependencies"]) <= 16
    assert names(PROJECT["dependencies"]) <= {distribution_of(name) for name, _ in find_imports()}


def test_library_works_without_extras_and_names_missing_ones(tmp_path):
    generator = np.random.default_rng(0)
    for folder in ("in", "truth"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / "in" / f"{number}.png")
        mask = np.zeros((60, 80), np.uint8)
        mask[20:40, 30 : 50 + number] = 255
        Image.fromarray(mask).save(tmp_path / "truth" / f"{number}.png")
    options = {"network": "AttentionUnet", "arguments": {}}
    write_tensors(tmp_path / "monai.safetensors", {}, NetworkMetadata("monai", options).to_dict())

    source, target, truth = str(tmp_path / "in"), str(tmp_path / "out"), str(tmp_path / "truth")
    need_none = [
        ["--help"],
        ["predict", source, target, "--overlays", "--probabilities"],
        ["predict", source, "memory://bucket/out"],
        ["check-data", source, truth],
        ["audit", str(SRC.parent / "results" / "published.csv")],
    ]
    other = str(tmp_path / "other")
    need_extra = {
        "annotations": [["predict", source, other, "--annotations", "coco"]],
        "train": [
            ["predict", source, other, "--truth", truth],
            ["predict", source, other, "--weights", str(tmp_path / "monai.safetensors")],
        ],
        "scale": [
            ["predict", source, other, "--workers", "2"],
            ["predict", source, "s3://bucket/out"],
        ],
        "serve": [["serve"]],
        "onnx": [["export", str(tmp_path / "network.onnx")]],
    }
    expected = [(extra, command) for extra, commands in need_extra.items() for command in commands]

    base = find_base()
    refused = [name for name, by in packages_distributions().items() if base.isdisjoint(map(normalize, by))]
    assert {"kedro", "mlflow", "lightning", "monai", "plotly", "fastapi", "pyarrow"} <= set(refused)
    message = json.dumps([refused, [*need_none, *(command for _, command in expected)]])
    done = subprocess.run([sys.executable, "-c", PROCESS], input=message, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])

    for command, (status, output, error) in zip(need_none, results, strict=False):
        assert status == 0, (command, output, error)
    written = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert written == {f"{number}_{kind}.png" for number in range(2) for kind in ("mask", "overlay", "probability")}
    for (extra, command), (status, output, error) in zip(expected, results[len(need_none) :], strict=True):
        assert status == 1, (command, output, error)
        found = re.fullmatch(
            r"(?:Exporting.*\n)?Error: The package \S+ is not installed. Install the extra (\w+): pip install '(.+)'\n",
            output,
        )
        assert found, (command, output, error)
        assert found.groups() == (extra, f"lesion-segmentation[{extra}]")
    assert not (tmp_path / "other").exists()


def test_prediction_imports_only_what_it_needs(tmp_path):
    """pandas, scipy.stats or torch._dynamo would each delay the first mask by a third of a second or more."""
    Image.new("RGB", (64, 48), (220, 180, 160)).save(tmp_path / "image.png")
    absent = {"pandas", "pyarrow", "sklearn", "scipy.stats", "matplotlib", "lightning", "kornia", "monai", "kedro",
              "mlflow", "distributed", "torch._dynamo", "sympy"}  # fmt: skip
    code = (
        "import sys; from lesion_segmentation.cli import main\n"
        "main(['predict', 'image.png', 'masks'], standalone_mode=False)\n"
        f"print(sorted({absent!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "masks" / "image_mask.png").is_file()


def test_extra_is_found_by_module_name():
    assert find_extra("sklearn") == "train"
    assert find_extra("markdown_it") == "report"
    assert find_extra("numpy") is None
    assert find_extra("there_is_none") is None


def test_other_import_errors_propagate_unchanged():
    with pytest.raises(ModuleNotFoundError, match="there_is_none"), explain_missing_extras():
        import there_is_none  # noqa: F401
    with pytest.raises(ImportError, match="no_such_name"), explain_missing_extras():
        from torch import no_such_name  # noqa: F401


def test_missing_package_is_found_in_the_cause_of_an_error():
    with (
        pytest.raises(InputError, match=r"package s3fs .* pip install 'lesion-segmentation\[scale\]'"),
        explain_missing_extras(),
    ):
        raise ImportError("Install s3fs to access S3") from ModuleNotFoundError(name="s3fs")
