"""Dask workers that run trials and shards, as processes of this machine or on an existing cluster.

Dask is imported only when workers are requested, since it belongs to the extra `scale`.
"""

import logging
import os
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import require

SECONDS_TO_CONNECT = 20
MAX_DEATHS = 3
"""A task is given up when more workers than this have died during it."""
_ONE_TASK = threading.RLock()


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Refuse --workers together with --scheduler, and either of them if Dask is not installed."""
    if workers is not None and scheduler is not None:
        raise InputError(
            "--workers and --scheduler are both given. Use --workers for processes of this machine, or --scheduler for "
            "a cluster."
        )
    if workers is not None or scheduler is not None:
        require("distributed")


@contextmanager
def open_workers(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield a Dask client of an existing cluster, or of new processes that share the cores and GPUs of this machine.

    Args:
        workers: Number of processes to start, ignored if `scheduler` is given.
        scheduler: Address of an existing cluster, such as tcp://host:8786. No answer raises an InputError.
    """
    import dask
    from distributed import Client, LocalCluster

    _quieten()
    config = {"distributed.scheduler.allowed-failures": MAX_DEATHS, "distributed.nanny.pre-spawn-environ": {}}
    with dask.config.set(config), _restored_environment():
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=SECONDS_TO_CONNECT)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"No Dask scheduler answers at {scheduler} ({first_line(error)}). Check the address given to "
                    "--scheduler."
                ) from error
            with client:
                yield client
            return
        assert workers is not None
        # Each process binds itself to its cores before it imports torch, which then chooses its number of threads.
        # Without the empty pre-spawn-environ, Dask would set OMP_NUM_THREADS=1.
        cluster = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            client.register_plugin(_make_pinning(workers))
            cluster.scale(workers)
            yield client


def map_over(client: Any, function: Callable[..., Any], work: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the name and result of each task in order of completion. If a worker dies, another one repeats its task.

    Args:
        client: The client of `open_workers`.
        function: A function that the workers can import.
        work: The arguments of `function` for each task, by the name of the task.
    """
    from distributed import KilledWorker, as_completed

    futures = {client.submit(function, *given, pure=False): name for name, given in work.items()}
    try:
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except KilledWorker as error:
                raise InputError(
                    f"{futures[future]}: {MAX_DEATHS + 1} workers died during this task, probably for lack of "
                    "memory. Use fewer workers or machines with more memory, and rerun the same command to resume."
                ) from error
            except (ImportError, OSError, CancelledError) as error:
                raise InputError(
                    f"{futures[future]}: the task failed on a worker ({first_line(error)}). Workers need the same "
                    "packages and files as this machine, and the scheduler must keep running. Rerun the same command "
                    "to resume."
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
    """Yield the name and result of each task.

    Args:
        here: Function that runs a task in this process.
        there: Function that runs a task on a worker, which must be able to import it.
        work: The arguments of the function for each task, by the name of the task.
        workers: As in `open_workers`. If both are None, the tasks run in this process.
        scheduler: As in `open_workers`.
    """
    if workers is None and scheduler is None:
        for name, given in work.items():
            yield name, here(*given)
        return
    with open_workers(workers, scheduler) as client:
        yield from map_over(client, there, work)


@contextmanager
def redirect_output(path: Path) -> Iterator[None]:
    """Append the output of this process to a file, since the lines of several workers would mix in one terminal.

    Output, seeds and sessions belong to the process, so a second thread waits until the first one has left the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _ONE_TASK, path.open("ab") as file, ExitStack() as stack:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            stack.callback(stream.flush)
            os.dup2(file.fileno(), number)
        yield


@contextmanager
def _restored_environment() -> Iterator[None]:
    """Restore the environment variables at the end, since Dask sets some that later child processes would inherit."""
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
        """Plugin that binds each worker to its share of the cores and GPUs."""

        def setup(self, worker: Any) -> None:
            _quieten()
            take_share(int(worker.name), workers)

    return Pinning()


def _quieten() -> None:
    """Silence Dask's messages about connections, which would hide the progress of the tasks."""
    logging.getLogger("distributed").setLevel(logging.WARNING)


def take_share(number: int, workers: int) -> None:
    """Bind this process to every `workers`-th core from `number` on, and to one GPU if there are several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number % len(cores) :: workers])
    import torch  # torch counts the cores on import, so it is imported after the process is bound

    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    if "," in visible:
        cards = visible.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
