"""Log a weights file as an MLflow model, with signature, requirements and an input example."""

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

import lesion_segmentation

REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")
"""Packages that the model's code imports. The architecture monai imports monai in addition."""


def log_model(client: Any, run_id: str, weights: str) -> None:
    """Log a weights file to the run's experiment as a pyfunc model that predicts masks, with the library's code."""
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    library = Path(lesion_segmentation.__file__).parent
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
    )
    # Without an experiment id, MLflow would log the model to the experiment of its global state, "Default" here.
    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, name="network", source_run_id=run_id)
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch, library.name)
        shutil.copytree(library, code, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
        Model.log(
            artifact_path=None,
            model_id=model.model_id,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"network": weights},
            code_paths=[str(code)],
            signature=signature,
            input_example=example(),
            # Without the local version: only PyTorch's own index has builds such as 2.13.0+cpu.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _requirements(weights)],
        )


def _requirements(weights: str) -> tuple[str, ...]:
    with safe_open(weights, framework="np") as file:
        architecture = json.loads(file.metadata()["architecture"])
    return (*REQUIREMENTS, "monai") if architecture == "monai" else REQUIREMENTS


def example() -> np.ndarray:
    """Return one small synthetic image of a dark spot on skin, uint8 (1, 24, 32, 3)."""
    rows, columns = np.mgrid[:24, :32]
    spot = ((rows - 12) ** 2 + (columns - 16) ** 2 < 49)[..., None]
    return np.where(spot, (110, 70, 60), (225, 180, 160)).astype(np.uint8)[None]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress MLflow's informational messages and its warnings for authors of models."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.setLevel(level)
