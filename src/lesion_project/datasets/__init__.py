"""Dataset types of the catalog. They import torch only to read or write a network, so that kedro-viz starts fast."""

from lesion_project.datasets.arrays import CaseArrays
from lesion_project.datasets.atomic import Figure, OptionalFile, Record, Table, Text
from lesion_project.datasets.folder import OwnCases
from lesion_project.datasets.joined_cases import JoinedCases
from lesion_project.datasets.network import EncoderFolder, NetworkDataset, TrainingCheckpoint
from lesion_project.datasets.predictions import InputImages, Target, TrueMasks
from lesion_project.datasets.run_artifact import RunArtifact
from lesion_project.datasets.synthetic import SyntheticCases
from lesion_project.datasets.trained_networks import TrainedNetworks

__all__ = [
    "CaseArrays",
    "EncoderFolder",
    "Figure",
    "InputImages",
    "JoinedCases",
    "NetworkDataset",
    "OptionalFile",
    "OwnCases",
    "Record",
    "RunArtifact",
    "SyntheticCases",
    "Table",
    "Target",
    "Text",
    "TrainedNetworks",
    "TrainingCheckpoint",
    "TrueMasks",
]
