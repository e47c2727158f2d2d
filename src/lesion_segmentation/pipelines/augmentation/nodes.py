"""What must be imported late: Matplotlib."""

from typing import Any

import numpy as np
import pandas as pd


def draw_samples(
    sample_images: dict[str, np.ndarray],
    sample_masks: dict[str, np.ndarray],
    samples: pd.DataFrame,
    cases: pd.DataFrame,
) -> Any:
    """A sheet of training samples."""
    from lesion_segmentation.report import figures

    return figures.draw_samples(sample_images, sample_masks, samples, cases)
