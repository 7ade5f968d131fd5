"""Several processes that train one model, a GPU each: the ranks, as torchrun starts them.

Every rank draws patches of its own; their gradients are added, so that all ranks move the same weights in
the same way, as one process with so many times the batch. Rank 0 alone writes. Without torchrun there is one
rank, and nothing here costs anything.

Numbers of the processor are exchanged by gloo, those of GPUs by NCCL: agreeing when to stop waits for no GPU.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed
from torch import Tensor

from rlrestore.devices import numbered_generator
from rlrestore.errors import UsageError

NUMBERS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT")
"""What torchrun tells every process by its environment, beside `MASTER_ADDR`."""


def rank() -> int:
    """Return the number of this process, from 0."""
    return torch.distributed.get_rank() if _together() else 0


def rank_count() -> int:
    """Return how many processes train together."""
    return torch.distributed.get_world_size() if _together() else 1


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@contextmanager
def joined_ranks(device: str) -> Iterator[str]:
    """Join the processes that torchrun started; without it do nothing.

    Args:
        device: What the user named; `cuda` is a GPU for each rank.

    Yields:
        The name of this rank's device.

    Raises:
        UsageError: All ranks are sent to one GPU, this machine has fewer GPUs than ranks, or it is not told
            how to join.
    """
    if _started_count() == 1:
        yield device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = _own_gpu(device, int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()


def _started_count() -> int:
    """Return how many processes were started to train together; schedulers set `WORLD_SIZE`, too."""
    told = {name: os.environ[name] for name in (*NUMBERS, "MASTER_ADDR") if os.environ.get(name)}
    if told.get("WORLD_SIZE", "1") == "1":
        return 1
    wrong = [name for name in NUMBERS if not told.get(name, "").isdecimal()]
    wrong += [] if "MASTER_ADDR" in told else ["MASTER_ADDR"]
    if wrong:
        raise UsageError(
            f"expected what torchrun sets beside WORLD_SIZE={told['WORLD_SIZE']}, but {wrong[0]} is "
            f"{told.get(wrong[0])!r}: start the training by torchrun, or unset WORLD_SIZE"
        )
    return int(told["WORLD_SIZE"])


def _own_gpu(device: str, local_rank: int) -> str:
    """Return the GPU of a rank of this machine, which becomes torch's current one."""
    if device != "cuda":
        raise UsageError(
            f"with torchrun every process takes a GPU of its own, but got {device}: give --device cuda"
        )
    if local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"expected a GPU for each process, but process {local_rank + 1} of this machine finds "
            f"{torch.cuda.device_count()}: give torchrun --nproc-per-node {max(1, torch.cuda.device_count())}"
        )
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def rank_generator(device: torch.device, seed: int, number: int) -> torch.Generator:
    """Return this rank's random stream of a step or a round; that of rank 0 is `numbered_generator`'s."""
    return numbered_generator(device, seed, number, rank())


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of the ranks' tensors of one shape, on all of them."""
    if rank_count() == 1:
        return tensor
    total = tensor.clone()
    torch.distributed.all_reduce(total)
    return total


def agreed(*numbers: float) -> list[float]:
    """Return the largest of the ranks' numbers, each for itself, so that all ranks decide alike."""
    if rank_count() == 1:
        return list(numbers)
    largest = torch.tensor(numbers, dtype=torch.float64)
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return [float(number) for number in largest]


def anywhere(flag: bool) -> bool:
    """Return whether something is so on any rank."""
    return bool(agreed(float(flag))[0])


def united(numbers: set[int], count: int) -> set[int]:
    """Return the numbers below `count` that any rank has."""
    if rank_count() == 1:
        return numbers
    return {
        number for number, here in enumerate(agreed(*(float(n in numbers) for n in range(count)))) if here
    }


def mean_metrics(collected: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return the means of metrics, scalars by their names, over steps and ranks; a step may lack some."""
    names = sorted({name for metrics in collected for name in metrics})
    means = [torch.stack([each[name].float() for each in collected if name in each]).mean() for name in names]
    return dict(zip(names, map(float, summed(torch.stack(means)) / rank_count()), strict=True))


@torch.no_grad()
def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Add the ranks' gradients; a rank's that it lacks counts as zero, and what all lack stays None."""
    if rank_count() == 1:
        return
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    used = agreed(*(float(parameter.grad is not None) for parameter in moving))
    moving = [parameter for parameter, flag in zip(moving, used, strict=True) if flag]
    if not moving:
        return
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in moving]
    flat = summed(torch.cat([gradient.flatten() for gradient in gradients]))
    for parameter, part in zip(moving, flat.split([each.numel() for each in moving]), strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))


def take_first(tensors: Iterable[Tensor]) -> None:
    """Let all ranks have rank 0's tensors, in place."""
    if rank_count() > 1:
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            torch.distributed.broadcast(whole, 0)
            tensor.detach().copy_(whole)


def gathered(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ranks' rows together, on rank 0, in turns: what `own_rows` divides again; nothing on others.

    Args:
        columns: Tensors `(N, …)`, N being the same on all ranks.
    """
    if rank_count() == 1:
        return dict(columns)
    return {name: whole for name, column in sorted(columns.items()) for whole in _gathered(column)}


def _gathered(column: Tensor) -> list[Tensor]:
    sent = column.contiguous().flatten().view(torch.uint8)  # gloo has no float16 or bool on every device
    parts = [torch.empty_like(sent) for _ in range(rank_count())] if rank() == 0 else None
    torch.distributed.gather(sent, parts)
    if parts is None:
        return []
    return [torch.stack([part.view(column.dtype).view_as(column) for part in parts], dim=1).flatten(0, 1)]


def own_rows(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return this rank's rows of those of all: as many as the others', the oldest ones left out."""
    ranks = rank_count()
    return {name: column[len(column) % ranks :][rank() :: ranks] for name, column in columns.items()}


def meet() -> None:
    """Wait until all ranks are here."""
    anywhere(False)
