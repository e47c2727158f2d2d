"""The metadata of a network, the scaling of pixels that they name, and the base class of all networks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from torch import Tensor, nn

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.parameter_model import describe_errors
from lesion_segmentation.core.recorded_settings import rename_keys
from lesion_segmentation.core.tensor_files import find_mismatches
from lesion_segmentation.images.resize import Framing, Resizing

FORMAT_VERSION = 5
"""Format version of weights files. In version 1 there is no version number, and SegNet's three options are top-level
keys. Version 2 lacks the options of the masks, such as the threshold. Version 3 lacks the license. Version 4 has former
key names (`lesion_segmentation.core.recorded_settings`)."""

Triple = tuple[float, float, float]
Side = Annotated[int, Field(ge=32, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
Divisor = Annotated[float, Field(ge=1e-3, le=1e6)]  # below 1e-38, it would be zero in float32


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class NetworkMetadata:
    """Everything needed to rebuild a network, to apply it, and to know its provenance.

    Attributes:
        architecture: A key of `lesion_segmentation.model.ARCHITECTURES`.
        options: Arguments of the architecture, which checks their names and bounds.
        input_size: Height and width of the training images, to which images are resized for prediction. None, as in
            files of format version 1, means that images are predicted at their own size.
        resizing, framing: Filter and framing with which images were resized. The defaults hold for files without these
            keys.
        input_mean, input_std: Value subtracted from raw pixels, and divisor of the difference, per channel (RGB).
        threshold: Pixels with a probability above this value are lesion.
        test_time_augmentation: The flips over which predictions are averaged unless the caller chooses otherwise.
        keep_largest_component: Whether only the largest connected component of a mask is kept, with its holes filled.
        temperature: Divisor of the logits before the sigmoid.
        expected_dice: Map from the expected overlap of a mask to its expected Dice and the limits of it
            (`lesion_segmentation.evaluation.expected_dice`), for masks with this threshold and keep_largest_component.
            Empty if there were too few validation cases.
        source: Display names of the training data, such as PH2.
        data_hash, split_hash: Hashes of the pixels of these data and of the split that the network was trained under.
        seen: The images that this network and the one that it was initialized from were trained on, each as the first
            12 digits of the SHA-256 of its pixels.
        seen_unnamed: Sources of training images that `seen` does not list.
        initialized_from: MLflow run id of the network that provided the initial weights, or the name of pretrained
            weights.
        mlflow_run_id, commit: The run that trained the network, and the git commit of its code.
        license: License of the weights, if they are distributed.
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input_size: tuple[Side, Side] | None = None
    resizing: Resizing = "lanczos"
    framing: Framing = "stretch"
    input_mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    input_std: tuple[Divisor, Divisor, Divisor] = (1.0, 1.0, 1.0)
    threshold: Share = 0.5
    test_time_augmentation: Literal["none", "four", "eight"] = "none"
    keep_largest_component: bool = False
    temperature: Divisor = 1.0
    expected_dice: tuple[tuple[Share, Share, Share, Share], ...] = ()
    source: str = ""
    data_hash: str = ""
    split_hash: str = ""
    seen: tuple[str, ...] = ()
    seen_unnamed: tuple[str, ...] = ()
    initialized_from: str = ""
    mlflow_run_id: str = ""
    commit: str = ""
    license: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values and the format version."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkMetadata":
        """Read the values that `to_dict` returned in this or an earlier version. Missing keys get their defaults."""
        given = dict(values)
        version = given.pop("format_version", 1)
        if version not in range(1, FORMAT_VERSION + 1):
            raise InputError(
                f"format_version is {version}, expected 1 to {FORMAT_VERSION}. If a newer version of this project "
                "wrote the file, update the project."
            )
        if version == 1:
            given["options"] = {name: given.pop(name) for name in _OPTIONS_OF_VERSION_1 if name in given}
        if version < 5:
            given = rename_keys(given)
        if given.pop("input_range", [0, 255]) != [0, 255]:  # only earlier files name the range of pixels
            raise InputError("its metadata are invalid: input_range is not 0 to 255")
        try:
            return _METADATA.validate_python(given)
        except ValidationError as error:
            raise InputError(f"its metadata are invalid: {'; '.join(describe_errors(error))}") from error


