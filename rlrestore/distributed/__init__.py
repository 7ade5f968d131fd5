"""Folders of millions on a cluster, by Ray Data; needs the extra `ray`.

Workers hold the model and take batches of images; what comes of each image, a failure too, is a row of a
Parquet file among the job's records, and a job that was stopped goes on from them.
"""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.distributed.cluster import Pool
    from rlrestore.distributed.jobs import Outcome, restore_files, restore_parquet
    from rlrestore.distributed.worker import Settings

__all__ = ["Outcome", "Pool", "Settings", "restore_files", "restore_parquet"]

__getattr__, __dir__ = lazy_names(
    "rlrestore.distributed",
    {
        "cluster": ("Pool",),
        "jobs": ("Outcome", "restore_files", "restore_parquet"),
        "worker": ("Settings",),
    },
)
