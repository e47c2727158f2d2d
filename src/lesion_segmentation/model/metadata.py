"""What a network is, how it is applied and what it was trained on: kept on the network and in its weights file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from torch import Tensor, nn

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_causes
from lesion_segmentation.core.tensor_files import find_mismatches
from lesion_segmentation.images.resize import Framing, Resizing

FORMAT_VERSION = 5
"""Version of weights files. Version 1 had SegNet's three options as keys of their own, and no version; version 2 did not
say how masks are made of probabilities; version 3 knew no license; version 4 had other names for RENAMED_KEYS."""

RENAMED_KEYS = {"single_lesion": "keep_largest_component", "begun_from": "initialized_from", "licence": "license"}
RENAMED_OPTIONS = {"outlines": "annotation_styles"}

RAW_RANGE = (0.0, 255.0)
"""Of pixels as they come."""

Triple = tuple[float, float, float]
Side = Annotated[int, Field(ge=1, le=16_384)]
Deviation = Annotated[float, Field(gt=0)]


@with_config(ConfigDict(allow_inf_nan=False))
@dataclass(frozen=True)
class NetworkMetadata:
    """Everything needed to build the network again, to apply it, and to know where it comes from.

    Attributes:
        architecture: A key of `lesion_segmentation.model.ARCHITECTURES`.
        options: What the architecture is built with; its own check knows the names and bounds.
        input_size: Height and width of the pictures that it was trained on, to which others are resized; None in
            files of version 1: pictures are then predicted at their own size.
        resizing, framing: How pictures came to that size; what they say is what files were made with that do not.
        input_range: Lowest and highest raw pixel value that the mean and deviation belong to.
        input_mean: Subtracted from raw pixels, by channel (RGB); 0 means raw input.
        input_std: What the difference is divided by.
        threshold: Probabilities above it are lesion.
        test_time_augmentation: Over which views of a picture the mean is predicted, unless somebody asks for others.
        keep_largest_component: Whether of each mask the largest part alone is kept, with its holes filled.
        temperature: Logits are divided by it before the sigmoid.
        source: Which data it was trained on, in words, such as PH2.
        data_hash: Of the pixels of these data.
        split_hash: Of the split that it was trained under.
        seen: The pictures that it, or what it began with, was trained on: first digits of the SHA-256 of their pixels.
        seen_unnamed: Sources of which it has seen pictures that are not named there.
        initialized_from: The MLflow run of the network that it began with, or the name of its encoder's weights.
        mlflow_run_id: Of the run that trained it.
        commit: Of the code that trained it.
        license: Of the weights, where they are passed on.
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input_size: tuple[Side, Side] | None = None
    resizing: Resizing = "lanczos"
    framing: Framing = "stretch"
    input_range: tuple[float, float] = RAW_RANGE
    input_mean: Triple = (0.0, 0.0, 0.0)
    input_std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    test_time_augmentation: Literal["none", "four", "eight"] = "none"
    keep_largest_component: bool = False
    temperature: Annotated[float, Field(gt=0)] = 1.0
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
        """As plain JSON values, with the version of the format."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetworkMetadata":
        """The reverse of to_dict, for files of this and of former versions: keys that are missing have their defaults.

        Raises:
            InputError: The architecture is missing, a key is unknown, pixels are of another range, or the file is of a
                newer version, or a value is of another type or not finite.
        """
        given = dict(values)
        version = given.pop("format_version", 1)
        if version not in range(1, FORMAT_VERSION + 1):
            raise InputError(f"format_version is {version}, known are 1 to {FORMAT_VERSION}: a newer version wrote it")
        if version == 1:
            given["options"] = {name: given.pop(name) for name in _OPTIONS_OF_VERSION_1 if name in given}
        if version < 5:
            given = {RENAMED_KEYS.get(name, name): value for name, value in given.items()}
            options = given.get("options")
            if isinstance(options, Mapping):
                given["options"] = {RENAMED_OPTIONS.get(name, name): value for name, value in options.items()}
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown or "architecture" not in given:
            found = f"unknown {', '.join(unknown)}" if unknown else "no architecture"
            raise InputError(f"{found} in the metadata, expected some of: {', '.join(known)}")
        try:
            metadata = _METADATA.validate_python(given)
        except ValidationError as error:
            raise InputError(f"its metadata cannot be: {'; '.join(find_causes(error))}") from error
        if metadata.input_range != RAW_RANGE:
            raise InputError(f"input_range is {metadata.input_range}, this version feeds pixels of 0 to 255")
        return metadata


_METADATA = TypeAdapter(NetworkMetadata)
_OPTIONS_OF_VERSION_1 = ("width", "unpooling", "logit_batch_norm")


class Network(nn.Module):
    """Any of the project's networks: scaled images (N, 3, H, W) to logits (N, maps, H, W), and its metadata.

    Attributes:
        metadata: What it is and how it is applied.
        encoder: Its part that may begin with others' weights and have a learning rate of its own; not all have one.
    """

    metadata: NetworkMetadata
    encoder: nn.Module

    @property
    def annotation_styles(self) -> tuple[str, ...]:
        """Sources with a map of their own; empty where there is one map for all."""
        return tuple(self.metadata.options.get("annotation_styles", ()))

    @property
    def maps(self) -> int:
        """How many maps it gives a picture."""
        return max(1, len(self.annotation_styles))

    def find_annotation_style(self, name: str | None) -> int:
        """The number of the map of a source, of whose name the first letters are enough (isic); the first for None.

        Raises:
            InputError: It has no map of its own.
        """
        if name is None:
            return 0
        wanted, names = name.casefold(), [each.casefold() for each in self.annotation_styles]
        found = [i for i, each in enumerate(names) if each == wanted]
        found = found or [i for i, each in enumerate(names) if each.startswith(wanted)]
        if len(found) != 1:
            known = ", ".join(self.annotation_styles) or "none: it has one map for all"
            raise InputError(f"The outline asked for is {name!r}; this network knows {known}")
        return found[0]

    @property
    def title(self) -> str:
        """Architecture and options, in words."""
        return f"{self.metadata.architecture} ({', '.join(f'{k} {v}' for k, v in self.metadata.options.items())})"

    def own_state(self) -> dict[str, Tensor]:
        """Weights and running statistics, each once: what stands under two names has the first of them."""
        once = {name for name, _ in (*self.named_parameters(), *self.named_buffers())}
        return {name: tensor for name, tensor in self.state_dict().items() if name in once}

    def load_own_state(self, tensors: Mapping[str, Tensor], assign: bool = False) -> None:
        """The reverse of own_state; `assign` takes the tensors themselves instead of their numbers.

        Raises:
            ValueError: Tensors are missing, more, or of other types or shapes than the network's.
        """
        wrong = find_mismatches(self.own_state(), tensors)
        if wrong:
            raise ValueError(f"{len(wrong)} tensors are not this network's, such as {wrong[0]}")
        self.load_state_dict(tensors, strict=False, assign=assign)

    def load_encoder(self, published: Mapping[str, Tensor]) -> None:
        """Let the encoder begin with weights under the names that they were published by.

        Raises:
            InputError: These weights are not for this network.
        """
        raise InputError(f"{self.metadata.architecture} takes no weights of others")

    def take_encoder(self, published: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        """Copy published tensors to the encoder's own, by `names` (ours to theirs); all shapes must agree.

        Raises:
            InputError: One is missing or of another shape.
        """
        own = dict(self.encoder.state_dict())
        wrong = [
            f"{theirs} is {'missing' if theirs not in published else tuple(published[theirs].shape)}, "
            f"expected {tuple(own[ours].shape)}"
            for ours, theirs in names.items()
            if theirs not in published or published[theirs].shape != own[ours].shape
        ]
        if wrong:
            raise InputError(f"These encoder weights are not for {self.title}: {len(wrong)} differ, such as {wrong[0]}")
        with torch.no_grad():
            for ours, theirs in names.items():
                own[ours].copy_(published[theirs])
