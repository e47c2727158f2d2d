"""What happens around a run."""

from lesion_segmentation.hooks.checks import InputHooks
from lesion_segmentation.hooks.summary import SummaryHooks
from lesion_segmentation.hooks.tracking import TrackingHooks

__all__ = ["InputHooks", "SummaryHooks", "TrackingHooks"]
