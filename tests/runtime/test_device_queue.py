"""Calls that are computed together on a device; here the processor stands for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rlrestore.agent.policy import Policy
from rlrestore.errors import RlrestoreError
from rlrestore.restorer import Restorer
from rlrestore.runtime.device_queue import Array, Arrays, DeviceQueue
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.patience import comes

CPU = torch.device("cpu")
PIXELS = 8 * 8


class Device:
    """A function that a device with room for so many rows computes, and the batches that came."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: list[int] = []

    def __call__(self, images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return images + numbers[:, None, None, None], 2 * numbers


def ask(queue: DeviceQueue, device: Callable[..., Any], numbers: list[int]) -> "Future[Arrays]":
    images = np.ones((len(numbers), 3, 8, 8), np.float32)
    return queue.submit("add", device, images, np.array(numbers))


def check(result: "Future[Arrays]", numbers: list[int]) -> None:
    images, doubled = result.result()
    assert images.shape == (len(numbers), 3, 8, 8)
    assert (images == 1 + np.array(numbers)[:, None, None, None]).all()
    assert doubled.tolist() == [2 * number for number in numbers]


def busy(queue: DeviceQueue) -> threading.Event:
    """Keep the device at work until the event is set."""
    free, begun = threading.Event(), threading.Event()

    def work(images: Tensor) -> tuple[Tensor]:
        begun.set()
        free.wait()
        return (images,)

    queue.submit("busy", work, np.zeros((1, 3, 8, 8), np.float32))
    begun.wait()
    return free


def test_what_waits_for_one_network_is_computed_together() -> None:
    """But no more than the pixels of a batch, and in the order in which it was asked for."""
    queue, device = DeviceQueue(CPU, batch_pixels=5 * PIXELS), Device()
    free = busy(queue)
    asked = [[1, 2], [3], [4, 5], [6], [7, 8, 9, 10, 11, 12]]
    results = [ask(queue, device, numbers) for numbers in asked]
    free.set()
    for result, numbers in zip(results, asked, strict=True):
        check(result, numbers)
    assert device.batches == [5, 1, 6]


def test_shapes_and_networks_are_not_mixed() -> None:
    queue = DeviceQueue(CPU)
    free, shapes = busy(queue), []

    def function(images: Tensor) -> tuple[Tensor]:
        shapes.append(tuple(images.shape))
        return (images,)

    sides = (8, 9, 8, 9, 9)
    results = [
        queue.submit((0, side), function, np.full((1, 3, side, 8), number, np.float32))
        for number, side in enumerate(sides)
    ]
    free.set()
    for number, (side, result) in enumerate(zip(sides, results, strict=True)):
        np.testing.assert_array_equal(result.result()[0], np.full((1, 3, side, 8), number))
    assert shapes == [(2, 3, 8, 8), (3, 3, 9, 8)]


def test_too_little_memory_halves_the_batch_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    queue, device = DeviceQueue(CPU, batch_pixels=8 * PIXELS), Device(room=3)
    for _ in range(2):
        free = busy(queue)
        results = [ask(queue, device, [number]) for number in range(8)]
        free.set()
        for number, result in enumerate(results):
            check(result, [number])
    assert device.batches == [8, 4, 2, 2, 4, 2, 2, *[1] * 8]
    assert queue.batch_pixels == PIXELS
    assert "out of memory; half as much at a time from now on" in caplog.text


def test_a_call_of_many_rows_is_halved_too() -> None:
    """Apple's devices say it in words alone."""
    device = Device(room=4)

    def on_apple(*arrays: Tensor) -> tuple[Tensor, ...]:
        try:
            return device(*arrays)
        except torch.OutOfMemoryError:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB)") from None

    check(ask(DeviceQueue(CPU), on_apple, list(range(7))), list(range(7)))
    assert device.batches == [7, 4, 3]


def test_a_device_without_room_for_one_image_fails_in_words_and_serves_others() -> None:
    queue, device = DeviceQueue(CPU), Device(room=0)
    with pytest.raises(RlrestoreError, match="the device cpu has too little memory for 8×8 pixels: end what"):
        ask(queue, device, [1, 2]).result()
    device.room = 1
    check(ask(queue, device, [1]), [1])


