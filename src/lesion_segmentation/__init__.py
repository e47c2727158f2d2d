"""Skin lesion segmentation with SegNet-v2 on PH2."""

import os

# This must be set before torch is imported. Otherwise, if another process is busy, OpenMP's threads spin while they
# wait and slow training down several times (docs/results/speed.md). A value set by the user takes precedence.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.2.0"
