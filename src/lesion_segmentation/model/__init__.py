"""Networks by architecture, and their weights."""

from lesion_segmentation.model.network import Network, NetworkMetadata
from lesion_segmentation.model.segnet import SegNet
from lesion_segmentation.model.weights import ARCHITECTURES, build_network, load_network, save_network

__all__ = ["ARCHITECTURES", "Network", "NetworkMetadata", "SegNet", "build_network", "load_network", "save_network"]
