"""Parameters of a training. This module imports no torch, so that the command line starts quickly."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed

SEGNETS = ("segnet", "segnet_skip")
SEGNET_OPTIONS = ("width", "unpooling", "logit_batch_norm")
"""Options of the SegNets that are keys of `TrainingSettings`. Other architectures may lack them."""

VALIDATION_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {}
"""Further validation scores by name: functions of probabilities and masks, both (N, H, W), that return fractions by
name. The library has none itself; lesion_segmentation.paper adds its own."""


class OnlineAugmentationSettings(ParameterModel):
    """Random augmentation of each training image each time it is seen. All values are sampled uniformly.

    Attributes:
        enabled: Whether images are augmented at all.
        rotation: Degrees, from [-rotation, rotation].
        scale: Zoom factor from [1 / (1 + scale), 1 + scale], uniform in its logarithm.
        shift: Largest translation as a fraction of height and width.
        flip: Mirror left and right, and up and down, each with probability 1/2.
        elastic: Largest displacement of the points of a 5 x 5 grid as a fraction of height and width, interpolated
            smoothly between them.
        hairs: Largest number of dark curves that are painted on an image.
        corners: Fraction of the images that get a round frame with dark corners, which also ends the masks.
        brightness: Offset as a fraction of the range, from [-brightness, brightness].
        contrast: Factor about the image's mean, from [1 - contrast, 1 + contrast].
        saturation: Factor about gray, from [1 - saturation, 1 + saturation].
        channel_gain: Factor on each of red, green and blue, from [1 - channel_gain, 1 + channel_gain].
    """

    enabled: bool = True
    rotation: float = Field(180, ge=0, le=180)
    scale: float = Field(0.25, ge=0, le=2)
    shift: float = Field(0.08, ge=0, le=0.5)
    flip: bool = True
    elastic: float = Field(0, ge=0, le=0.1)
    hairs: int = Field(0, ge=0, le=100)
    corners: float = Field(0, ge=0, le=1)
    brightness: float = Field(0.08, ge=0, le=0.5)
    contrast: float = Field(0.2, ge=0, lt=1)
    saturation: float = Field(0.2, ge=0, le=1)
    channel_gain: float = Field(0.06, ge=0, lt=1)


class TrainingSettings(ParameterModel):
    """The parameters `training`.

    Attributes:
        architecture: Name of the network: `segnet`, `segnet_skip`, `unet_lite`, `u2netp`, `monai`, or another key of
            `lesion_segmentation.model.ARCHITECTURES`.
        width: Factor on the number of channels of a SegNet. Other architectures may lack this option.
        unpooling: Unpooling of a SegNet: `indices` puts each value where the maximum was, `nearest` repeats it. Other
            architectures may lack this option.
        logit_batch_norm: Whether a batch norm follows the last convolution of a SegNet. Other architectures may lack
            this option.
        options: Further options of the architecture.
        encoder_weights: Pretrained weights that the encoder is initialized from, or the whole network if it is
            `u2netp`: the name of a file in data/01_raw/pretrained without its suffix (`make weights` downloads them),
            or null for fresh weights.
        init_from: Network of an earlier training that this one is initialized from: a weights file, the id of the
            MLflow run that logged it, or a registered model as models:/<name>@<alias>. Architecture and options must be
            the same, and its scaling is kept.
        scaling: `raw` feeds 0 to 255, as the paper does; `standardized` uses mean and deviation of the training
            samples; `encoder` those that the encoder weights expect.
        source_rates: How often an epoch shows each image of a source, by source; 1 for sources without a rate. With 3
            each image is seen three times, with 0.25 a quarter of the images is sampled anew in each epoch.
        epochs: Number of epochs. The schedule is fixed, and the averaged weights of its end are kept.
        half_size_fraction: Fraction of the epochs that use images of half height and width, which takes about a quarter
            of the time and of the memory. These are the first epochs, and their number is rounded down. Painted hairs
            are one pixel wide at either size.
        batch_size: Number of images per update.
        seed: Seed of the initialization, the order of the images and the online augmentation.
        loss: `bce`, or its sum with 1 - soft Dice (`bce_dice`) or 1 - soft IoU (`bce_iou`).
        optimizer: `sgd` (with `momentum`) or `adamw`; both use `weight_decay`.
        momentum: Momentum of `sgd`.
        weight_decay: Weight decay of both optimizers.
        learning_rate: Highest learning rate of the schedule.
        encoder_learning_rate: The same for the encoder alone; null means `learning_rate`.
        schedule: `inverse_time` divides by 1 + learning_rate_decay x updates (Keras' `decay`); `one_cycle` rises for
            30% of the updates and then falls.
        learning_rate_decay: Decay per update of the schedule `inverse_time`.
        batch_norm_momentum: Momentum in PyTorch's convention (0.01 is 0.99 in Keras).
        ema_decay: Decay of the exponential moving average of weights and running statistics; 0 keeps the last weights.
        device: `auto` uses a GPU if there is one.
        precision: `auto` uses bf16 if the hardware computes with it, else float32.
        threads: Number of CPU threads; null means one per core. The last bits of float32 sums depend on it.
        resume: Whether an interrupted training continues from its last checkpoint.
        validation_scores: Keys of VALIDATION_SCORES to add to each epoch's row, such as `legacy` of the paper's code.
        calibrate: Fit a temperature and the expected Dice to the validation cases. The network keeps the temperature if
            it lowers the calibration error, and the expected Dice if there are at least 20 cases.
    """

    architecture: str = "segnet"
    width: float | None = Field(1.0, ge=1 / 64, le=4)
    unpooling: Literal["indices", "nearest"] | None = "indices"
    logit_batch_norm: bool | None = False
    options: dict[str, Any] = Field(default_factory=dict)
    encoder_weights: str | None = None
    init_from: str | None = None
    scaling: Literal["raw", "standardized", "encoder"] = "standardized"
    source_rates: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(default_factory=dict)
    epochs: int = Field(100, ge=1, le=100_000)
    half_size_fraction: float = Field(0, ge=0, lt=1)
    batch_size: int = Field(10, ge=1, le=100_000)
    seed: Seed = 0
    loss: Literal["bce", "bce_dice", "bce_iou"] = "bce_dice"
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(0.002, gt=0)
    encoder_learning_rate: float | None = Field(None, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    schedule: Literal["inverse_time", "one_cycle"] = "one_cycle"
    learning_rate_decay: float = Field(0.0005, ge=0, le=10)
    batch_norm_momentum: float = Field(0.1, gt=0, le=1)
    ema_decay: float = Field(0.995, ge=0, lt=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    threads: int | None = Field(None, ge=1, le=1024)
    resume: bool = False
    validation_scores: tuple[str, ...] = ()
    calibrate: bool = True
    online_augmentation: OnlineAugmentationSettings = OnlineAugmentationSettings()

    @field_validator("validation_scores")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in VALIDATION_SCORES]
        if unknown:
            known = ", ".join(VALIDATION_SCORES) or "none"
            raise ValueError(f"training.validation_scores has {', '.join(unknown)}, expected some of: {known}.")
        return names

    @model_validator(mode="after")
    def _has_one_initialization(self) -> Self:
        if self.scaling == "encoder" and self.encoder_weights is None:
            raise ValueError("training.scaling is encoder, but training.encoder_weights is null. Set both or neither.")
        if self.init_from is not None and self.encoder_weights is not None:
            raise ValueError("training.init_from and training.encoder_weights are both set. Set only one of them.")
        return self

    @property
    def half_size_epochs(self) -> int:
        """Number of the first epochs, which use images of half height and width."""
        return int(round(self.half_size_fraction * self.epochs, 6))  # 0.29 * 100 is slightly below 29

    @property
    def network_options(self) -> dict[str, Any]:
        """Options of the architecture. The defaults of `width` and its like apply to the SegNets only."""
        applies = self.architecture in SEGNETS
        options = {name: getattr(self, name) for name in SEGNET_OPTIONS if applies or name in self.model_fields_set}
        return {name: value for name, value in options.items() if value is not None} | self.options
