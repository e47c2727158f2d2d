"""Predict lesion masks for images of any size."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, pairwise
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import choose_hardware, explain_out_of_memory, keep_freed_memory
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.prediction.input_images import read_input_image
from lesion_segmentation.prediction.settings import FOLLOW_WEIGHTS, PredictionSettings, TestTimeAugmentation
from lesion_segmentation.released import WEIGHTS

Image = np.ndarray | str | PathLike[str]
"""An image, uint8 (H, W, 3), or the path of an image file."""


class Prediction(NamedTuple):
    """Probability of lesion per pixel, float32 (H, W), 0 to 1, and the boolean mask (H, W) of the lesion."""

    probability: np.ndarray
    mask: np.ndarray


class Flip(NamedTuple):
    """Dimensions of (N, C, H, W) that are reversed, and whether height and width are swapped afterwards."""

    reversed_dims: tuple[int, ...] = ()
    transposed: bool = False

    def apply(self, images: Tensor) -> Tensor:
        flipped = images.flip(self.reversed_dims)
        return flipped.transpose(-1, -2) if self.transposed else flipped

    def undo(self, maps: Tensor) -> Tensor:
        upright = maps.transpose(-1, -2) if self.transposed else maps
        return upright.flip(self.reversed_dims)


_MIRRORED = tuple(Flip(dims) for dims in ((), (-1,), (-2,), (-1, -2)))
FLIPS: dict[TestTimeAugmentation, tuple[Flip, ...]] = {
    "none": _MIRRORED[:1],
    "four": _MIRRORED,
    "eight": (*_MIRRORED, *(Flip(flip.reversed_dims, transposed=True) for flip in _MIRRORED)),
}


class MaskOptions(TypedDict, total=False):
    """The options of `PredictionSettings` that change the masks. None, the default, selects the network's own value.

    The metadata contain no annotation style, so None selects the first output head.
    """

    threshold: float | None
    test_time_augmentation: TestTimeAugmentation | None
    keep_largest_component: bool | None
    annotation_style: str | None


class Predictor:
    """A network that is prepared once and then predicts images of any size.

    Images are resized to the input size of the network, if its metadata have one, and scaled as in its training.
    Probabilities are resized back to the size of the image and thresholded.

    Args:
        network: The network. It is copied, not changed.
        device: A PyTorch device name, or `auto` for a GPU if there is one, else the CPU.
        precision: `32-true` for float32; `auto` for bfloat16 if the device computes with it, else float32.
            docs/benchmarks.md shows the effect on the scores.
        batch_size: Number of images per forward pass. Masks do not depend on it.
        **options: Any of the `MaskOptions`.

    Raises:
        InputError: There is no GPU, but one is requested, or the network has no such annotation style.
    """

    def __init__(
        self,
        network: Network,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 10,
        **options: Unpack[MaskOptions],
    ) -> None:
        if unknown := options.keys() - MaskOptions.__annotations__.keys():
            raise TypeError(f"Predictor has no option {', '.join(sorted(unknown))}")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        self.metadata = metadata = network.metadata
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self.threshold: float = given.get("threshold", metadata.threshold)
        self.keep_largest_component: bool = given.get("keep_largest_component", metadata.keep_largest_component)
        self.test_time_augmentation = given.get("test_time_augmentation", metadata.test_time_augmentation)
        if self.test_time_augmentation not in FLIPS:
            raise ValueError(
                f"test_time_augmentation is {self.test_time_augmentation!r}, expected one of: {', '.join(FLIPS)}"
            )
        hardware = choose_hardware(device if device == "auto" else torch.device(device).type, precision)
        self._head = network.find_annotation_style(options.get("annotation_style"))
        self.annotation_style = network.annotation_styles[self._head] if network.annotation_styles else None
        self.flips = FLIPS[self.test_time_augmentation]
        self.batch_size, self.precision = batch_size, hardware.precision
        self._device = torch.device(hardware.device if device == "auto" else device)
        self._dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
        self._scaling = Scaling(metadata, self._device)
        fused = fuse_batch_norms(network)
        self._network = fused.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield the predictions of images of any size, in their order. Each batch is computed when it is needed.

        Raises:
            ValueError: An array is not uint8 (H, W, 3).
            InputError: A file cannot be read, or the memory is not sufficient for a batch.
        """
        pairs = ((image, self._to_input_size(image)) for image in map(_read, images))
        for _, same_size in groupby(pairs, key=lambda pair: pair[1].shape):
            while batch := list(islice(same_size, self.batch_size)):
                with explain_out_of_memory(len(batch), "the batch size"):
                    logits = self.flip_logits([resized for _, resized in batch]) / self.metadata.temperature
                    maps = logits.sigmoid().mean(dim=0).cpu().numpy()
                for (image, _), resized_map in zip(batch, maps, strict=True):
                    height, width = image.shape[:2]
                    probability = restore_probability(resized_map, height, width, self.metadata.framing)
                    yield Prediction(probability, binarize(probability, self.threshold, self.keep_largest_component))

    def _to_input_size(self, image: np.ndarray) -> np.ndarray:
        size = self.metadata.input_size
        if size is None or image.shape[:2] == size:
            return image
        return resize_image(image, *size, self.metadata.resizing, self.metadata.framing)

    @torch.inference_mode()
    def flip_logits(self, images: Sequence[np.ndarray]) -> Tensor:
        """Return logits, float32 (flips, N, H, W), for N images, uint8 (H, W, 3), of the network's input size."""
        # oneDNN sums in another order for a batch of one, so the last bit of the logits would depend on the batch size.
        batch = [*images, *images] if len(images) == 1 and self._dtype == torch.float32 else images
        pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(self._device).float()
        scaled = self._scaling(pixels)
        logits = [flip.undo(self._forward(flip.apply(scaled))) for flip in self.flips]
        return torch.stack(logits)[:, : len(images), 0]

    def _forward(self, scaled: Tensor) -> Tensor:
        logits: Tensor = self._network(scaled.to(self._dtype, memory_format=torch.channels_last))
        return logits[:, self._head : self._head + 1].float()


