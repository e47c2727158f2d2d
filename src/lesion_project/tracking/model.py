"""A weights file as a model of MLflow's: how to call it, what it needs, an example."""

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

REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")
"""What the model's code imports; that of the architecture monai imports monai, too."""


def log_model(client: Any, run_id: str, weights: str) -> None:
    """Upload it to the run's experiment as a pyfunc model that gives masks for images, with this package's code."""
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    package = Path(__file__).parents[1]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
    )
    # Made by its experiment's id: MLflow would put it into the experiment of its global state, "Default" here.
    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, name="network", source_run_id=run_id)
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch, package.name)
        shutil.copytree(package, code, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
        Model.log(
            artifact_path=None,
            model_id=model.model_id,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            python_model=str(package / "tracking" / "pyfunc.py"),
            artifacts={"network": weights},
            code_paths=[str(code)],
            signature=signature,
            input_example=example(),
            # Without the build's name: no index but PyTorch's own has 2.13.0+cpu.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _requirements(weights)],
        )


def _requirements(weights: str) -> tuple[str, ...]:
    with safe_open(weights, framework="np") as file:
        architecture = json.loads(file.metadata()["architecture"])
    return (*REQUIREMENTS, "monai") if architecture == "monai" else REQUIREMENTS


def example() -> np.ndarray:
    """One small drawn picture, uint8 (1, H, W, 3): a dark spot on skin."""
    rows, columns = np.mgrid[:24, :32]
    spot = ((rows - 12) ** 2 + (columns - 16) ** 2 < 49)[..., None]
    return np.where(spot, (110, 70, 60), (225, 180, 160)).astype(np.uint8)[None]


@contextmanager
def quiet() -> Iterator[None]:
    """Without MLflow's hints to its users' users."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.setLevel(level)
