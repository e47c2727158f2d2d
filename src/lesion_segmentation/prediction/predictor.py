"""The one way from any picture to a mask."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lesion_segmentation.core.hardware import choose_hardware, enough_memory
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import Network
from lesion_segmentation.model.scaling import Scaling
from lesion_segmentation.prediction.flips import VIEWS
from lesion_segmentation.prediction.fusing import fuse_batch_norms
from lesion_segmentation.prediction.settings import TestTimeAugmentation


class Prediction(NamedTuple):
    """Of a picture (H, W, 3): probability of lesion, float32 (H, W), 0 to 1; and mask, boolean (H, W)."""

    probability: np.ndarray
    mask: np.ndarray


class Predictor:
    """A network prepared once, then called with pictures of any sizes.

    Its metadata say what it needs, so that no caller has to: pictures are resized to its input size and scaled as it
    was trained, probabilities are brought back to each picture's own size, and masks are cut at its threshold. What is
    None below is as the metadata say.

    Args:
        network: As load_network returns it; left as and where it is.
        device: `auto` takes a GPU where there is one, else the CPU; or as PyTorch names devices.
        precision: `auto` is bfloat16 where the device computes with it (docs/benchmarks.md has what that changes),
            else float32; `32-true` is float32 everywhere.
        test_time_augmentation: Over which views of a picture the mean is predicted.
        keep_largest_component: Whether of each mask the largest part alone is kept, with its holes filled.
        batch_size: Pictures that are predicted at once; the masks do not depend on it.
        threshold: Probabilities above it are lesion.
        annotation_style: Whose experts' way of outlining is asked for, where the network knows several; by default the first.

    Raises:
        InputError: A GPU is asked for and there is none, or the network does not know the annotation_style.
        ValueError: An argument is none of those above.
    """

    def __init__(
        self,
        network: Network,
        device: str = "auto",
        precision: str = "auto",
        test_time_augmentation: TestTimeAugmentation | None = None,
        keep_largest_component: bool | None = None,
        batch_size: int = 10,
        threshold: float | None = None,
        annotation_style: str | None = None,
    ) -> None:
        said = network.metadata
        views = said.test_time_augmentation if test_time_augmentation is None else test_time_augmentation
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        if views not in VIEWS:
            raise ValueError(f"test_time_augmentation is {views!r}, expected one of: {', '.join(VIEWS)}")
        hardware = choose_hardware(device if device == "auto" else torch.device(device).type, precision)
        self.metadata = said
        self._map = network.find_annotation_style(annotation_style)
        self.annotation_style = network.annotation_styles[self._map] if network.annotation_styles else None
        self.test_time_augmentation = views
        self.views = VIEWS[views]
        self.keep_largest_component = (
            said.keep_largest_component if keep_largest_component is None else keep_largest_component
        )
        self.threshold = said.threshold if threshold is None else threshold
        self.batch_size, self.precision = batch_size, hardware.precision
        self._device = torch.device(hardware.device if device == "auto" else device)
        self._dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
        self._scaling = Scaling(self.metadata, self._device)
        fused = fuse_batch_norms(network)
        self._network = fused.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, pictures: Iterable[np.ndarray]) -> Iterator[Prediction]:
        """Predict pictures, uint8 (H, W, 3), each of its own size, one after the other as they are asked for.

        Raises:
            ValueError: A picture is of another type or shape.
        """
        resized = (_check(picture) for picture in pictures)
        pairs = ((picture, self._to_input_size(picture)) for picture in resized)
        for _, alike in groupby(pairs, key=lambda pair: pair[1].shape):
            while batch := list(islice(alike, self.batch_size)):
                with enough_memory(len(batch), "the batch size"):
                    maps = self._predict_batch([small for _, small in batch])
                for (picture, _), probability in zip(batch, maps, strict=True):
                    native = self._restore(probability, picture)
                    yield Prediction(native, binarize(native, self.threshold, self.keep_largest_component))

    def _restore(self, probability: np.ndarray, picture: np.ndarray) -> np.ndarray:
        return restore_probability(probability, picture.shape[0], picture.shape[1], self.metadata.framing)

    def _to_input_size(self, picture: np.ndarray) -> np.ndarray:
        size = self.metadata.input_size
        if size is None or picture.shape[:2] == size:
            return picture
        return resize_image(picture, *size, self.metadata.resizing, self.metadata.framing)

    def _predict_batch(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures of one size (H, W, 3) to their maps, (N, H, W)."""
        logits = self.view_logits(pictures) / self.metadata.temperature
        return logits.sigmoid().mean(dim=0).cpu().numpy()

    @torch.inference_mode()
    def view_logits(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Pictures uint8 (H, W, 3) of the network's input size to the logits of each view, (views, N, H, W)."""
        # For one picture alone oneDNN adds in another order, and masks would depend on the batch by a bit.
        together = [*pictures, *pictures] if len(pictures) == 1 and self._dtype == torch.float32 else pictures
        pixels = torch.from_numpy(np.stack(together)).permute(0, 3, 1, 2).to(self._device).float()
        scaled = self._scaling(pixels)
        maps = [view.undo(self._forward(view.show(scaled))) for view in self.views]
        return torch.stack(maps)[:, : len(pictures), 0]

    def _forward(self, scaled: Tensor) -> Tensor:
        logits: Tensor = self._network(scaled.to(self._dtype, memory_format=torch.channels_last))
        return logits[:, self._map : self._map + 1].float()


def predict(
    network: Network,
    images: np.ndarray,
    batch_size: int = 10,
    device: str | None = None,
    precision: str = "auto",
    test_time_augmentation: TestTimeAugmentation = "none",
) -> np.ndarray:
    """Probability of lesion for each pixel of pictures of one size: uint8 (N, H, W, 3) to float32 (N, H, W), 0 to 1.

    For one call; who predicts more than once keeps a Predictor, whose arguments these are. Where no device is named, it
    is the network's.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    place = device or str(next(network.parameters()).device)
    predictor = Predictor(network, place, precision, test_time_augmentation, batch_size=batch_size)
    maps = [prediction.probability for prediction in predictor(images)]
    return np.stack(maps) if maps else np.zeros(images.shape[:3], dtype=np.float32)


def _check(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture is {picture.dtype} {picture.shape}, expected uint8 (H, W, 3)")
    return picture
