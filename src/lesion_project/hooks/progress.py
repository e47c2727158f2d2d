"""Progress of a run: one log line per stage."""

import logging
import threading
import time

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

logger = logging.getLogger("lesion_segmentation")


class ProgressHooks:
    """Hooks that log one line when all nodes of a stage have finished, with the sum of their durations.

    A stage is a pipeline or a namespace within `reporting`. A node without a namespace is a stage of its own.
    """

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._remaining: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        stages = [_stage(node) for node in pipeline.nodes]
        self._totals = {stage: stages.count(stage) for stage in stages}
        self._remaining, self._seconds, self._started = dict(self._totals), dict.fromkeys(stages, 0.0), {}

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        self._started[node.name] = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        stage = _stage(node)
        with self._lock:
            self._remaining[stage] = self._remaining.get(stage, 1) - 1
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - self._started[node.name]
            done = self._remaining[stage] == 0
        if done:
            logger.info("%-22s %2d nodes, %.1f s", stage, self._totals.get(stage, 1), self._seconds[stage])


def _stage(node: Node) -> str:
    return node.namespace or node.name
