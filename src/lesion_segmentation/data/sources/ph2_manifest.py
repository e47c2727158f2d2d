"""The manifest of PH2: the size and the hashes of every image and mask."""

from importlib import resources

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.images.read import pixel_hash, to_mask, to_rgb


def read_manifest() -> pd.DataFrame:
    """Return the 200 cases, indexed by case_id, with width, height and the hashes of `describe_images`."""
    with resources.files("lesion_segmentation.data.sources").joinpath("ph2_manifest.csv").open() as file:
        return pd.read_csv(file).set_index("case_id")


def describe_images(image: Image.Image, mask: Image.Image) -> dict[str, object]:
    """Return the row of the manifest for an image and its mask: size in pixels, and SHA-256 hashes of the pixels."""
    return {
        "width": image.width,
        "height": image.height,
        "image_sha256": pixel_hash(to_rgb(image)),
        "mask_sha256": pixel_hash(to_mask(mask)),
        "small_image_sha256": small_image_hash(image),
    }


def small_image_hash(image: Image.Image) -> str:
    """Return the hash of the pixels at 256 x 192 (Lanczos), which identifies a case whatever its file name is."""
    return pixel_hash(np.asarray(image.convert("RGB").resize((256, 192), Image.Resampling.LANCZOS)))


def match_manifest(cases: pd.DataFrame) -> np.ndarray:
    """Return for each case whether its case_id, image_sha256 and mask_sha256 are those of a case of PH2."""
    keys = ["image_sha256", "mask_sha256"]
    known = set(read_manifest()[keys].itertuples(name=None))
    return np.array([row in known for row in cases.set_index("case_id")[keys].itertuples(name=None)], dtype=bool)
