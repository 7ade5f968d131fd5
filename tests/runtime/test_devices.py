"""A model on every device that this machine has restores as on the processor."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlrestore.restorer import Restorer
from rlrestore.runtime.device_queue import DeviceQueue
from rlrestore.runtime.transfers import transfers_of


@pytest.mark.parametrize("mode", ["global", "local"])
def test_a_device_restores_as_the_processor(
    device: torch.device, mode: str, photograph: npt.NDArray[np.uint8]
) -> None:
    """Several photographs at a time, small ones and one in tiles; within a level of 255, as is said."""
    large = np.tile(photograph, (5, 5, 1))[:600, :700]
    photos = [photograph, large, photograph[:70, :90], photograph[::-1].copy()]
    model = Restorer.from_pretrained(device=str(device), precision="float32")
    alone = Restorer.from_pretrained(precision="float32")
    with ThreadPoolExecutor(4) as executor:
        restored = list(executor.map(lambda photo: model.restore(photo, mode=mode, max_steps=2), photos))
    for photo, result in zip(photos, restored, strict=True):
        expected = alone.restore(photo, mode=mode, max_steps=2)
        assert result.trace.tools == expected.trace.tools
        assert np.abs(result.photo.pixels - expected.photo.pixels).max() <= 1 / 255


def test_batches_come_and_go_unchanged(device: torch.device) -> None:
    """One after another, more than are on the way at a time, so that memory is used again."""
    transfers = transfers_of(device)
    sent = [torch.rand(4, 3, 64, 64) + number for number in range(8)]
    waits = []
    for batch in sent:
        room = transfers.room(batch.shape, batch.dtype)
        room.copy_(batch)
        waits.append(transfers.download(2 * transfers.upload(room)))
    for batch, wait in zip(sent, waits, strict=True):
        torch.testing.assert_close(wait(), 2 * batch, rtol=0, atol=0)


def test_a_queue_serves_many_threads(device: torch.device) -> None:
    queue = DeviceQueue(device, batch_pixels=6 * 8 * 8)

    def double(images: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images + numbers[:, None, None, None], 2 * numbers

    def ask(number: int) -> float:
        images = np.full((number % 3 + 1, 3, 8, 8), number, np.float32)
        added, doubled = queue.submit("double", double, images, np.full(len(images), number)).result()
        assert added.shape == images.shape
        assert doubled.tolist() == [2 * number] * len(images)
        return float(added.mean())

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(ask, range(64))) == [2.0 * number for number in range(64)]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no device cuda")
def test_24_megapixels_take_bounded_memory_of_a_gpu() -> None:
    """Four gigabytes at most: batches of four megapixels, however large the photograph."""
    model = Restorer.from_pretrained(device="cuda")
    photo = np.zeros((4000, 6000, 3), np.uint8)
    torch.cuda.reset_peak_memory_stats()
    model.restore(photo, chain=["deblur-4", "denoise-1"], keep_steps=False)
    assert torch.cuda.max_memory_allocated() < 4e9
