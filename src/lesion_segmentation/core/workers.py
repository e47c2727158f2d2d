"""Dask's workers, which run trials and shards: processes of this machine, or a cluster that is there already.

Dask comes with the extra scale, so it is imported only where workers are asked for.
"""

import contextlib
import logging
import os
import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras

SECONDS_TO_CONNECT = 20
DEATHS = 3
"""Of workers under one piece of work, until it is given up."""


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Refuse what cannot be before any work.

    Raises:
        InputError: Both are asked for, or Dask is not there.
    """
    if workers is not None and scheduler is not None:
        raise InputError("--workers and --scheduler are both given: workers of this machine, or those of a cluster?")
    if workers is None and scheduler is None:
        return
    with explain_missing_extras():
        import distributed  # noqa: F401


@contextmanager
def open_workers(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """A client of so many processes of this machine, each with its share of the cores and its GPU, or of a cluster.

    Raises:
        InputError: The cluster does not answer.
    """
    import dask
    from distributed import Client, LocalCluster

    _quieten()
    config = {"distributed.scheduler.allowed-failures": DEATHS, "distributed.nanny.pre-spawn-environ": {}}
    with dask.config.set(config), _environment_kept():
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=SECONDS_TO_CONNECT)
            except (OSError, ValueError) as error:
                raise InputError(f"No Dask scheduler answers at {scheduler} ({first_line(error)}).") from error
            with client:
                yield client
            return
        assert workers is not None
        # Processes are begun with their share, since a network's threads are counted when torch is imported; Dask would
        # set them to one by the environment that its workers begin with.
        with (
            LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(_make_pinning(workers))
            cluster.scale(workers)
            yield client


def map_over(client: Any, function: Callable[..., Any], work: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    """Names and results as they come; the work of a worker that dies is done by another one.

    Args:
        client: Of open_workers.
        function: Importable by the workers.
        work: Name to the function's arguments.

    Raises:
        InputError: A piece raised one, several workers died of it, or the cluster is not as this machine.
    """
    from distributed import KilledWorker, as_completed

    futures = {client.submit(function, *given, pure=False): name for name, given in work.items()}
    try:
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except KilledWorker as error:
                raise InputError(
                    f"{futures[future]}: {DEATHS + 1} workers died of it, of too little memory?"
                ) from error
            except (ImportError, OSError, CancelledError) as error:
                raise InputError(
                    f"{futures[future]}: it could not be done ({first_line(error)}). Workers need the environment of "
                    "this machine and see the same files, and the scheduler has to stay; the same command goes on."
                ) from error
    finally:
        client.cancel(list(futures))


def share_work(
    here: Callable[..., Any],
    there: Callable[..., Any],
    work: Mapping[str, Sequence[Any]],
    workers: int | None,
    scheduler: str | None,
) -> Iterator[tuple[str, Any]]:
    """Names and results as they come: of `here` one after the other, or of `there` over workers that are asked for.

    Raises:
        InputError: As open_workers and map_over.
    """
    if workers is None and scheduler is None:
        for name, given in work.items():
            yield name, here(*given)
        return
    with open_workers(workers, scheduler) as client:
        yield from map_over(client, there, work)


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """What this process says goes to a file: of several at once nobody could tell whose word it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    with path.open("ab") as file, contextlib.ExitStack() as stack:
        for stream in streams:
            stream.flush()
        for number in (1, 2):
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
        yield
        for stream in streams:
            stream.flush()


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Dask sets variables of this process for the workers that it begins; what is begun later shall not find them."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _make_pinning(workers: int) -> Any:
    from distributed import WorkerPlugin

    class Pinning(WorkerPlugin):
        """A worker's share: every `workers`-th core from its number on, and the GPU of its number."""

        def setup(self, worker: Any) -> None:
            _quieten()
            take_share(int(worker.name), workers)

    return Pinning()


def _quieten() -> None:
    """Dask tells of every connection, between the lines that say which piece of work is done."""
    logging.getLogger("distributed").setLevel(logging.WARNING)


def take_share(number: int, workers: int) -> None:
    """Bind this process to its share of the cores, and show it one GPU alone where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number % len(cores) :: workers])
    import torch  # by now, so that its threads are as many as the cores of the share

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    if "," in visible:
        cards = visible.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
