"""Predict lesion masks for images of any size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Unpack, overload

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import (
    choose_hardware,
    explain_out_of_memory,
    keep_freed_memory,
    start_single_threads,
)
from lesion_segmentation.core.parameter_model import describe_errors
from lesion_segmentation.evaluation.expected_dice import Knot
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import Framing, Resizing, resize_image, restore_probability
from lesion_segmentation.model import Network, NetworkMetadata, load_network
from lesion_segmentation.model.metadata import Scaling, Triple
from lesion_segmentation.prediction.input_images import read_input_image
from lesion_segmentation.prediction.networks import FLIPS, Flip, ModuleNetwork, fuse_batch_norms, measure_disagreement
from lesion_segmentation.prediction.settings import (
    FOLLOW_WEIGHTS,
    NOT_FINITE,
    Engine,
    MaskOptions,
    PredictionSettings,
    TestTimeAugmentation,
)
from lesion_segmentation.released import WEIGHTS

Image = np.ndarray | str | PathLike[str]
"""An image, uint8 (H, W, 3), or the path of an image file."""


class Prediction(NamedTuple):
    """Probability of lesion per pixel, float32 (H, W), 0 to 1, and the boolean mask (H, W) of the lesion."""

    probability: np.ndarray
    mask: np.ndarray


class Predictor:
    """A network that is prepared once and then predicts images of any size.

    Images are resized to the input size of the network, if its metadata have one, and scaled as in its training.
    Probabilities are resized back to the size of the image and thresholded. On the CPU, a predictor has threads of its
    own, so it cannot be copied to another process.

    Args:
        network: A network as `load_network` returns it. It is copied, not changed.
        device: A PyTorch device name, or `auto` for a GPU if there is one, else the CPU.
        precision: `32-true` for float32; `auto` for bfloat16 if the device computes with it, else float32.
            results/measurements/accuracy.csv has its effect on the scores.
        batch_size: Number of images that are computed at once. Masks do not depend on it.
        engine: `torch`, or `openvino`, which is faster on CPUs and needs the extra `openvino`.
        **options: Any of the `MaskOptions`.

    Raises:
        InputError: A value is invalid, a GPU is requested but missing, the engine does not run on the device, or the
            network has no such annotation style.
        TypeError: An option is unknown.
    """

    def __init__(
        self,
        network: Network,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 8,
        engine: Engine = "torch",
        **options: Unpack[MaskOptions],
    ) -> None:
        if unknown := options.keys() - MaskOptions.__annotations__.keys():
            raise TypeError(f"Predictor has no option {', '.join(sorted(unknown))}")
        try:
            settings = PredictionSettings(precision=precision, batch_size=batch_size, engine=engine, **options)
        except ValidationError as error:
            raise InputError(f"Predictor cannot be created: {'; '.join(describe_errors(error))}.") from error
        self.metadata = network.metadata
        values = settings.resolve(network.metadata)
        self.threshold: float = values["threshold"]
        self.keep_largest_component: bool = values["keep_largest_component"]
        self.test_time_augmentation: TestTimeAugmentation = values["test_time_augmentation"]
        self.engine: Engine = settings.engine
        if self.engine == "openvino" and str(device) not in ("auto", "cpu"):
            raise InputError(
                f"The device is {device}, but the engine openvino runs on the CPU only. Use the engine torch."
            )
        hardware = choose_hardware("cpu" if self.engine == "openvino" else str(device), precision)
        self._head = network.find_annotation_style(settings.annotation_style)
        self.annotation_style = network.annotation_styles[self._head] if network.annotation_styles else None
        self.batch_size, self.precision = settings.batch_size, hardware.precision
        self._device = torch.device(hardware.device)
        self._dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
        self._scaling = Scaling(network.metadata, self._device)
        # oneDNN's results depend on the batch size and the number of threads. On the CPU, an image is therefore always
        # computed alone, two flips at a time, each pair by one thread.
        self._threads = start_single_threads() if self._device.type == "cpu" else None
        flips, size = FLIPS[self.test_time_augmentation], 2 if self._threads else 4
        self._passes = [flips[start : start + size] for start in range(0, len(flips), size)]
        self._network = self._prepare(fuse_batch_norms(network))
        if self.engine == "openvino" and (input_size := network.metadata.input_size):
            self.flip_logits([np.zeros((*input_size, 3), np.uint8)])  # convert now, so that a failure precedes all work

    def _prepare(self, fused: Network) -> Callable[[Tensor], Tensor]:
        if self.engine == "openvino":
            from lesion_segmentation.prediction.openvino_engine import OpenVinoNetwork

            self._dtype = torch.float32  # OpenVINO rounds its input itself
            return OpenVinoNetwork(fused.cpu().float(), self.precision, torch.get_num_threads())
        placed: Network = fused.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    @property
    def knots(self) -> tuple[Knot, ...]:
        """Return the map to the expected Dice; empty unless masks are made as those that it was fitted to."""
        used, fitted = ((each.threshold, each.keep_largest_component) for each in (self, self.metadata))
        return self.metadata.expected_dice if used == fitted else ()

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        input_size: tuple[int, int],
        input_mean: Triple,
        input_std: Triple,
        resizing: Resizing = "cubic",
        framing: Framing = "stretch",
        **arguments: Any,
    ) -> "Predictor":
        """Prepare any PyTorch module that maps scaled images (N, 3, H, W) to the logits (N, 1, H, W) of lesion.

        Images are resized to the input size (height and width) and scaled as the `NetworkMetadata` say, from pixels of
        0 to 255. The other arguments are those of `Predictor`. An InputError is raised if the module does not fit. On
        the CPU, several threads call the module at the same time.
        """
        given = NetworkMetadata(
            type(module).__name__, {}, input_size, resizing, framing, input_mean=input_mean, input_std=input_std
        )
        metadata = NetworkMetadata.from_dict(given.to_dict())
        if max(metadata.input_std) < 1:
            raise InputError(f"input_std is {input_std}, but pixels are 0 to 255. Multiply input_mean and _std by 255.")
        predictor = cls(ModuleNetwork(module, metadata), **arguments)
        predictor.flip_logits([np.zeros((*input_size, 3), np.uint8)])
        return predictor

    @overload
    def __call__(self, images: str | PathLike[str]) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, images: np.ndarray) -> Any: ...
    @overload
    def __call__(self, images: Iterable[Image]) -> Iterator[Prediction]: ...
    def __call__(self, images: Image | Iterable[Image]) -> Prediction | Iterator[Prediction]:
        """Return the prediction of a single image, or yield those of several images of any size, in their order.

        Each batch of several images is computed when it is needed.

        Raises:
            ValueError: An array is not uint8 (H, W, 3).
            InputError: A file cannot be read, the memory is not sufficient for a batch, or a probability is not finite.
        """
        if isinstance(images, (str, PathLike)) or (isinstance(images, np.ndarray) and images.ndim in (2, 3)):
            return next(self._require_finite([images]))
        return self._require_finite(images)

    def _require_finite(self, images: Iterable[Image]) -> Iterator[Prediction]:
        for number, prediction in enumerate(self.predict_each(images), 1):
            if prediction is None:
                raise InputError(f"Image {number} cannot be predicted: {NOT_FINITE}. Use other weights.")
            yield prediction

    def predict_each(self, images: Iterable[Image]) -> Iterator[Prediction | None]:
        """Yield predictions as a call does, but None instead of an error if a probability is not finite."""
        return (prediction for prediction, _ in self.predict_and_compare(images))

    def predict_and_compare(self, images: Iterable[Image]) -> Iterator[tuple[Prediction | None, float | None]]:
        """Yield what `predict_each` yields, and how much the masks of the flips disagree (`measure_disagreement`).

        These masks have the input size, and all of their connected components are kept.
        """
        pairs = ((image, self._to_input_size(image)) for image in map(_read, images))
        for _, same_size in groupby(pairs, key=lambda pair: pair[1].shape):
            while batch := list(islice(same_size, self.batch_size)):
                with explain_out_of_memory(len(batch), "the batch size"):
                    logits = self.flip_logits([resized for _, resized in batch]) / self.metadata.temperature
                    probabilities = logits.sigmoid()
                    maps = probabilities.mean(dim=0).cpu().numpy()
                    disagreements = measure_disagreement(probabilities > self.threshold)
                for (image, _), resized_map, disagreement in zip(batch, maps, disagreements, strict=True):
                    if not np.isfinite(resized_map).all():
                        yield None, None
                        continue
                    height, width = image.shape[:2]
                    probability = restore_probability(resized_map, height, width, self.metadata.framing)
                    mask = binarize(probability, self.threshold, self.keep_largest_component)
                    yield Prediction(probability, mask), disagreement

    def _to_input_size(self, image: np.ndarray) -> np.ndarray:
        size = self.metadata.input_size
        if size is None or image.shape[:2] == size:
            return image
        return resize_image(image, *size, self.metadata.resizing, self.metadata.framing)

    def flip_logits(self, images: Sequence[np.ndarray]) -> Tensor:
        """Return logits, float32 (flips, N, H, W), for N images, uint8 (H, W, 3), of the network's input size."""
        if self._threads is None:
            return torch.cat([self._forward(images, flips) for flips in self._passes])
        parts = [[self._threads.submit(self._forward, [image], flips) for flips in self._passes] for image in images]
        try:
            return torch.cat([torch.cat([part.result() for part in of_image]) for of_image in parts], dim=1)
        finally:  # after an error, the other parts are not needed
            for part in chain.from_iterable(parts):
                part.cancel()

    @torch.inference_mode()
    def _forward(self, images: Sequence[np.ndarray], flips: Sequence[Flip]) -> Tensor:
        """Return the logits (flips, N, H, W) of one batch of all images under some flips of one orientation."""
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self._device).float()
        scaled = self._scaling(pixels)
        batch = torch.cat([flip.apply(scaled) for flip in flips])
        logits = self._network(batch.to(self._dtype, memory_format=torch.channels_last))
        maps = logits[:, self._head].float().chunk(len(flips))
        return torch.stack([flip.undo(upright) for flip, upright in zip(flips, maps, strict=True)])


def predict(
    network: Network,
    images: np.ndarray,
    batch_size: int = 8,
    device: str | None = None,
    precision: str = "auto",
    test_time_augmentation: TestTimeAugmentation = "none",
) -> np.ndarray:
    """Return the probability of lesion, float32 (N, H, W), 0 to 1, for images of one size, uint8 (N, H, W, 3).

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

    Settings other than None replace the values in the metadata of the weights.

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
    options = settings.model_dump(include={"device", "precision", "batch_size", "engine", *FOLLOW_WEIGHTS})
    return Predictor(network, **options)


def _read(image: Image) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        try:
            return read_input_image(Path(image)).pixels
        except ValueError as error:
            raise InputError(f"{image} cannot be used: {error}. Expected an image file.") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    return image
