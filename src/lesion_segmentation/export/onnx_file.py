"""A network with everything before and behind it as one ONNX file.

Its input is `pictures`, uint8 (N, H, W, 3) with any N, H and W; its outputs are `masks`, uint8 (N, H, W), 0 or 1, and
`probabilities`, float32 (N, H, W). Inside: resizing as the metadata name it, scaling, the network over its views,
sigmoid, the way back to the picture's size, threshold.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lesion_segmentation import __version__
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.export.graphs import AFTER, BEFORE, KERNELS, OPSET, PADDED, STRETCHED, fill, resize
from lesion_segmentation.images.resize import SLIGHT
from lesion_segmentation.model import Network, NetworkMetadata
from lesion_segmentation.prediction.flips import VIEWS, View
from lesion_segmentation.prediction.fusing import fuse_batch_norms

if TYPE_CHECKING:
    from onnx import ModelProto


def export_onnx(network: Network, path: Path, annotation_style: str | None = None) -> None:
    """Write the whole of it to `path`, which is replaced as a whole.

    Args, errors: As make_onnx.
    """
    content = make_onnx(network, annotation_style)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def make_onnx(network: Network, annotation_style: str | None = None) -> bytes:
    """The file's content; float32, for onnxruntime from version 1.18 on.

    Args:
        network: As load_network returns it; left as and where it is.
        annotation_style: Whose experts' way of outlining it has, where the network knows several; by default the first.

    Raises:
        InputError: The network resizes with a filter that ONNX has not, has no input size, or cannot be exported.
    """
    with explain_missing_extras():  # torch's exporter imports onnxscript late and hides which package is missing
        import onnxscript  # noqa: F401
    metadata = network.metadata
    if metadata.input_size is None:
        raise InputError("These weights do not say for which size of pictures they are: train them again.")
    if metadata.resizing not in KERNELS:
        raise InputError(
            f"These weights resize with {metadata.resizing}, which the exported file does not know: its masks would be "
            "others. Train with image_size.resizing=cubic, the default."
        )
    number = network.find_annotation_style(annotation_style)
    model = _join(metadata, _export_network(network, number))
    said = {"annotation_style": network.annotation_styles[number]} if network.annotation_styles else {}
    for name, value in {**describe(metadata), **said}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    content: bytes = model.SerializeToString()
    return content


def describe(metadata: NetworkMetadata) -> dict[str, str]:
    """What the file says of itself, as texts."""
    rule = (
        "not applied: masks are before it, and lesion_segmentation.images.masks.select_largest_component applies it"
        if metadata.keep_largest_component
        else "false"
    )
    said = {
        "producer": f"lesion-segmentation {__version__}",
        "threshold": f"{metadata.threshold:g}",
        "test_time_augmentation": metadata.test_time_augmentation,
        "keep_largest_component": rule,
        "trained_on": metadata.source,
        "data_hash": metadata.data_hash,
        "split_hash": metadata.split_hash,
        "commit": metadata.commit,
        "terms": " ".join(filter(None, ["For research. Not a medical device.", metadata.license])),
    }
    return {**said, "network": json.dumps({"architecture": metadata.architecture, "options": dict(metadata.options)})}


class _Averaged(nn.Module):
    """Scaled pictures (N, 3, h, w) to the mean probability (N, 1, h, w) over their views."""

    def __init__(self, network: Network, views: tuple[View, ...], temperature: float, number: int) -> None:
        super().__init__()
        self.network, self.views, self.temperature, self.number = network, views, temperature, number

    def forward(self, scaled: Tensor) -> Tensor:
        maps = [view.undo((self._forward(view.show(scaled)) / self.temperature).sigmoid()) for view in self.views]
        return torch.stack(maps).mean(dim=0)

    def _forward(self, scaled: Tensor) -> Tensor:
        logits: Tensor = self.network(scaled)
        return logits[:, self.number : self.number + 1]


def _export_network(network: Network, number: int) -> "ModelProto":
    metadata = network.metadata
    assert metadata.input_size is not None
    fused = fuse_batch_norms(network).float().cpu()
    averaged = _Averaged(fused, VIEWS[metadata.test_time_augmentation], metadata.temperature, number).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                averaged,
                (torch.zeros(2, 3, *metadata.input_size),),
                dynamo=True,
                opset_version=OPSET,
                input_names=["scaled"],
                output_names=["maps"],
                dynamic_shapes={"scaled": {0: torch.export.Dim("n", min=1, max=65_536)}},
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds
        raise InputError(f"{network.title} cannot be exported to ONNX: {first_line(error)}") from error
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def _join(metadata: NetworkMetadata, core: "ModelProto") -> "ModelProto":
    """Everything before and behind the network, as text (graphs.py), around it."""
    import onnx
    from onnx import compose, parser

    assert metadata.input_size is not None
    height, width = metadata.input_size
    values: dict[str, Any] = {
        "height": height,
        "width": width,
        "mean": metadata.input_mean,
        "std": metadata.input_std,
        "threshold": metadata.threshold,
        "slight": 1 + SLIGHT,
        "ir": core.ir_version,
    }
    framing = STRETCHED if metadata.framing == "stretch" else PADDED
    orders = {"rows_then_columns": True, "columns_then_rows": False}
    resized = {name: resize(metadata.resizing, rows_first) for name, rows_first in orders.items()}
    before = parser.parse_model(fill(BEFORE, values, framing=framing, **resized))
    after = parser.parse_model(fill(AFTER, values))
    after = compose.add_prefix(after, "after/", rename_inputs=False, rename_outputs=False)
    whole = compose.merge_models(before, core, [("scaled", "scaled")], prefix2="network/")
    pairs = [("network/maps", "maps"), ("box", "box"), ("native", "native")]
    whole = compose.merge_models(whole, after, pairs, outputs=["masks", "probabilities"])
    whole.producer_name, whole.producer_version = "lesion-segmentation", __version__
    onnx.checker.check_model(whole)
    return whole
