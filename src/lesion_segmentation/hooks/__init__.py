"""What happens around a run, MLflow apart (lesion_segmentation.tracking)."""

from lesion_segmentation.hooks.checks import InputHooks
from lesion_segmentation.hooks.one_run import OneRunHooks
from lesion_segmentation.hooks.progress import ProgressHooks
from lesion_segmentation.hooks.summary import SummaryHooks

__all__ = ["InputHooks", "OneRunHooks", "ProgressHooks", "SummaryHooks"]
