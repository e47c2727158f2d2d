"""Two-dimensional networks of MONAI, chosen by class name."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.model.metadata import Network, NetworkMetadata

MULTIPLE = 32
"""Images are padded to a multiple of this, since most networks of MONAI require sides that can be halved five times."""
_TASK_ARGUMENTS = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1}


class MonaiOptions(ParameterModel):
    """Options of a `MonaiNetwork`. Arguments that would download weights are refused.

    Attributes:
        network: A class of monai.networks.nets, such as AttentionUnet.
        arguments: Arguments of the class by name; spatial_dims, in_channels and out_channels are filled in.
    """

    network: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_built(self) -> "MonaiOptions":
        _find_arguments(_find_class(self.network), self.arguments)
        return self


class MonaiNetwork(Network):
    """Network of MONAI for images of any size.

    Images are padded with zeros at the right and the bottom to a multiple of 32, and the output is cropped again.
    The arguments are the fields of `MonaiOptions`. If MONAI cannot build the network, an InputError is raised.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__()
        options = MonaiOptions(**values)
        self.metadata = NetworkMetadata("monai", options.model_dump(mode="json"))
        self.network = _build(options.network, options.arguments)

    @property
    def title(self) -> str:
        return f"MONAI {self.metadata.options['network']}"

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled images (N, 3, H, W) to logits (N, 1, H, W). Several outputs raise a ValueError."""
        height, width = x.shape[2:]
        found = self.network(F.pad(x, (0, -width % MULTIPLE, 0, -height % MULTIPLE)))
        if isinstance(found, (list, tuple)):
            if len(found) != 1:
                raise ValueError(f"it returns {len(found)} outputs, expected one (leave out deep supervision)")
            found = found[0]
        logits: Tensor = found[..., :height, :width]
        return logits


def _build(name: str, arguments: dict[str, Any]) -> nn.Module:
    build = _find_class(name)
    complete = _find_arguments(build, arguments)
    try:
        try:
            return build(**complete)
        except RuntimeError:
            if torch.get_default_device().type != "meta":
                raise
            with torch.device("cpu"):  # some constructors read values, which the meta device does not have
                return build(**complete).to("meta")
    except ImportError as error:
        message = f"MONAI's {name} needs the package {error.name}. Install it: pip install {error.name}"
        raise InputError(message) from error
    except Exception as error:  # MONAI's classes raise many types for arguments that do not fit together
        cause, given, takes = first_line(error), str(arguments)[:200], ", ".join(inspect.signature(build).parameters)
        raise InputError(
            f"MONAI's {name} cannot be built: {cause}. options.arguments are {given}; the class takes {takes}."
        ) from error


def _find_class(name: str) -> Callable[..., nn.Module]:
    from monai.networks import nets

    found = getattr(nets, name, None)
    if inspect.isclass(found) and issubclass(found, nn.Module):
        return found
    classes = [each for each in dir(nets) if inspect.isclass(getattr(nets, each)) and each[0].isupper()]
    near = get_close_matches(name, classes, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Expected a class of monai.networks.nets."
    raise ValueError(f"MONAI has no network {name!r}. {hint}")


def _find_arguments(build: Callable[..., nn.Module], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments together with those that the task determines; refuse those that are unknown or download."""
    known = inspect.signature(build).parameters
    unknown = sorted(set(arguments) - set(known))
    if unknown and not any(each.kind == each.VAR_KEYWORD for each in known.values()):
        raise ValueError(f"options.arguments has {', '.join(unknown)}, expected some of: {', '.join(known)}")
    fetching = [name for name, value in arguments.items() if value and ("pretrained" in name or "://" in str(value))]
    if fetching:
        raise ValueError(
            f"options.arguments.{fetching[0]} would download weights, but a run must not download anything. Omit it. "
            "For an encoder that was pretrained on ImageNet, use unet_lite (make weights)."
        )
    fixed = {"pretrained": False} if "pretrained" in known else {}
    task = {name: value for name, value in _TASK_ARGUMENTS.items() if name in known}
    if wrong := [name for name, value in task.items() if arguments.get(name, value) != value]:
        raise ValueError(f"options.arguments sets {', '.join(wrong)}, but the task needs {task}. Omit it")
    return task | fixed | arguments
