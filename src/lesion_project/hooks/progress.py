"""One line for each stage of a run."""

import logging
import threading
import time

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

logger = logging.getLogger("lesion_segmentation")


class ProgressHooks:
    """Tells when a stage (a pipeline, or a part of `reporting`) has done all its steps, and how long these took."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        stages = [_stage(node) for node in pipeline.nodes]
        self._steps = {stage: stages.count(stage) for stage in stages}
        self._left, self._seconds, self._begun = dict(self._steps), dict.fromkeys(stages, 0.0), {}

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        self._begun[node.name] = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        stage = _stage(node)
        with self._lock:
            self._left[stage] = self._left.get(stage, 1) - 1
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - self._begun[node.name]
            done = self._left[stage] == 0
        if done:
            logger.info("%-22s %2d steps, %.1f s", stage, self._steps.get(stage, 1), self._seconds[stage])


def _stage(node: Node) -> str:
    return node.namespace or node.name
