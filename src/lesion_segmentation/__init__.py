"""Skin lesion segmentation with SegNet-v2 on PH2: a library, and Kedro pipelines that wire it."""

import os

# Before torch is loaded: beside another busy process OpenMP's threads would spin against it and slow a training down
# several times over (docs/benchmarks.md). Who has set it knows better.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.2.0"
