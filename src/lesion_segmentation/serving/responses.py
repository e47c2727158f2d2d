"""From bytes to a picture, and from a prediction to what a caller gets."""

import base64
import io
from typing import Any

import contourpy
import numpy as np
from PIL import Image

from lesion_segmentation.images.read import ImageTooLarge, UnreadableImage, read_rgb
from lesion_segmentation.prediction import Prediction
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.serving.limits import Refusal


def decode(content: bytes, max_pixels: int) -> np.ndarray:
    """A picture as it is looked at, uint8 (H, W, 3).

    Raises:
        Refusal: It is no picture (415), too large (413), damaged or of a kind that is not read (422).
    """
    try:
        return read_rgb(io.BytesIO(content), max_pixels)
    except UnreadableImage as error:
        raise Refusal(415, f"The file cannot be used: {error}.") from None
    except ImageTooLarge as error:
        raise Refusal(413, f"The picture cannot be used: {error}.") from None
    except MemoryError:
        raise Refusal(503, "There is too little memory for this picture just now.") from None
    except ValueError as error:
        raise Refusal(422, f"The picture cannot be used: {error}.") from None


def describe(image: np.ndarray, prediction: Prediction, with_probability: bool) -> dict[str, Any]:
    """What predictions.csv says of a picture, with contours (lists of [x, y] in pixels) and the mask as a PNG."""
    probability, mask = prediction
    row = describe_prediction(probability, mask, image)
    answer: dict[str, Any] = {name: None if value == "" else value for name, value in row.items() if name != "flag"}
    answer |= {"flag": row["flag"].split(), "contour": find_contours(mask), "mask": to_base64(to_png(255 * mask))}
    if with_probability:
        answer["probability"] = to_base64(to_png(np.round(255 * probability)))
    return answer


def find_contours(mask: np.ndarray) -> list[list[list[float]]]:
    """Closed lines around the parts of a mask (H, W), in pixels, half-way between lesion and skin."""
    padded = np.pad(mask.astype(np.float32), 1)
    lines = contourpy.contour_generator(z=padded).lines(0.5)
    return [[[float(x), float(y)] for x, y in np.asarray(line) - 1] for line in lines]


def to_png(grey: np.ndarray) -> bytes:
    """Grey levels (H, W), 0 to 255."""
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
