"""How fast training and inference are, as ratios to the arithmetic at the machine's own matrix-multiply rate."""

import lesion_segmentation  # noqa: F401 (it sets what must be set before torch is loaded)
