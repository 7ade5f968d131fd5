"""What the features of patches say of their noise, and the classifier that is asked."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from experiments.noise_classifier import (
    KINDS,
    STRENGTHS_255,
    Classifier,
    Patches,
    brightness_features,
    classification_table,
    classify,
    colour_features,
    draw_patches,
    texture_255,
)
from rlrestore.imaging.patches import PhotoBank


@pytest.fixture(scope="module")
def patches(make_photograph: Callable[..., npt.NDArray[np.uint8]]) -> Patches:
    bank = PhotoBank([make_photograph(200, 240, seed) for seed in range(2)])
    return draw_patches(bank, 24, torch.Generator().manual_seed(0))


def test_all_kinds_are_the_same_scenes_with_noise_of_one_strength(patches: Patches) -> None:
    texture, *noisy = patches.images.chunk(len(KINDS))
    low, high = STRENGTHS_255[0], STRENGTHS_255[-1]
    assert ((patches.strength_255 >= low) & (patches.strength_255 <= high)).all()
    for images in noisy:
        noise_255 = 255 * (images - texture).square().mean(dim=(1, 2, 3)).sqrt()
        # JPEG takes some of the noise away, and clipping; what is weak goes first.
        strong = patches.strength_255 > 6
        assert (noise_255 / patches.strength_255)[strong] == pytest.approx(0.85, abs=0.3)


def test_texture_is_what_varies_within_four_pixels() -> None:
    line = torch.arange(63) % 2 * 20 / 255  # about its mean by 10
    stripes = (0.4 + line).expand(1, 3, 63, 63)
    slope = torch.linspace(0.2, 0.6, 63).expand(1, 3, 63, 63)
    assert texture_255(stripes).item() == pytest.approx(10, abs=0.01)
    assert texture_255(slope).item() < 2


def test_brightness_tells_where_the_noise_is() -> None:
    """Noise in the dark half alone, of which the diagonal difference of four pixels has the deviation."""
    generator = torch.Generator().manual_seed(0)
    image = torch.full((1, 3, 64, 64), 0.2)
    image[..., 32:] = 0.8
    image[..., :32] += 0.02 * torch.randn(1, 1, 64, 32, generator=generator)
    sizes, shares = brightness_features(image)[0, :24].view(3, 8).exp(), brightness_features(image)[0, 24:32]
    assert sizes[0, 1].item() == pytest.approx(0.02 * (2 / torch.pi) ** 0.5, rel=0.1)
    assert sizes[0, 6].item() < 0.001
    assert shares.tolist() == pytest.approx([0, 0.5, 0, 0, 0, 0, 0.5, 0])


def test_colours_agree_by_the_noise_they_share() -> None:
    generator = torch.Generator().manual_seed(0)
    common, own = (torch.randn(1, 3, 128, 128, generator=generator) for _ in range(2))
    shared = 0.8**0.5 * common[:, :1] + 0.2**0.5 * own
    features = colour_features(0.5 + 0.05 * shared)[0]
    assert features[:3].tolist() == pytest.approx([0.8] * 3, abs=0.03)
    assert features[3:6].tolist() == pytest.approx([0] * 3, abs=0.05)


def test_a_classifier_learns_what_its_features_say(patches: Patches) -> None:
    features_of = {
        "the kind": lambda images: (
            torch.arange(len(KINDS)).repeat_interleave(len(images) // 4)[:, None].float()
        ),
        "nothing": lambda images: torch.zeros(len(images), 1),
    }
    scores = [
        classify(name, features, patches, patches, None, seed=0) for name, features in features_of.items()
    ]
    assert scores[1].accuracy == pytest.approx(0.25)
    kinds = torch.arange(len(KINDS)).repeat_interleave(200)
    rows = torch.nn.functional.one_hot(kinds).float() + 0.3 * torch.randn(
        800, 4, generator=torch.Generator().manual_seed(0)
    )
    assert (Classifier(rows, kinds, seed=0)(rows) == kinds).float().mean() > 0.85
    assert classification_table(scores).splitlines()[3].startswith("| nothing | 1 | 25.0% |")