def test_what_fails_fails_alone() -> None:
    queue = DeviceQueue(CPU)

    def picky(images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        if (numbers == 3).any():
            raise ValueError("not three")
        return images + numbers[:, None, None, None], 2 * numbers

    free = busy(queue)
    results = [ask(queue, picky, [number]) for number in range(5)]
    free.set()
    for number, result in enumerate(results):
        if number == 3:
            with pytest.raises(ValueError, match="not three"):
                result.result()
        else:
            check(result, [number])


def make_runtime(queue: DeviceQueue | None) -> TorchRuntime:
    torch.manual_seed(1)
    toolbox, policy = Toolbox(TOOLS[::4]), Policy(3)
    for parameter in (*toolbox.parameters(), *policy.parameters()):
        nn.init.normal_(parameter, std=0.05)
    nn.init.constant_(policy.level.bias, 5.0)
    return TorchRuntime(toolbox, policy, "random", queue=queue)


@pytest.mark.parametrize("mode", ["global", "local"])
def test_photographs_of_many_threads_become_what_they_become_alone(mode: str) -> None:
    """Small ones of two sizes and one in tiles, though the device has too little memory at first.

    The large one asks the agent about 99 windows, all of them together about more.
    """
    large = np.random.default_rng(0).random((600, 700, 3), np.float32)
    photos = [large, *(large[number : number + 80, : 80 + 16 * (number % 2)] for number in range(5))]
    queue = DeviceQueue(CPU)
    alone, beside = Restorer(make_runtime(None)), Restorer(make_runtime(queue))
    policy, rows = beside.runtime.policy, []  # type: ignore[attr-defined]  # torch's runtime
    forward = policy.forward

    def little_room(images: Tensor, *others: Any) -> Any:
        rows.append(len(images))
        if len(images) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(images, *others)

    policy.forward = little_room
    assert beside.runtime.concurrent
    free = busy(queue)
    with ThreadPoolExecutor(len(photos)) as executor:
        results = executor.map(lambda photo: beside.restore(photo, mode=mode), photos)
        comes(lambda: len(queue._waiting) == len(photos))
        free.set()
        restored = list(results)
    assert rows[0] > 99
    for photo, result in zip(photos, restored, strict=True):
        expected = alone.restore(photo, mode=mode)
        assert result.trace.tools == expected.trace.tools != ()
        np.testing.assert_allclose(result.photo.pixels, expected.photo.pixels, atol=1e-5)


def test_a_large_photograph_is_computed_in_bounded_batches() -> None:
    """Each no larger than was asked, and several tiles in one."""
    queue = DeviceQueue(CPU, batch_pixels=4 * 512 * 512)
    model, pixels = make_runtime(queue), []
    apply_tool = model.toolbox.apply_tool

    def watch(index: int, images: Tensor) -> Tensor:
        pixels.append((len(images), images[:, 0].numel()))
        return apply_tool(index, images)

    model.toolbox.apply_tool = watch  # type: ignore[method-assign]
    photo: npt.NDArray[np.uint8] = np.zeros((1400, 2600, 3), np.uint8)
    Restorer(model).restore(photo, chain=[TOOLS[0].name], keep_steps=False)
    assert max(rows for rows, _ in pixels) > 1
    assert max(count for _, count in pixels) <= 4 * 512 * 512
    assert sum(count for _, count in pixels) >= 1400 * 2600


class _Types(TorchDispatchMode):
    """Notes the types of all that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no annotation there
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.found |= {one.dtype for one in (result, *args) if isinstance(one, Tensor)}
        return result


def test_nothing_is_computed_in_a_type_that_apple_devices_lack() -> None:
    """Networks and agent as they are shipped: no float64."""
    from rlrestore.agent.spectrum import block_lines

    model = TorchRuntime.load("default")
    block_lines.cache_clear()  # constants are made on the processor
    windows: Array = np.zeros((1, 3, 63, 63), np.float32)
    last = np.full(1, -1, np.int64)
    model.agent.values(windows, last, model.agent.empty_memory(1))
    with _Types() as types:
        for index in range(len(model.tools.names)):
            model.tools.apply(index, windows)
        model.agent.values(windows, last, model.agent.empty_memory(1))
    assert types.found == {torch.float32, torch.int64}
