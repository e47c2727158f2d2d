"""What the reporting can be told."""

from pydantic import Field

from lesion_segmentation.group import Group


class ReportingSettings(Group):
    """The parameters `reporting`.

    Attributes:
        score_test: False leaves the test cases untouched: so are recipes searched.
        enhanced_threshold: A second threshold, below the network's of 0.5: the paper's enhancement of its predictions.
    """

    score_test: bool = True
    enhanced_threshold: float = Field(0.2, gt=0, lt=0.5)
