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
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.store import PredictionStore
from lesion_segmentation.prediction.stream import predict_to_store

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

SHARD_SIZE = 200
"""Number of images in a shard. If a worker dies, another one predicts its whole shard again."""
MAX_SHARDS = 5000
"""Maximum number of shards. With more than SHARD_SIZE x MAX_SHARDS images, the shards become larger."""

_prepared: dict[str, "Predictor"] = {}
"""At most one entry: the predictor of the last shard in this process, by its provenance and settings."""


def predict_shards(
    network: "Network",
    files: Sequence[ImageFile],
    store: PredictionStore,
    settings: PredictionSettings,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Predict all given files with the Dask workers of `open_workers`, into a store that this process has claimed.

    Workers must be able to read the files under the same paths.
    """
    size = max(SHARD_SIZE, math.ceil(len(files) / MAX_SHARDS))
    with open_workers(workers, scheduler) as client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")  # the graph contains the network
        # The network is the result of a task, which Dask repeats if the only worker that holds it dies.
        shared = client.submit(_share, network, pure=False)
        work = {
            f"{first + 1} to {min(first + size, len(files))}": (
                shared, files[first : first + size], store.target, store.provenance, settings,
            )
            for first in range(0, len(files), size)
        }  # fmt: skip
        for number, (name, _) in enumerate(map_over(client, predict_shard, work), 1):
            logger.info("Images %s are finished (%d of %d shards)", name, number, len(work))


def _share(network: "Network") -> "Network":
    return network


def predict_shard(
    network: "Network",
    files: Sequence[ImageFile],
    target: Location,
    provenance: Mapping[str, Any],
    settings: PredictionSettings,
) -> None:
    """Predict one shard on a worker, into the target that the calling machine has claimed with this provenance.

    Files that a dead worker has finished are predicted again, because finding them would mean reading the part files
    of all shards.
    """
    from lesion_segmentation.prediction.predictor import make_predictor

    store = PredictionStore(target)
    store.join(provenance, settings.kinds)
    key = f"{dict(provenance)} {settings}"
    if key not in _prepared:
        _prepared.clear()
        _prepared[key] = make_predictor(network, settings)
    with redirect_output(Path(os.devnull)):  # hides the progress bar
        predict_to_store(_prepared[key], files, store, settings)
