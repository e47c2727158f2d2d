"""A network applied: any picture to a mask.

torch is imported only when one of these names is asked for, so that the settings beside them load fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesion_segmentation.prediction.predictor import Prediction, Predictor, predict

__all__ = ["Prediction", "Predictor", "predict"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lesion_segmentation.prediction import predictor

    return getattr(predictor, name)
