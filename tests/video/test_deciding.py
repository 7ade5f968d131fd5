"""One chain for a scene, and none that makes still parts flicker."""

import numpy as np
import pytest
from torch import Tensor, nn

from rlrestore.imaging.io.samples import Floats
from rlrestore.inference.choice import FREE, Choice
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.video.deciding import Decision, Shares, decide, restore_frame, still_parts
from tests.rules import Brighten, Rule, Rules, always


class Sharpen(nn.Module):
    """Doubles every difference to mid-grey, and so every difference of two frames."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * images - 0.5


def restorer(rule: Rule, max_steps: int = 1) -> Restorer:
    """A model of three tools: the first doubles differences, the second brightens, the third halves them."""
    halve = nn.AvgPool2d(3, 1, 1)
    toolbox = Toolbox(TOOLS[:3], "toy", [Sharpen(), Brighten(0.05), halve])
    return Restorer(TorchRuntime(toolbox, Rules(3, rule, max_steps), "toy"))


def noisy_pair(seed: int = 0, sigma: float = 0.05) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    one, other = (0.5 + rng.normal(0, sigma, (1, 3, 70, 90)).astype(np.float32) for _ in range(2))
    return one, other


def decided(
    rule: Rule, choice: Choice = FREE, before: Decision | None = None, shares: Shares | None = None
) -> Decision:
    pairs = [noisy_pair(0), noisy_pair(1)]
    limit = 1 if choice.chain is None else len(choice.chain)
    return decide(restorer(rule).runtime, pairs, limit, choice, shares or Shares(), before)


def test_a_tool_that_makes_still_parts_flicker_is_left_out() -> None:
    found = decided(always(3.0, 1.0, 0.5))

    assert found.left_out == (0,)
    assert found.actions == (1,)
    assert found.differences is not None
    assert found.differences.after == pytest.approx(found.differences.before)
    assert found.differences.before == pytest.approx(0.05 * np.sqrt(2), rel=0.03)


def test_where_every_tool_would_flicker_none_is_taken() -> None:
    found = decided(always(3.0, -1.0, -1.0))

    assert found.actions == ()
    assert found.differences is not None
    assert not found.differences.grows


def test_noise_that_is_taken_away_is_measured() -> None:
    found = decided(always(-1.0, -1.0, 2.0))

    assert found.actions == (2,)
    assert found.differences is not None
    assert found.differences.after == pytest.approx(found.differences.before / 3, rel=0.1)  # a mean of nine


def test_a_chain_by_hand_is_the_persons_own() -> None:
    found = decided(always(3.0, 1.0, 0.5), Choice(chain=(0,)))

    assert (found.actions, found.left_out) == ((0,), ())
    assert found.differences is not None
    assert found.differences.after == pytest.approx(2 * found.differences.before, rel=1e-4)
    assert found.differences.grows


def test_a_weaker_change_may_still_be_steady() -> None:
    # At no strength above 0 a doubling is steady; at 0 all is as it came.
    assert decided(always(3.0, -1.0, -1.0), shares=Shares(strength=0.0)).actions == (0,)


def test_a_chain_goes_on_after_a_change_unless_another_promises_more() -> None:
    before = Decision((1,), ())

    assert decided(always(-1.0, 1.0, 1.4), before=before).actions == (1,)
    assert decided(always(-1.0, 1.0, 1.6), before=before).actions == (2,)
    assert decided(always(-1.0, 1.0, 1.4)).actions == (2,)  # after a cut nothing is gone on with


def test_what_moves_is_not_what_flickers() -> None:
    rng = np.random.default_rng(0)
    scene = np.kron(rng.uniform(0, 1, (20, 30)), np.ones((8, 8))).astype(np.float32)[:120, :160]
    one = np.repeat(scene[None, None], 3, axis=1)
    other = np.roll(one, 8, axis=-1)
    other[..., 80:] = one[..., 80:]  # the right half stands still
    one, other = (image + rng.normal(0, 0.02, image.shape).astype(np.float32) for image in (one, other))

    still = still_parts(one, other)

    assert still[:, 95:].mean() > 0.9
    assert still[:, :65].mean() < 0.35


def test_equal_frames_are_still_everywhere() -> None:
    one, _ = noisy_pair()

    assert still_parts(one, one).all()


def test_a_frame_is_restored_and_stays_as_it_was() -> None:
    model, (image, _) = restorer(always(1.0, 0.5, 0.5)), noisy_pair()
    kept = image.copy()

    restored = restore_frame(model.runtime, image, Decision((1,), ()), Shares(strength=0.5))

    np.testing.assert_array_equal(image, kept)
    np.testing.assert_allclose(restored, image + 0.025, atol=1e-6)
