"""The logged model, which MLflow loads from this code instead of a pickle."""

from typing import Any

import mlflow
import numpy as np


class MaskPredictor(mlflow.pyfunc.PythonModel):
    """Predict masks, uint8 (N, H, W) with 1 inside the lesion, for images of any size, uint8 (N, H, W, 3)."""

    def load_context(self, context: Any) -> None:
        """Load the weights once."""
        from lesion_segmentation.model import load_network
        from lesion_segmentation.prediction import Predictor

        self.predictor = Predictor(load_network(context.artifacts["network"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict with the threshold and input scaling of the network's metadata."""
        masks = [prediction.mask for prediction in self.predictor(model_input)]
        return np.asarray(masks, dtype=np.uint8).reshape(model_input.shape[:3])


mlflow.models.set_model(MaskPredictor())
