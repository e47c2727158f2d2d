"""Kedro project that trains, evaluates and reports on lesion segmentation with the library `lesion_segmentation`."""
