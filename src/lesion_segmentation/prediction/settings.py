"""Parameter model of predictions. Imports no torch, so that the command line starts quickly."""

from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from pydantic import Field, model_validator

from lesion_segmentation.core.parameter_model import ParameterModel

if TYPE_CHECKING:
    from lesion_segmentation.model import NetworkMetadata

STORED_WITH_WEIGHTS = ("threshold", "test_time_augmentation", "keep_largest_component")
FOLLOW_WEIGHTS = (*STORED_WITH_WEIGHTS, "annotation_style")
"""Parameters that `kedro predict` takes from the weights unless the command line sets them."""

NOT_FINITE = "the network returns values that are not finite for it, so its weights or its scaling are unusable"
"""The reason why an image fails if one of its probabilities is NaN."""

TestTimeAugmentation = Literal["none", "four", "eight"]
"""Number of flips over which probabilities are averaged: the image and its three mirror images; `eight` adds the
transposed versions of these four."""

Engine = Literal["torch", "openvino"]
"""Software that computes the network."""

AnnotationFormat = Literal["coco", "labelme", "label-studio"]
"""Annotation tool, or format, for which outlines are written."""


class MaskOptions(TypedDict, total=False):
    """The options of `PredictionSettings` that change the masks. None, the default, selects the network's own value.

    The metadata contain no annotation style, so None selects the first output head.
    """

    threshold: float | None
    test_time_augmentation: TestTimeAugmentation | None
    keep_largest_component: bool | None
    annotation_style: str | None


class PredictionSettings(ParameterModel):
    """The parameters `prediction`.

    None in one of the first four settings selects the network's own value. A training stores `threshold`,
    `test_time_augmentation` and `keep_largest_component` with its weights. Every table of scores names them.

    Attributes:
        threshold: Pixels with a higher probability are lesion.
        test_time_augmentation: Flips over which probabilities are averaged.
        keep_largest_component: Keep only the largest connected component of each mask and fill its holes. Probabilities
            are unchanged.
        annotation_style: Annotation style that the masks follow, if the network has several output heads.
        overlays: Also write each image with the contour of its mask.
        probabilities: Also write probabilities as grey images.
        annotations: Also write the outlines of the masks for an annotation tool.
        rank: Also write ranking.csv, in which the images whose flips disagree most come first.
        device: `auto` uses a GPU if there is one.
        precision: `auto` uses bfloat16 if the hardware computes with it, else float32.
        batch_size: Number of images that are computed at once. Masks do not depend on it.
        engine: Software that computes the network. `openvino` runs on the CPU only and needs the extra `openvino`.
    """

    threshold: float | None = Field(None, ge=0, le=1)
    test_time_augmentation: TestTimeAugmentation | None = None
    keep_largest_component: bool | None = None
    annotation_style: str | None = None
    overlays: bool = False
    probabilities: bool = False
    annotations: AnnotationFormat | None = None
    rank: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    batch_size: int = Field(8, ge=1, le=10_000)
    engine: Engine = "torch"

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "openvino" and self.device == "cuda":
            raise ValueError("device is cuda, but the engine openvino runs on the CPU only. Use the engine torch.")
        return self

    def resolve(self, metadata: "NetworkMetadata") -> dict[str, Any]:
        """Return the settings that are stored with weights, with the values in the metadata instead of None."""
        given = self.model_dump(include=set(STORED_WITH_WEIGHTS), exclude_none=True)
        return {name: given.get(name, getattr(metadata, name)) for name in STORED_WITH_WEIGHTS}

    @property
    def kinds(self) -> list[str]:
        """Return which files each image gets, named by the end of their names."""
        optional = {"overlay": self.overlays, "probability": self.probabilities}
        return ["mask", *(kind for kind, wanted in optional.items() if wanted)]
