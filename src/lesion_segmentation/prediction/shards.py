"""Prediction in shards by Dask workers. Each worker prepares the network once."""

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion_segmentation.core.storage import Location
from lesion_segmentation.core.workers import map_over, open_workers, redirect_output
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.loading import make_predictor
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.store import PredictionStore
from lesion_segmentation.prediction.stream import predict_to_store

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

SHARD_SIZE = 200
"""Number of images that a worker takes at once. If it dies, another worker predicts the shard again."""
MAX_SHARDS = 5000
"""With more images, the shards become larger."""

_prepared: dict[str, "Predictor"] = {}
"""The predictor of the last shard in this process, by provenance and settings."""


def predict_shards(
    network: "Network",
    files: Sequence[ImageFile],
    store: PredictionStore,
    settings: PredictionSettings,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Predict all given files into a claimed store that the workers share.

    Raises:
        InputError: The cluster does not answer, the disk is full, or several workers died of one shard.
    """
    size = max(SHARD_SIZE, math.ceil(len(files) / MAX_SHARDS))
    with open_workers(workers, scheduler) as client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")  # the network, once per worker
        # A task instead of scattered data: if the only worker that holds the network dies, Dask can compute it again.
        shared = client.submit(_share, network, pure=False)
        work = {
            f"{first + 1} to {min(first + size, len(files))}": (
                shared, files[first : first + size], store.target, store.provenance, settings,
            )
            for first in range(0, len(files), size)
        }  # fmt: skip
        for number, (name, _) in enumerate(map_over(client, predict_shard, work), 1):
            logger.info("Images %s are finished, %d of %d shards", name, number, len(work))


def _share(network: "Network") -> "Network":
    return network


def predict_shard(
    network: "Network",
    files: Sequence[ImageFile],
    target: Location,
    provenance: Mapping[str, Any],
    settings: PredictionSettings,
) -> None:
    """Predict one shard on a worker.

    All its files are predicted, since a worker that looked for finished ones would read the part files of all shards.
    """
    store = PredictionStore(target)
    store.join(provenance, settings.kinds)
    key = f"{dict(provenance)} {settings}"
    if key not in _prepared:
        _prepared.clear()
        _prepared[key] = make_predictor(network, settings)
    with redirect_output(Path(os.devnull)):  # the progress bar
        predict_to_store(_prepared[key], files, store, settings)
