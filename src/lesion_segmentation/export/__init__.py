"""Export of a network with its preprocessing and postprocessing to one file."""

from lesion_segmentation.export.onnx_file import export_onnx, make_onnx

__all__ = ["export_onnx", "make_onnx"]
