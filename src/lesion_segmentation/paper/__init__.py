"""Protocols, copies and scores of the reproduced paper. Importing this package registers them by name.

The paper is Harlapur and Handur, "Skin Lesion Segmentation Using Deep Learning Convolutional Neural Network". Its
settings follow the notebook hashbanger/Skin_Lesion_Segmentation. Only the Kedro project's pipelines import this
package, and they work without it: after deleting this package, conf/paper and `split.protocol` in conf/base, a general
segmentation project remains.
"""

from lesion_segmentation.data.samples import COPIES
from lesion_segmentation.data.splits import PROTOCOLS
from lesion_segmentation.paper.copies import flip, rotate_sample
from lesion_segmentation.paper.legacy import legacy_scores
from lesion_segmentation.paper.split import PAPER, PAPER_LEAKY
from lesion_segmentation.training.settings import VALIDATION_SCORES

PROTOCOLS |= {"paper": PAPER, "paper_leaky": PAPER_LEAKY}
COPIES |= {"rotated": rotate_sample, "flipped": flip}
VALIDATION_SCORES |= {"legacy": legacy_scores}

__all__ = ["legacy_scores"]
