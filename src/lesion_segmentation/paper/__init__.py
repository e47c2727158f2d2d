"""What is the paper's alone; to import it makes its protocols, copies and scores known by name.

Harlapur and Handur, "Skin Lesion Segmentation Using Deep Learning Convolutional Neural Network", and the notebook
hashbanger/Skin_Lesion_Segmentation, whose settings it follows. Nothing else in the package imports this room but
pipelines/paper, which pipeline_registry.py leaves out where the room is gone: whoever deletes it, conf/paper and
`split.protocol` in conf/base has a segmentation project left.
"""

from lesion_segmentation.data.samples import COPIES
from lesion_segmentation.data.splits import PROTOCOLS
from lesion_segmentation.paper.copies import flip_sample, rotate_sample
from lesion_segmentation.paper.legacy import legacy_scores
from lesion_segmentation.paper.split import PAPER, PAPER_LEAKY
from lesion_segmentation.training.settings import VALIDATION_SCORES

PROTOCOLS |= {"paper": PAPER, "paper_leaky": PAPER_LEAKY}
COPIES |= {"rotated": rotate_sample, "flipped": flip_sample}
VALIDATION_SCORES |= {"legacy": legacy_scores}

__all__ = ["legacy_scores"]
