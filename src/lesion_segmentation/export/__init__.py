"""One file that holds the whole way from a picture to a mask."""

from lesion_segmentation.export.onnx_file import export_onnx, make_onnx

__all__ = ["export_onnx", "make_onnx"]
