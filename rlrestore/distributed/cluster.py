"""The cluster: joining one or starting one here, and a pool of workers on it."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from rlrestore.distributed.records import Digests, Records
from rlrestore.distributed.worker import Settings, Worker
from rlrestore.errors import RlrestoreError, UsageError

NO_STATISTICS = "RAY_USAGE_STATS_ENABLED", "0"
"""Ray else reports to its makers how it is used."""
QUIET = "RAY_BACKEND_LOG_LEVEL", "fatal"
"""Else a worker that dies, which is dealt with, leaves pages on stderr."""


@dataclass(frozen=True)
class Pool:
    """The processes that hold a model each.

    Attributes:
        workers: How many; as many as the cluster has room for without it.
        cpus: Cores of each.
        gpus: GPUs of each; a part of one lets several workers share it.
        batch: Images that a worker takes at a time, and that are done again if it dies.
        address: Of the cluster, as in `ray.init`: `auto` or `ray://HOST:10001`; `local` starts one here, None
            joins the one that `RAY_ADDRESS` names or that runs here, or starts one.
    """

    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 16
    address: str | None = None

    def room(self, nodes: list[Mapping[str, float]]) -> int:
        """Return how many workers fit.

        Args:
            nodes: What each machine has: `CPU`, `GPU`.

        Raises:
            UsageError: None does.
        """
        needs = {name: need for name, need in (("CPU", self.cpus), ("GPU", self.gpus)) if need}
        fit = sum(int(min(node.get(name, 0) / need for name, need in needs.items())) for node in nodes)
        if fit == 0:
            most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
            raise UsageError(
                f"expected a machine with {self.cpus:g} cores and {self.gpus:g} GPUs for a worker, but the "
                f"largest of the cluster's {len(nodes)} has {most['CPU']:g} and {most['GPU']:g}: "
                "ask for less, or start Ray with --num-cpus and --num-gpus"
            )
        return fit


@contextmanager
def joined(pool: Pool) -> Iterator[int]:
    """Join the cluster and leave it at the end; a program that has joined one stays in it.

    Yields:
        How many workers to start.

    Raises:
        UsageError: There is no such cluster, or no room for a worker.
    """
    mine = not ray.is_initialized()
    os.environ.setdefault(*NO_STATISTICS)
    os.environ.setdefault(*QUIET)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        if mine:
            ray.init(address=pool.address, logging_level="ERROR", log_to_driver=False)
    except Exception as error:  # Ray raises any kind of them
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        place = pool.address or os.environ.get("RAY_ADDRESS", "this machine")
        raise UsageError(
            f"expected a Ray cluster at {place}, got: {line}; "
            "start one with ray start --head, or give --address local"
        ) from error
    try:
        fit = pool.room([node["Resources"] for node in ray.nodes() if node["Alive"]])
        yield pool.workers or fit
    finally:
        if mine:
            ray.shutdown()


def cause_of(error: Exception) -> str:
    """Return the line of an error of Ray's that says why: its traceback goes before, its own advice after."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (raised or lines)[-1].strip()


def work(
    source: Any, rows: int, pool: Pool, workers: int, settings: Settings, records: Records, done: Digests
) -> Iterator[list[dict[str, Any]]]:
    """Have the workers restore a dataset, and yield how it went with the images that were not done.

    Args:
        source: The dataset, of rows as `Worker` takes them.
        rows: How many of them make a batch.
        pool: What a worker has.
        workers: How many there are.
        settings: How to restore.
        records: Where what comes of it is recorded.
        done: The images that are left out.

    Raises:
        RlrestoreError: No worker can be started, or the cluster is gone.
    """
    threads = max(1, int(pool.cpus))
    restored = source.map_batches(
        Worker,
        fn_constructor_args=(settings, records, done, threads),
        batch_size=rows,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )
    try:
        for table in restored.iter_batches(batch_size=None, batch_format="pyarrow"):
            if len(table):
                yield table.to_pylist()
    except ray.exceptions.RayError as error:
        raise RlrestoreError(
            f"the cluster gave up ({cause_of(error)}); what is done is recorded: the same command goes on"
        ) from error
