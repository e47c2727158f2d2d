"""The pictures of a folder in shards over Dask's workers, each of which prepares the network once."""

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion_segmentation.core.storage import Location
from lesion_segmentation.core.workers import map_over, open_workers, written_to
from lesion_segmentation.prediction.folder import PredictionFolder
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.loading import make_predictor
from lesion_segmentation.prediction.provenance import join_folder
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.stream import predict_remaining
from lesion_segmentation.prediction.tables import Target, open_target

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction import Predictor

logger = logging.getLogger(__name__)

SHARD = 200
"""Pictures that a worker takes at once; what one did not finish is done by another."""
MOST_SHARDS = 5000
"""Of more pictures the shards are larger, and so are the parts of their table."""

_prepared: dict[str, "Predictor"] = {}
"""Of this process: the network of the last shard, by what its masks depend on."""


def predict_shards(
    network: "Network",
    files: Sequence[ImageFile],
    folder: Target,
    settings: RunSettings,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Predict what is left of the files into a folder that was claimed, over one file system or place.

    Raises:
        InputError: The cluster does not answer, the disk is full, or several workers died of one shard.
    """
    left = folder.left(files)
    size = max(SHARD, math.ceil(len(left) / MOST_SHARDS))
    with open_workers(workers, scheduler) as client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")  # the network, once a worker
        # A piece of work, and no scattered data: what a dead worker held alone can then be had again.
        shared = client.submit(_share, network, pure=False)
        work = {
            f"{first + 1} to {min(first + size, len(left))}": (
                shared, left[first : first + size], folder.target, folder.provenance, folder.kinds, settings,
            )
            for first in range(0, len(left), size)
        }  # fmt: skip
        for number, (name, _) in enumerate(map_over(client, predict_shard, work), 1):
            logger.info("Pictures %s are done, %d of %d shards", name, number, len(work))


def _share(network: "Network") -> "Network":
    return network


def predict_shard(
    network: "Network",
    files: Sequence[ImageFile],
    target: Location,
    provenance: Mapping[str, Any],
    kinds: Sequence[str],
    settings: RunSettings,
) -> None:
    """On a worker: what is left of these files, noted in a journal of its own."""
    join_folder(target, provenance)
    key = f"{dict(provenance)} {settings}"
    if key not in _prepared:
        _prepared.clear()
        _prepared[key] = make_predictor(network, settings)
    folder = open_target(target, provenance, kinds, rows=len(files))
    # A shard's part is written at its end: where one is begun anew, nothing of it is done.
    left = folder.left(files) if isinstance(folder, PredictionFolder) else files
    with written_to(Path(os.devnull)):  # its bar
        predict_remaining(_prepared[key], left, folder, settings)
    folder.close()
