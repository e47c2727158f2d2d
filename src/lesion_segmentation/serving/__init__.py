"""One network behind HTTP, and a page for people. Nothing of a picture is kept, logged or written to disk."""

from lesion_segmentation.serving.app import create_app
from lesion_segmentation.serving.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
