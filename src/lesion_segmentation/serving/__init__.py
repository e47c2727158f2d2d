"""HTTP service for one network, with a web page. Images are neither stored nor logged nor written to disk."""

from lesion_segmentation.serving.app import create_app
from lesion_segmentation.serving.service import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
