"""A network applied: scaling, batches, mirror images, any size."""

from lesion_segmentation.prediction.predict import predict

__all__ = ["predict"]
