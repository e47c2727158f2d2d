"""Decoding of images in requests, and encoding of predictions in responses."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from lesion_segmentation.images.contours import trace_contours
from lesion_segmentation.images.read import ImageTooLarge, UnreadableImage, read_rgb
from lesion_segmentation.prediction import Prediction
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.serving.limits import Refusal


def decode(content: bytes, max_pixels: int) -> np.ndarray:
    """Decode an image as it is displayed, uint8 (H, W, 3).

    Raises:
        Refusal: The content is no image (415), too large (413), damaged or of an unsupported kind (422), or the memory
            is not sufficient (503).
    """
    try:
        return read_rgb(io.BytesIO(content), max_pixels)
    except UnreadableImage as error:
        raise Refusal(415, f"The file cannot be used: {error}.") from None
    except ImageTooLarge as error:
        raise Refusal(413, f"The image cannot be used: {error}.") from None
    except MemoryError:
        raise Refusal(503, "The server has too little memory for this image. Try again later.") from None
    except ValueError as error:
        raise Refusal(422, f"The image cannot be used: {error}.") from None


def describe(image: np.ndarray, prediction: Prediction, with_probability: bool) -> dict[str, Any]:
    """Describe a prediction as in predictions.csv, with contours and mask.

    Args:
        image: uint8 (H, W, 3).
        prediction: The prediction for this image.
        with_probability: Whether to add the probabilities as a grey PNG, in which 255 is 1.

    Returns:
        The columns of `describe_prediction`, with None for empty values and `flag` as a list; `contour`, lists of
        [x, y] in pixels; and base64-encoded PNG files, `mask` with 0 and 255, and `probability`.
    """
    probability, mask = prediction
    row = describe_prediction(probability, mask, image)
    answer: dict[str, Any] = {name: None if value == "" else value for name, value in row.items() if name != "flag"}
    contours = [line.tolist() for line in trace_contours(mask)]
    answer |= {"flag": row["flag"].split(), "contour": contours, "mask": to_base64(to_png(255 * mask))}
    if with_probability:
        answer["probability"] = to_base64(to_png(np.round(255 * probability)))
    return answer


def to_png(grey: np.ndarray) -> bytes:
    """Encode grey levels (H, W), 0 to 255, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
