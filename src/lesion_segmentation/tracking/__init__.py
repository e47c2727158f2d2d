"""MLflow: where runs are kept, one run from begin to end, what of a run goes there and when, and the model."""

from lesion_segmentation.tracking.hooks import TrackingHooks
from lesion_segmentation.tracking.run import TrackedRun, flatten
from lesion_segmentation.tracking.store import probe, resolve_uri

__all__ = ["TrackedRun", "TrackingHooks", "flatten", "probe", "resolve_uri"]
