"""What a training can be told. Imports no torch, so that the command line stays quick."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed

VALIDATION_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {}
"""Further scores of validation by name: from probabilities and masks, both (N, H, W), to fractions by name. None are
known here; lesion_segmentation.paper adds its own."""


class OnlineAugmentationSettings(ParameterModel):
    """Random changes to each training picture each time it is seen; `enabled: false` leaves pictures as they are.

    Attributes:
        rotation: Degrees, drawn from [-rotation, rotation].
        scale: The picture is enlarged by a factor from [1 / (1 + scale), 1 + scale].
        shift: Fraction of height and width, each way.
        flip: Mirror left and right, and up and down, each with probability 1/2.
        elastic: Fraction of height and width by which points of a grid of 5 x 5 are moved at most, smoothly between.
        hairs: At most so many dark curves are drawn over the picture.
        corners: Share of the pictures that get a round frame with dark corners, where masks end.
        brightness: Added, as a fraction of the range, from [-brightness, brightness].
        contrast: Factor from [1 - contrast, 1 + contrast] about the picture's mean.
        saturation: Factor from [1 - saturation, 1 + saturation] about grey.
        channel_gain: Factor on each of red, green and blue from [1 - channel_gain, 1 + channel_gain].
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
        architecture: A key of lesion_segmentation.model.ARCHITECTURES.
        width, unpooling, logit_batch_norm: Options that the SegNets have; none where the architecture has no such.
        options: Further options of the architecture, by name.
        encoder_weights: What the encoder begins with: a file of data/01_raw/encoders without its ending
            (`make encoders` brings them), or none for fresh weights.
        init_from: A network that was trained before, which this one begins with: a weights file, or the id of the
            MLflow run that logged it. Architecture and options must be its own, and its scaling is kept.
        scaling: `raw` feeds 0 to 255, as the paper; `standardized` by mean and deviation of the training samples;
            `encoder` as the encoder's weights expect.
        source_rates: Of data from several sources, by their names, how often each picture is seen in an epoch: 1
            where it is not named, 3 is three times, 0.25 a quarter of them drawn anew each time.
        epochs, batch_size, seed: A fixed schedule; the last averaged weights are what is kept.
        loss: `bce`; or its sum with 1 - soft Dice (`bce_dice`), 1 - soft IoU (`bce_iou`), or the Lovasz hinge
            (`bce_lovasz`).
        optimizer: `sgd` (with `momentum`) or `adamw`; both obey `weight_decay`.
        learning_rate: The highest of the schedule.
        encoder_learning_rate: The same for the encoder alone; none is that of all.
        schedule: `inverse_time` divides by 1 + learning_rate_decay x updates (Keras' `decay`); `one_cycle` rises for
            30% of the updates and falls; `cosine` falls from the first update on.
        learning_rate_decay: Of `inverse_time`.
        batch_norm_momentum: As PyTorch counts it (Keras' 0.99 is 0.01).
        ema_decay: Of the exponential moving average of weights and running statistics; 0 keeps the last weights.
        device: `auto` takes a GPU where there is one.
        precision: `auto` takes bf16 where the hardware computes with it, else float32.
        threads: Of the processor; null is one a core. Sums of float32 depend on it in their last bits.
        resume: Go on from the last checkpoint, where there is one.
        validation_scores: Further scores of validation in each epoch's row, keys of VALIDATION_SCORES: `legacy`, those
            of the paper's code.
        calibrate: Whether a temperature is fitted to the validation cases and kept in the network, where it lowers
            their calibration error.
        online_augmentation: AugmentationParameters to pictures while training.
    """

    architecture: str = "segnet_skip"
    width: float | None = Field(0.25, ge=1 / 64, le=4)
    unpooling: Literal["indices", "nearest"] | None = "indices"
    logit_batch_norm: bool | None = False
    options: dict[str, Any] = Field(default_factory=dict)
    encoder_weights: str | None = None
    init_from: str | None = None
    scaling: Literal["raw", "standardized", "encoder"] = "standardized"
    source_rates: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(default_factory=dict)
    epochs: int = Field(400, ge=1, le=100_000)
    batch_size: int = Field(10, ge=1, le=100_000)
    seed: Seed = 0
    loss: Literal["bce", "bce_dice", "bce_iou", "bce_lovasz"] = "bce_iou"
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(0.002, gt=0)
    encoder_learning_rate: float | None = Field(None, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    schedule: Literal["inverse_time", "one_cycle", "cosine"] = "one_cycle"
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
            raise ValueError(f"training.validation_scores has {', '.join(unknown)}, expected some of: {known}")
        return names

    @model_validator(mode="after")
    def _begins_with_one(self) -> Self:
        if self.scaling == "encoder" and self.encoder_weights is None:
            raise ValueError("training.scaling is encoder, but training.encoder_weights names none")
        if self.init_from is not None and self.encoder_weights is not None:
            raise ValueError("training.init_from and training.encoder_weights are both set: choose one")
        return self

    @property
    def network_options(self) -> dict[str, Any]:
        """What the architecture is built with."""
        of_segnets = {name: getattr(self, name) for name in ("width", "unpooling", "logit_batch_norm")}
        return {name: value for name, value in of_segnets.items() if value is not None} | self.options
