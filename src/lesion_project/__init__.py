"""Kedro project that trains, evaluates and reports on lesion segmentation with the library `lesion_segmentation`."""

import os

os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")  # .telemetry only has an effect in the folder of the project
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
