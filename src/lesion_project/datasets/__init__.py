"""Catalog datasets of ours.

torch is imported only where a network is read or written, so that kedro-viz starts fast.
"""

from lesion_project.datasets.arrays import CaseArrays
from lesion_project.datasets.atomic import Figure, OptionalFile, Record, Table, Text
from lesion_project.datasets.folder import OwnCases
from lesion_project.datasets.joined_cases import JoinedCases
from lesion_project.datasets.network import EncoderFolder, NetworkDataset, TrainingCheckpoint
from lesion_project.datasets.predictions import Pictures, Predictions, TrueMasks
from lesion_project.datasets.run_artifact import RunArtifact
from lesion_project.datasets.synthetic import SyntheticCases
from lesion_project.datasets.trained_networks import TrainedNetworks

__all__ = [
    "CaseArrays",
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
    "TrainedNetworks",
    "TrainingCheckpoint",
    "TrueMasks",
]
