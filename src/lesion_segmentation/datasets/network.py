"""A network in the catalog."""

from typing import Any

from lesion_segmentation.datasets.whole import WholeFile
from lesion_segmentation.files import replacing


class NetworkDataset(WholeFile):
    """A network with its metadata, as one safetensors file."""

    def load(self) -> Any:
        """Build the network on the CPU, ready to predict."""
        from lesion_segmentation.model import load_network

        return load_network(self._filepath)

    def save(self, data: Any) -> None:
        """Write weights and metadata; what stood there before is replaced only when that succeeded."""
        from lesion_segmentation.model import save_network

        with replacing(self._filepath) as path:
            save_network(data, path)
