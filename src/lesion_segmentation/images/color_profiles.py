"""Colour profiles (ICC) that are embedded in images, and their transforms to sRGB."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

SRGB_TOLERANCE = 2
"""Maximum change of a grey level by a colour profile that is taken for sRGB. Other profiles change some by 9."""


@lru_cache(maxsize=8)
def find_transform(profile: Any, is_grey: bool) -> tuple[Any, str]:
    """Return a transform to sRGB, or None if the colours stay as they are, and a description of the profile.

    The profile is what Pillow found in the file, which is not always bytes.
    """
    from PIL import ImageCms  # late import: most images have no profile

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        modes = {"RGB ": "RGB", "GRAY": "L"} if is_grey else {"RGB ": "RGB"}
        mode = modes[source.profile.xcolor_space]
        target, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, target, mode, "RGB", intent)
        levels = np.linspace(0, 255, 18, dtype=np.uint8)
        colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
        before = Image.fromarray(colors).convert(mode)
        change = np.asarray(transform.apply(before), np.int16) - np.asarray(before.convert("RGB"), np.int16)
        name = "".join(filter(str.isprintable, source.profile.profile_description or "without a name"))
    except Exception:  # ImageCms raises several types
        return None, "ignored: it is damaged or for other pixels"
    return (None, "sRGB") if abs(change).max() <= SRGB_TOLERANCE else (transform, f"converted: {name[:60]}")
