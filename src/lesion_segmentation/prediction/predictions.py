"""Predictions of files that are yet to be made: here one after the other, or over workers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location
from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.loading import describe_masks, make_predictor
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.shards import predict_shards
from lesion_segmentation.prediction.stream import predict_folder
from lesion_segmentation.prediction.tables import open_target

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction import Predictor


@dataclass(frozen=True)
class Predictions:
    """Predictions of files that are yet to be made, and what their masks depend on."""

    network: "Network"
    predictor: "Predictor"
    chosen: SelectedImages
    settings: RunSettings
    provenance: dict[str, Any]

    def write_to(self, target: Location, workers: int | None = None, scheduler: str | None = None) -> tuple[int, int]:
        """Make them in a folder, here or over workers; gives how many of the chosen are done, and how many failed.

        Raises:
            InputError: The folder holds masks of others, or cannot be written.
        """
        folder = open_target(target, self.provenance, kinds_of(self.settings), scheduler)
        folder.claim(self.chosen.files)
        if workers is None and scheduler is None:
            predict_folder(self.predictor, self.chosen.files, folder, self.settings)
        else:
            predict_shards(self.network, self.chosen.files, folder, self.settings, workers, scheduler)
        done, failed = folder.finish(self.chosen.listed, self.chosen.files)
        if lost := len(self.chosen.files) - done - failed:
            raise InputError(f"{lost} pictures are in no table of {target}: was it changed? Predict once more.")
        return done, failed


def kinds_of(settings: RunSettings) -> list[str]:
    """Which files each picture gets."""
    return ["mask", *(["overlay"] if settings.overlays else []), *(["probability"] if settings.probabilities else [])]


def prepare(network: "Network", chosen: SelectedImages, settings: RunSettings) -> Predictions:
    """Get a network ready for these pictures."""
    predictor = make_predictor(network, settings)
    return Predictions(network, predictor, chosen, settings, describe_masks(network, predictor))
