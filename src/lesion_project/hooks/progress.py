"""Progress of a run: one log line per stage, which is a namespace, or a node without one."""

import logging
import threading
import time
from collections import Counter, defaultdict

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lesion_segmentation.core.errors import pluralize

logger = logging.getLogger("lesion_segmentation")


class ProgressHooks:
    """Logs one line when all nodes of a stage have finished, with the sum of their durations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        self._remaining = Counter(_stage(node) for node in pipeline.nodes)
        self._totals, self._seconds = self._remaining.copy(), defaultdict[str, float](float)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        self._started[node.name] = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        stage = _stage(node)
        with self._lock:
            self._remaining[stage] -= 1
            self._seconds[stage] += time.monotonic() - self._started[node.name]
            done = self._remaining[stage] == 0
        if done:
            logger.info("%-22s %8s, %.1f s", stage, pluralize(self._totals[stage], "node"), self._seconds[stage])


def _stage(node: Node) -> str:
    return node.namespace or node.name
