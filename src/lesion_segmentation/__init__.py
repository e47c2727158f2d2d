"""Skin lesion segmentation with SegNet-v2 on PH2: a library, and Kedro pipelines that wire it."""

__version__ = "0.2.0"