def predict(
    network: Network,
    images: np.ndarray,
    batch_size: int = 10,
    device: str | None = None,
    precision: str = "auto",
    test_time_augmentation: TestTimeAugmentation = "none",
) -> np.ndarray:
    """Return the probability of lesion, float32 (N, H, W), for images of one size, uint8 (N, H, W, 3).

    Shortcut for a single call. To predict repeatedly, keep a `Predictor`, which documents arguments and errors. Two
    defaults differ: the device of the network is used, and test-time augmentation is off.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    device = device or str(next(network.parameters()).device)
    predictor = Predictor(network, device, precision, batch_size, test_time_augmentation=test_time_augmentation)
    maps = [prediction.probability for prediction in predictor(images)]
    return np.stack(maps) if maps else np.zeros(images.shape[:3], dtype=np.float32)


def load_predictor(weights: str | Path = WEIGHTS, settings: PredictionSettings | None = None) -> Predictor:
    """Read a weights file, by default the released network, and prepare a predictor.

    Example:
        predictor = load_predictor()
        masks = [prediction.mask for prediction in predictor(["a.jpg", "b.png"])]

    Raises:
        InputError: The file does not exist or is damaged, or the device is not available.
    """
    return make_predictor(load_network(weights), settings or PredictionSettings())


def make_predictor(network: Network, settings: PredictionSettings) -> Predictor:
    """Prepare a predictor for many images of different sizes."""
    keep_freed_memory()
    options = settings.model_dump(include={"device", "precision", "batch_size", *FOLLOW_WEIGHTS})
    return Predictor(network, **options)


def fuse_batch_norms(network: Network) -> Network:
    """Return a copy in evaluation mode that computes the same function without the batch norms behind convolutions."""
    fused = copy.deepcopy(network).eval()
    for block in [module for module in fused.modules() if isinstance(module, nn.Sequential)]:
        for index, (layer, following) in enumerate(pairwise(list(block))):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(layer, following)
                block[index + 1] = nn.Identity()
    return fused


def _read(image: Image) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        try:
            return read_input_image(Path(image))
        except (ValueError, OSError) as error:
            raise InputError(f"{image}: {error}") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    return image
