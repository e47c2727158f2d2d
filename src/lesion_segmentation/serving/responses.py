"""Decoding of images in requests, and encoding of predictions in responses."""

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lesion_segmentation.evaluation.expected_dice import Knot
from lesion_segmentation.images.masks import trace_contours
from lesion_segmentation.images.png import encode_mask, encode_png
from lesion_segmentation.images.read import ImageTooLarge, RgbImage, UnreadableImage, read_rgb
from lesion_segmentation.prediction import Prediction
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.prediction.input_images import require_side
from lesion_segmentation.serving.limits import Refusal


def decode(content: bytes, max_pixels: int, input_size: tuple[int, int] | None) -> RgbImage:
    """Decode an image as it is displayed, in sRGB, for a network with this input size.

    Raises:
        Refusal: The content is no image (415), too large (413), damaged, too small or of an unsupported kind (422), or
            the memory is not sufficient (503).
    """
    try:
        image = read_rgb(io.BytesIO(content), max_pixels)
        require_side(image, input_size)
    except UnreadableImage as error:
        raise Refusal(415, f"The file cannot be used: {error}.") from None
    except ImageTooLarge as error:
        raise Refusal(413, f"The image cannot be used: {error}.") from None
    except MemoryError:
        raise Refusal(503, "The server has too little memory for this image. Try again later.") from None
    except ValueError as error:
        raise Refusal(422, f"The image cannot be used: {error}.") from None
    return image


def describe(
    image: RgbImage, prediction: Prediction, with_probability: bool, knots: Sequence[Knot] = ()
) -> dict[str, Any]:
    """Describe the prediction for an image as in predictions.csv, with contours and mask.

    Returns:
        The columns of `describe_prediction`, with None for empty values and `flag` as a list; `contour`, lists of
        [x, y] in pixels; and base64-encoded PNG files: `mask` with 0 and 255 and, if requested, `probability`, in
        which 255 is 1.
    """
    probability, mask = prediction
    row = describe_prediction(probability, mask, *image, knots)
    answer: dict[str, Any] = {name: None if value == "" else value for name, value in row.items()}
    answer["flag"] = row["flag"].split()
    answer["contour"] = [line.tolist() for line in trace_contours(mask)]
    answer["mask"] = base64.b64encode(encode_mask(mask)).decode()
    if with_probability:
        answer["probability"] = base64.b64encode(encode_png(np.round(255 * probability).astype(np.uint8))).decode()
    return answer


def prefers_png(accept: str) -> bool:
    """Return whether a header Accept weights image/png higher than application/json, or as high as any type."""
    weights: dict[str, float] = {}
    for media_range in "".join(accept.lower().split()).split(","):
        media_type, *parameters = media_range.split(";")
        found = [re.fullmatch(r"q=([01](?:\.\d*)?)", parameter) for parameter in parameters]
        weights[media_type] = next((float(weight[1]) for weight in found if weight), 1.0)
    png = weights.get("image/png", 0.0)
    return png > weights.get("application/json", 0.0) and png >= weights.get("*/*", 0.0)
