"""A network with its preprocessing and postprocessing as one ONNX file.

Its input is `images`, uint8 (N, H, W, 3) with any N, H and W. Its outputs are `masks`, uint8 (N, H, W), 0 or 1, and
`probabilities`, float32 (N, H, W). The file contains everything in between: resizing, scaling, the network with its
test-time augmentation, sigmoid, resizing to the native size, and the threshold.
"""

import json
import logging
import warnings
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lesion_segmentation import __version__
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import require
from lesion_segmentation.export.resampling import KERNELS, frame_axes, resize_images, restore_maps
from lesion_segmentation.model import Network, NetworkMetadata
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.prediction.networks import FLIPS, Flip, fuse_batch_norms

OPSET = 20


def export_onnx(network: Network, path: Path, annotation_style: str | None = None) -> None:
    """Write the result of `make_onnx` atomically to `path`. The other arguments and the errors are the same."""
    content = make_onnx(network, annotation_style)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def make_onnx(network: Network, annotation_style: str | None = None) -> bytes:
    """Return the content of an ONNX file, which runs the network in float32 and needs onnxruntime 1.18 or newer.

    Args:
        network: A network as `load_network` returns it, which is not changed.
        annotation_style: The annotation style to export if the network has several; by default the first.

    Raises:
        InputError: The weights name no input size or a resizing filter other than KERNELS, the network does not have
            the annotation style, returns values that are not finite, or cannot be exported by PyTorch.
    """
    require("onnxscript")  # PyTorch imports it late and hides which package is missing
    metadata = network.metadata
    if metadata.input_size is None:
        raise InputError("These weights do not name the size of the network's input. Train the network again.")
    if metadata.resizing not in KERNELS:
        raise InputError(
            f"These weights resize images with {metadata.resizing}, but an ONNX file can only resize with "
            f"{' or '.join(KERNELS)}. Train with image_size.resizing=cubic, the default."
        )
    head = network.find_annotation_style(annotation_style)
    end_to_end, example = _EndToEnd(network, head).eval(), torch.zeros(2, 70, 90, 3, dtype=torch.uint8)
    with torch.inference_mode():
        _, probabilities = end_to_end(example)
    if probabilities.isnan().any():
        raise InputError(f"{network.title} returns values that are not finite, so it is not exported. Train it again.")
    try:
        model = _export(end_to_end, example)
    except Exception as error:  # the exporter raises many kinds
        raise InputError(f"{network.title} cannot be exported to ONNX: {first_line(error)}") from error
    model.producer_name, model.producer_version = "lesion-segmentation", __version__
    style = {"annotation_style": network.annotation_styles[head]} if network.annotation_styles else {}
    for name, value in {**describe(metadata), **style}.items():
        model.metadata_props.add(key=name, value=value)
    content: bytes = model.SerializeToString()
    return content


def _export(module: nn.Module, example: Tensor) -> Any:
    """Return the ONNX model of a module for images of any number and size."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    sides = {axis: torch.export.Dim(name, min=1, max=65_536) for axis, name in enumerate("NHW")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["masks", "probabilities"],
            dynamic_shapes={"images": sides},
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def describe(metadata: NetworkMetadata) -> dict[str, str]:
    """Return the entries of the file's `metadata_props`."""
    return {
        "producer": f"lesion-segmentation {__version__}",
        "threshold": f"{metadata.threshold:g}",
        "test_time_augmentation": metadata.test_time_augmentation,
        "keep_largest_component": (
            "true, but not applied: apply lesion_segmentation.images.masks.select_largest_component to the masks"
            if metadata.keep_largest_component
            else "false"
        ),
        "trained_on": metadata.source,
        "data_hash": metadata.data_hash,
        "split_hash": metadata.split_hash,
        "commit": metadata.commit,
        "license": " ".join(filter(None, ["For research. Not a medical device.", metadata.license])),
        "network": json.dumps({"architecture": metadata.architecture, "options": dict(metadata.options)}),
    }


class _EndToEnd(nn.Module):
    """A network from images, uint8 (N, H, W, 3), to masks, uint8 (N, H, W), and probabilities, float32 (N, H, W)."""

    def __init__(self, network: Network, head: int) -> None:
        super().__init__()
        self.network, self.metadata, self.head = fuse_batch_norms(network).float().cpu(), network.metadata, head
        self.scaling, self.flips = Scaling(self.metadata), FLIPS[self.metadata.test_time_augmentation]
        for module in self.modules():  # decomposing in-place activations took a third of an export
            if isinstance(module, nn.ReLU | nn.Hardtanh):
                module.inplace = False

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert self.metadata.input_size is not None
        rows, columns = frame_axes((images.shape[1], images.shape[2]), self.metadata.input_size, self.metadata.framing)
        scaled = self.scaling(resize_images(images.permute(0, 3, 1, 2), rows, columns, self.metadata.resizing))
        groups = groupby(self.flips, lambda flip: flip.transposed)
        maps = torch.cat([self._predict(scaled, list(flips)) for _, flips in groups])
        probabilities = restore_maps(maps.mean(dim=0), rows, columns)
        return (probabilities > self.metadata.threshold).to(torch.uint8), probabilities

    def _predict(self, scaled: Tensor, flips: Sequence[Flip]) -> Tensor:
        """Predict flips that keep one shape as one batch, so that the file contains the network once."""
        logits = self.network(torch.cat([flip.apply(scaled) for flip in flips]))[:, self.head : self.head + 1]
        maps = (logits / self.metadata.temperature).sigmoid().unflatten(0, (len(flips), -1))
        return torch.stack([flip.undo(part) for flip, part in zip(flips, maps, strict=True)])
