"""Projections of features: the score by hand, and layers that are known to tell or not to tell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from experiments.degradation_features import (
    DRAWN,
    KINDS,
    all_layers,
    before_training,
    calinski_harabasz,
    draw_kinds,
    plot,
    project,
    scores_table,
)
from rlrestore.agent.policy import Policy
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.toolbox import Toolbox


def test_the_score_by_hand() -> None:
    """Two groups about 1 and 9: between 2·16 + 2·16 = 64, within 1 + 1 + 1 + 1 = 4, freedom (4 − 2) / 1."""
    rows, kinds = np.array([[0.0], [2.0], [8.0], [10.0]]), np.array([0, 0, 1, 1])

    assert calinski_harabasz(rows, kinds) == pytest.approx(64 / 4 * 2)
    assert calinski_harabasz(np.zeros((4, 1)), kinds) == 0


def test_features_that_are_the_kind_score_high_and_noise_scores_about_one() -> None:
    kinds = torch.arange(len(KINDS)).repeat_interleave(40).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(kinds), 30, generator=generator, dtype=torch.double)

    assert 0.5 < project(noise).score < 2
    assert project(noise + 10 * kinds[:, None]).score > 100
    assert project(noise).places.shape == (len(kinds), 2)


def test_layers_before_and_after_are_drawn(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    bank = PhotoBank([make_photograph(128, 160)])
    images = draw_kinds(bank, 4, torch.Generator().manual_seed(0))
    assert len(images) == 4 * len(KINDS)
    assert not torch.equal(images[:4], images[4:8])
    toolbox, policy = Toolbox(), Policy(12)
    first = before_training(policy, toolbox, 0)
    again = before_training(policy, toolbox, 0)
    assert torch.equal(first[0].trunk.hidden.weight, again[0].trunk.hidden.weight)
    found = {name: project(layer) for name, layer in all_layers(*first, images).items()}
    assert set(DRAWN) <= set(found)
    assert scores_table(found, found).count("\n") == len(found) + 1
    plot(found, found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
