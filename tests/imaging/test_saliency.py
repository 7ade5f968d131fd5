"""The map of saliency, and what is weighted by it."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rlrestore.imaging.metrics import psnr_db, salient_psnr_db, ssim
from rlrestore.imaging.rewards import (
    ERRORS,
    QUALITIES_DB,
    REWARDS,
    checked_reward,
    gain_db,
    half_salient_mse,
    mse,
)
from rlrestore.imaging.saliency import saliency, salient_mse, salient_region


def image_of(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def odd_one_out(size: int = 63) -> Tensor:
    """Regular vertical stripes, and one small square of another texture in the lower left."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    grey = 0.5 + 0.3 * torch.sin(2 * math.pi * columns / 7)
    square = (rows >= 40) & (rows < 52) & (columns >= 10) & (columns < 22)
    grey = torch.where(square, 0.5 + 0.3 * torch.sin(2 * math.pi * rows / 4), grey)
    return grey.expand(1, 3, size, size).contiguous()


def test_what_differs_from_its_surroundings_stands_out() -> None:
    found = saliency(odd_one_out())[0, 0]
    top, left = divmod(int(found.argmax()), 63)
    assert 36 <= top < 56
    assert 6 <= left < 26
    inside = found[40:52, 10:22].mean().item()
    assert inside > 2
    assert found.mean().item() == pytest.approx(1, abs=1e-4)


def test_the_map_is_that_of_the_paper(photograph: npt.NDArray[np.uint8]) -> None:
    """Up to the smoothing, by NumPy's own transform, with phases as angles as in section 3.1."""
    image = image_of(photograph[:64, :64])
    luma = (image[0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0).double().numpy()
    spectrum = np.fft.fft2(luma)
    amplitude = np.log(np.abs(spectrum) + 1e-2)
    shifts = [np.roll(amplitude, (row, column), (0, 1)) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    residual = amplitude - sum(shifts) / 9
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    taps = np.exp(-0.5 * (np.arange(-10, 11) / 2.5) ** 2)
    padded = np.pad(found, 10, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (21, 21))
    smoothed = np.einsum("hwij,i,j->hw", windows, taps, taps)
    np.testing.assert_allclose(
        saliency(image)[0, 0].numpy(), smoothed / smoothed.mean(), rtol=0.02, atol=0.02
    )


def test_a_flat_image_is_equally_salient_everywhere() -> None:
    for grey in (0.0, 0.4):
        found = saliency(torch.full((1, 3, 63, 63), grey))
        torch.testing.assert_close(found, torch.ones(1, 1, 63, 63), atol=1e-3, rtol=0)


def test_large_images_are_looked_at_from_afar(photograph: npt.NDArray[np.uint8]) -> None:
    """The map of a photograph is that of the photograph enlarged, enlarged."""
    image = image_of(photograph)
    large = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    small_map, large_map = saliency(image), saliency(large)
    assert large_map.shape == (1, 1, 256, 320)
    shrunk = torch.nn.functional.avg_pool2d(large_map, 2)
    both = torch.stack((small_map.flatten(), shrunk.flatten()))
    assert torch.corrcoef(both)[0, 1].item() > 0.97


def test_salient_errors_count_more() -> None:
    """One pixel wrong by 0.5, in the salient square or beside it: its share times its saliency, by hand."""
    clean = odd_one_out()
    weights = saliency(clean)[0, 0]
    for row, column in ((46, 16), (5, 55)):
        restored = clean.clone()
        restored[..., row, column] += 0.5
        wanted = weights[row, column].item() * 0.25 / 63**2
        assert salient_mse(restored, clean).item() == pytest.approx(wanted, rel=1e-3)
        assert mse(restored, clean).item() == pytest.approx(0.25 / 63**2, rel=1e-4)
        assert half_salient_mse(restored, clean).item() == pytest.approx(
            0.5 * wanted + 0.5 * 0.25 / 63**2, rel=1e-3
        )
        assert salient_psnr_db(restored, clean).item() == pytest.approx(-10 * math.log10(wanted), abs=0.01)


def test_an_error_that_is_the_same_everywhere_has_the_same_psnr() -> None:
    clean = odd_one_out()
    assert salient_psnr_db(clean + 0.1, clean).item() == pytest.approx(20, abs=1e-3)
    assert psnr_db(clean + 0.1, clean).item() == pytest.approx(20, abs=1e-3)


def test_the_salient_region_is_the_quarter_that_stands_out_most() -> None:
    clean = odd_one_out()
    region = salient_region(clean)
    assert region.sum().item() == round(63 * 63 / 4)
    assert saliency(clean)[region].min() >= saliency(clean)[~region].max()
    assert region[0, 0, 42:50, 12:20].all()


def test_rewards_are_gains_in_db(photograph: npt.NDArray[np.uint8]) -> None:
    clean = image_of(photograph[:63, :63])
    before, after = clean + 0.1, clean + 0.05
    assert gain_db("psnr", after, before, clean).item() == pytest.approx(6.0206, abs=1e-3)
    assert gain_db("salient-psnr", after, before, clean).item() == pytest.approx(6.0206, abs=1e-3)
    worse, better = ssim(before, clean).item(), ssim(after, clean).item()
    wanted = -10 * math.log10(1 - better) + 10 * math.log10(1 - worse)
    assert gain_db("ssim", after, before, clean).item() == pytest.approx(wanted, abs=1e-3)


def test_errors_and_qualities_agree_and_have_gradients() -> None:
    clean = odd_one_out()
    for name in REWARDS:
        noise = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
        restored = (clean + 0.1 * noise).requires_grad_()
        error = ERRORS[name](restored, clean)
        error.sum().backward()
        assert restored.grad is not None
        assert restored.grad.abs().max() > 0
        better = clean + 0.5 * (restored.detach() - clean)
        assert ERRORS[name](better, clean) < error
        assert QUALITIES_DB[name](better, clean) > QUALITIES_DB[name](restored.detach(), clean)


def test_an_unknown_reward_is_refused() -> None:
    assert checked_reward("ssim") == "ssim"
    with pytest.raises(ValueError, match="expected a reward of psnr, salient-psnr, ssim, got 'lpips'"):
        checked_reward("lpips")
