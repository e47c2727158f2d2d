"""The model as MLflow loads it: from code, not from a pickle."""

from typing import Any

import mlflow
import numpy as np


class MaskPredictor(mlflow.pyfunc.PythonModel):
    """Images, uint8 (N, H, W, 3), to masks, uint8 (N, H, W), 1 where lesion."""

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        from lesion_segmentation.model import load_network

        self.network = load_network(context.artifacts["network"])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Predict without mirror images, at the network's threshold."""
        from lesion_segmentation.prediction import predict

        return (predict(self.network, model_input) > self.network.metadata.threshold).astype(np.uint8)


mlflow.models.set_model(MaskPredictor())
