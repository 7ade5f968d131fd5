"""What tools cost: parameters, multiply-adds, and the time they take, several toolboxes measured in turn."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from rlrestore.imaging import PATCH
from rlrestore.inference.chains import apply_tool_
from rlrestore.runtime import Floats
from rlrestore.runtime.torch_runtime import TorchTools, queue_of
from rlrestore.toolbox.toolbox import Toolbox

BATCH = 64
PHOTO_SIDE = 1000
"""Of the photograph that is timed, in pixels."""
ROUNDS = 6
LONE_REPEATS = 10
"""How often in a round a single patch, the shortest measurement, is timed."""
COUNTED_SIDES = 64, 128
"""Of the image on which multiply-adds are counted: even, so that nothing is padded for a fold."""


@dataclass(frozen=True)
class Cost:
    """What one tool costs, or the mean over several.

    Attributes:
        parameters: How many numbers were trained.
        multiply_adds_per_px: Of its convolutions, on an image of even sides.
        patch_ms: Milliseconds for one 63×63 patch alone.
        batched_patch_ms: Milliseconds for each 63×63 patch of a batch of 64.
        megapixel_ms: Milliseconds for a megapixel of a 1000×1000 photograph, tiled as `restore` does it.
    """

    parameters: float
    multiply_adds_per_px: float
    patch_ms: float
    batched_patch_ms: float
    megapixel_ms: float


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Average the costs of at least one tool, each counting once."""
    return Cost(*(sum(column) / len(costs) for column in zip(*map(astuple, costs), strict=True)))


@torch.inference_mode()
def measure_costs(toolboxes: Sequence[Toolbox], progress: bool = False) -> tuple[tuple[Cost, ...], ...]:
    """Count and time every tool of every toolbox, in float32, with the threads that torch has.

    Tools of one toolbox whose networks are built alike, such as all those of one depth, are timed once. The
    toolboxes alternate in every one of several rounds, so that other load on the machine slows all of them
    alike, and the shortest time of each measurement counts, so a first, cold one does not.

    Args:
        toolboxes: Ready for use, each on its device.
        progress: Whether to show a progress bar on stderr.

    Returns:
        For each toolbox the costs of its tools, in its order.
    """
    alike = [_first_alike(toolbox) for toolbox in toolboxes]
    runs: dict[tuple[int, int], tuple[Callable[[], object], ...]] = {}
    for number, toolbox in enumerate(toolboxes):
        inputs = _inputs(_device(toolbox))
        runs |= {(number, index): _runs(toolbox, index, inputs) for index in set(alike[number])}
    times_ms = {key: [math.inf] * len(measured) for key, measured in runs.items()}
    for _ in tqdm(range(ROUNDS), desc="timing", unit="round", disable=not progress):
        for kind, repeats in enumerate((LONE_REPEATS, 1, 1)):
            for key in list(runs) * repeats:
                spent_ms = elapsed_ms(runs[key][kind], _device(toolboxes[key[0]]))
                times_ms[key][kind] = min(times_ms[key][kind], spent_ms)
    return tuple(
        tuple(
            _cost(network, times_ms[number, first])
            for network, first in zip(toolbox.networks, alike[number], strict=True)
        )
        for number, toolbox in enumerate(toolboxes)
    )


def _device(toolbox: Toolbox) -> torch.device:
    return toolbox.device


def _first_alike(toolbox: Toolbox) -> list[int]:
    """Return for each tool the first one whose network has the same layers."""
    layers = [repr(network) for network in toolbox.networks]
    return [layers.index(own) for own in layers]


def _inputs(device: torch.device) -> tuple[Tensor, Tensor, Floats]:
    """Return a patch, a batch of patches and a photograph, laid out as `restore` lays out images."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 3, PATCH, PATCH), (BATCH, 3, PATCH, PATCH), (1, 3, PHOTO_SIDE, PHOTO_SIDE))
    alone, batch, photo = (
        torch.rand(shape, generator=generator).contiguous(memory_format=torch.channels_last)
        for shape in shapes
    )
    return alone.to(device), batch.to(device), photo.numpy()


def _runs(
    toolbox: Toolbox, index: int, inputs: tuple[Tensor, Tensor, Floats]
) -> tuple[Callable[[], object], ...]:
    alone, batch, photo = inputs
    tools = TorchTools(toolbox, queue_of(toolbox.device))
    return (
        lambda: toolbox.apply_tool(index, alone),
        lambda: toolbox.apply_tool(index, batch),
        lambda: apply_tool_(tools, index, photo.copy(order="K")),
    )


def elapsed_ms(run: Callable[[], object], device: torch.device) -> float:
    """Return how long something takes that computes on a device."""
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return 1000 * (time.perf_counter() - started)


def synchronize(device: torch.device) -> None:
    """Wait until a device that computes asynchronously has finished."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _cost(network: nn.Module, times_ms: Sequence[float]) -> Cost:
    patch_ms, batch_ms, photo_ms = times_ms
    return Cost(
        parameters=parameter_count(network),
        multiply_adds_per_px=multiply_adds_per_px(network),
        patch_ms=patch_ms,
        batched_patch_ms=batch_ms / BATCH,
        megapixel_ms=photo_ms * 1e6 / PHOTO_SIDE**2,
    )


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds_per_px(network: nn.Module) -> float:
    """Count the multiply-adds of a network's convolutions for one pixel of a large image.

    By how much their square root grows from side to side, so that what is padded does not count.
    """
    fewer, more = (math.sqrt(multiply_adds(network, side)) for side in COUNTED_SIDES)
    return round(((more - fewer) / (COUNTED_SIDES[1] - COUNTED_SIDES[0])) ** 2, 6)


def multiply_adds(network: nn.Module, side: int) -> int:
    """Count the multiply-adds of a network's convolutions for a square image, with all that it pads."""
    image = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    return count_multiply_adds(lambda: network(image))


@torch.inference_mode()
def count_multiply_adds(run: Callable[[], object]) -> int:
    """Count the multiply-adds of the convolutions and matrix products in something that computes."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def tool_multiply_adds(toolbox: Toolbox) -> tuple[int, ...]:
    """Count the multiply-adds of each tool for one patch of 63×63, with all that it pads."""
    return tuple(multiply_adds(network, PATCH) for network in toolbox.networks)


def executed(costs: Sequence[int], actions: Tensor) -> Tensor:
    """Return what the tools cost that images passed.

    Args:
        costs: Of each of N tools.
        actions: `(B, T)`: tools, N for stop, −1 after the chain ended.

    Returns:
        `(B, T)` float64: the cost of every step.
    """
    return torch.tensor([*costs, 0], dtype=torch.float64)[actions]  # −1 is the last, stop, which is free
