"""The model as MLflow loads it: from code, not from a pickle."""

from typing import Any

import mlflow
import numpy as np


class MaskPredictor(mlflow.pyfunc.PythonModel):
    """Images of any size, uint8 (N, H, W, 3), to masks, uint8 (N, H, W), 1 where lesion."""

    def load_context(self, context: Any) -> None:
        """Read the weights and prepare them once."""
        from lesion_segmentation.model import load_network
        from lesion_segmentation.prediction import Predictor

        self.predictor = Predictor(load_network(context.artifacts["network"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict as the network's metadata say."""
        masks = [prediction.mask for prediction in self.predictor(model_input)]
        return np.asarray(masks, dtype=np.uint8).reshape(model_input.shape[:3])


mlflow.models.set_model(MaskPredictor())
