"""Catalog datasets of ours.

torch is imported only where a network is read or written, so that kedro-viz starts fast.
"""

from lesion_segmentation.datasets.arrays import CaseArrays
from lesion_segmentation.datasets.earlier import EarlierNetworks
from lesion_segmentation.datasets.folder import OwnCases
from lesion_segmentation.datasets.joined import JoinedCases
from lesion_segmentation.datasets.network import EncoderFolder, NetworkDataset, TrainingCheckpoint
from lesion_segmentation.datasets.predictions import Pictures, Predictions, TrueMasks
from lesion_segmentation.datasets.run_artifact import RunArtifact
from lesion_segmentation.datasets.synthetic import SyntheticCases
from lesion_segmentation.datasets.whole import Figure, OptionalFile, Record, Table, Text

__all__ = [
    "CaseArrays",
    "EarlierNetworks",
    "EncoderFolder",
    "Figure",
    "JoinedCases",
    "NetworkDataset",
    "OptionalFile",
    "OwnCases",
    "Pictures",
    "Predictions",
    "Record",
    "RunArtifact",
    "SyntheticCases",
    "Table",
    "Text",
    "TrainingCheckpoint",
    "TrueMasks",
]
