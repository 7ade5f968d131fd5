"""The spectrum on NumPy arrays beside the agent's in torch."""

import numpy as np
import pytest
import torch

from rlrestore.agent.spectrum import Spectrum
from rlrestore.explain.spectrum import ENTRIES, spectra


@pytest.mark.parametrize("sides", [(63, 63), (40, 33)])
def test_both_spectra_are_the_same(sides: tuple[int, int]) -> None:
    patches = np.random.default_rng(0).random((3, 3, *sides), np.float32)
    patches[1] *= 0.1
    expected = Spectrum()(torch.from_numpy(patches)).flatten(1).numpy()

    assert spectra(patches).shape == (3, ENTRIES)
    np.testing.assert_allclose(spectra(patches), expected, atol=1e-4)


def test_a_flat_patch_is_finite() -> None:
    assert np.isfinite(spectra(np.zeros((1, 3, 63, 63), np.float32))).all()
