"""Architectures of networks, their weights and their metadata."""

from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.segnet import SegNet
from lesion_segmentation.model.weights import ARCHITECTURES, build_network, check_options, load_network, save_network

__all__ = ["ARCHITECTURES", "Network", "NetworkMetadata", "SegNet", "build_network", "check_options", "load_network",
           "save_network"]  # fmt: skip
