"""Local mode on whole photographs: a chain for every region."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tests.rules import Rules, by_last_action, dark_only, grey, restorer, torch_model


def test_local_treats_each_region_by_itself_without_a_seam() -> None:
    image = grey(0.2, 128, 512)
    image[:, 256:] = 0.8
    toy = restorer([0.2], dark_only, max_steps=1)
    local = toy.restore(image, mode="local")
    correction = local.photo.pixels - image

    np.testing.assert_allclose(correction[:, :150], 0.2, atol=1e-6)
    np.testing.assert_allclose(correction[:, 362:], 0.0, atol=1e-6)
    assert np.abs(np.diff(correction, axis=1)).max() < 0.2 / 12
    shares = dict(local.trace.steps[0].shares)
    assert shares == {"deblur-1": pytest.approx(0.5, abs=0.1), "stop": pytest.approx(0.5, abs=0.1)}
    assert local.trace.steps[0].tool == "deblur-1"


def dark_then_all(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    return dark_only(images, last_action, looks) if looks == 0 else torch.ones(len(images), 1)


def test_a_region_that_stopped_stays_as_it_is() -> None:
    # From the second step on the agent would brighten every region; but the bright half has stopped.
    image = grey(0.2, 127, 400)
    image[:, 200:] = 0.8
    correction = restorer([0.1], dark_then_all).restore(image, mode="local").photo.pixels - image

    np.testing.assert_allclose(correction[:, :60], 0.3, atol=1e-5)
    np.testing.assert_allclose(correction[:, 340:], 0.0, atol=1e-6)


def by_shade_then_the_other(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Play tool 0 where it is dark and tool 1 where it is bright; then the other one; then stop."""
    if looks == 2:
        return torch.full((len(images), 2), -1.0)
    shade = 8 * (images.mean(dim=(1, 2, 3)) - 0.5) if looks == 0 else 2.0 * (last_action == 0) - 1
    return torch.stack([-shade, shade], dim=1)


def test_every_region_follows_its_own_history() -> None:
    image = grey(0.2, 127, 512)
    image[:, 256:] = 0.8
    done = restorer([0.03, -0.1], by_shade_then_the_other).restore(image, mode="local")

    np.testing.assert_allclose(done.photo.pixels - image, -0.07, atol=1e-6)
    first, second, last = done.trace.steps
    assert dict(first.shares) == {name: pytest.approx(0.5, abs=0.1) for name in ("deblur-1", "deblur-2")}
    assert first.regions is not None
    assert second.regions is not None
    np.testing.assert_array_equal(first.regions.shares[..., 0], second.regions.shares[..., 1])
    assert last.shares == (("stop", 1.0),)


def test_local_is_global_where_all_regions_agree(photograph: npt.NDArray[np.uint8]) -> None:
    toy = restorer([0.05, -0.02], by_last_action)
    of_local, of_global = (toy.restore(photograph, mode=mode) for mode in ("local", "global"))

    np.testing.assert_array_equal(of_local.photo.pixels, of_global.photo.pixels)
    for one, other in zip(of_local.trace.steps, of_global.trace.steps, strict=True):
        assert (one.tool, one.shares) == (other.tool, other.shares)
        assert one.expected_gain_db == pytest.approx(other.expected_gain_db)
        assert dict(one.runners_up) == pytest.approx(dict(other.runners_up))


def by_content(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Tool 0 is worth more, but in many a window, for what is seen there, tool 1 by up to 2 dB."""
    seen = (20 * (images.std(dim=(1, 2, 3)) - 0.105)).clamp(-1, 1)
    return torch.stack([1.3 + seen, 1.0 - seen], dim=1)


def test_what_differs_from_window_to_window_divides_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (400, 400, 1)) * 0.05
    spots = np.kron(np.random.default_rng(1).random((13, 13)), np.ones((31, 31)))[:400, :400, None]
    image = (0.5 + noise + 0.4 * (spots - 0.5)).clip(0, 1).repeat(3, axis=2).astype(np.float32)
    toy = restorer([0.05, -0.02], by_content)

    np.testing.assert_array_equal(
        toy.restore(image, mode="local").photo.pixels, toy.restore(image).photo.pixels
    )
    policy = torch_model(toy).policy
    assert isinstance(policy, Rules)
    values = by_content(policy.seen[0], torch.tensor(0), 0)
    assert 0.15 < float((values[:, 1] > values[:, 0]).float().mean()) < 0.5
