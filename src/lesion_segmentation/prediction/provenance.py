"""Provenance of masks: the record of everything that they depend on."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lesion_segmentation.core.differences import find_differences
from lesion_segmentation.core.errors import InputError

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction.predictor import Predictor

PROVENANCE = "predictions.json"
FORMAT_VERSION = 2
"""Version 1 had a journal or Parquet files instead of part files."""


def describe_provenance(network: "Network", predictor: "Predictor") -> dict[str, Any]:
    """Return everything that the masks depend on: a digest of the weights and their metadata, and the settings."""
    digest = hashlib.sha256(json.dumps(network.metadata.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(network.own_state().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "weights": digest.hexdigest()[:16],
        "architecture": network.title,
        "trained_on": network.metadata.source,
        "threshold": predictor.threshold,
        "test_time_augmentation": predictor.test_time_augmentation,
        "keep_largest_component": predictor.keep_largest_component,
        "annotation_style": predictor.annotation_style,
        "precision": predictor.precision,
    }


def encode_provenance(provenance: Mapping[str, Any]) -> bytes:
    """Return the content of the provenance record."""
    return json.dumps({**provenance, "format_version": FORMAT_VERSION}, indent=2).encode()


def require_same_provenance(target: object, record: bytes, provenance: Mapping[str, Any]) -> None:
    """Check that the masks in a target were predicted as they would be now.

    Raises:
        InputError: The provenance differs, or the record is damaged.
    """
    try:
        found = json.loads(record.decode("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected an object, found {type(found).__name__}")
    except ValueError as error:
        raise InputError(
            f"{target}/{PROVENANCE} is damaged ({error}). Choose another folder, or remove this one."
        ) from error
    differences = find_differences(found, {**provenance, "format_version": FORMAT_VERSION}, {})
    if differences:
        raise InputError.from_problems(
            f"{target} contains predictions with another provenance",
            [f"{name}: {there} there, {now} now" for name, there, now in differences],
            "Choose another folder.",
        )