_METADATA = TypeAdapter(NetworkMetadata)
_OPTIONS_OF_VERSION_1 = ("width", "unpooling", "logit_batch_norm")


class Scaling:
    """Subtract the mean from raw pixels (N, 3, H, W), 0 to 255, and divide by the deviation that the metadata give.

    The constants are copied to the device once, since a copy per step would make the host wait for a GPU.
    """

    def __init__(self, metadata: NetworkMetadata, device: torch.device | str = "cpu") -> None:
        constants = (metadata.input_mean, metadata.input_std)
        self._mean, self._std = (torch.tensor(values).view(1, 3, 1, 1).to(device) for values in constants)

    def __call__(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std


class Network(nn.Module):
    """Base class of all networks: scaled images (N, 3, H, W) to logits (N, heads, H, W).

    Attributes:
        metadata: Architecture, options, preprocessing and postprocessing, and provenance.
        encoder: Submodule that may be initialized from pretrained weights and may have its own learning rate. Not every
            network has one.
    """

    metadata: NetworkMetadata
    encoder: nn.Module

    @property
    def title(self) -> str:
        """Readable name of the architecture, for titles and tables."""
        return self.metadata.architecture

    @property
    def annotation_styles(self) -> tuple[str, ...]:
        """Annotation styles that have an output head of their own; empty if the network has a single head for all."""
        return tuple(self.metadata.options.get("annotation_styles", ()))

    @property
    def heads(self) -> int:
        """The number of output heads, which is the number of logit maps per image."""
        return max(1, len(self.annotation_styles))

    def find_annotation_style(self, name: str | None) -> int:
        """Return the index of the output head of an annotation style; None means the first head.

        The name may be an unambiguous beginning, in upper or lower case: `isic` finds ISIC 2018. If no head or several
        heads match, an InputError is raised.
        """
        if name is None:
            return 0
        wanted, names = name.casefold(), [each.casefold() for each in self.annotation_styles]
        found = [each for each in names if each == wanted] or [each for each in names if each.startswith(wanted)]
        if len(found) != 1:
            known = ", ".join(self.annotation_styles) or "none: it has one output head for all"
            raise InputError(f"The annotation style is {name!r}, but this network has learned {known}.")
        return names.index(found[0])

    def own_state(self) -> dict[str, Tensor]:
        """Return weights and running statistics, each tensor once and under the first of its names."""
        once = {name for name, _ in (*self.named_parameters(), *self.named_buffers())}
        return {name: tensor for name, tensor in self.state_dict().items() if name in once}

    def load_own_state(self, tensors: Mapping[str, Tensor], assign: bool = False) -> None:
        """Load the tensors that `own_state` returned; `assign` is that of `torch.nn.Module.load_state_dict`.

        A ValueError names a tensor that is missing or unknown, or has another type or shape than the network's.
        """
        wrong = find_mismatches(self.own_state(), tensors)
        if wrong:
            raise ValueError(f"{pluralize(len(wrong), 'wrong tensor')} for this network, such as {wrong[0]}")
        self.load_state_dict(tensors, strict=False, assign=assign)

    def published_names(self) -> dict[str, str]:
        """Return the published name of each tensor that pretrained weights initialize; empty if there are none."""
        return {}

    def load_pretrained(self, published: Mapping[str, Tensor]) -> None:
        """Initialize the encoder, or all of the network, from pretrained weights, given under their published names."""
        names, architecture = self.published_names(), self.metadata.architecture
        if not names:
            raise InputError(f"There are no pretrained weights for {architecture}. Leave out training.encoder_weights.")
        own = self.state_dict()
        wrong = [
            f"{theirs} is {'missing' if theirs not in published else tuple(published[theirs].shape)}, "
            f"expected {tuple(own[ours].shape)}"
            for ours, theirs in names.items()
            if theirs not in published or published[theirs].shape != own[ours].shape
        ]
        if wrong:
            raise InputError(
                f"The weights do not fit {self.title}: {pluralize(len(wrong), 'wrong tensor')}, such as {wrong[0]}. "
                "Set training.encoder_weights to those of this architecture."
            )
        with torch.no_grad():
            for ours, theirs in names.items():
                own[ours].copy_(published[theirs])
