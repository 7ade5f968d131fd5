"""Mixtures as TOML files: those that ship draw what they always drew; mistakes are named by line and key."""

import itertools
import re
import tomllib
import unittest.mock
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlrestore.envs.leaves import dead_leaves
from rlrestore.errors import UsageError
from rlrestore.imaging.chains import Chain
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.film import FILM, OLD_PRINT
from rlrestore.imaging.degradation.mixtures import ANY, MIXTURES, MODERATE, Mixture
from rlrestore.imaging.degradation.registry import DEGRADATIONS, Degradation, Parameter
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.mixture_files import line_of, read_mixture, shipped_mixtures
from rlrestore.imaging.mixture_parts import PARTS
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import Blend, Cameras, Films, SingleDistortions, draw_file, draw_pairs
from rlrestore.toolbox.specs import TOOLS


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return dead_leaves()


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "mean", "noise_255"),
    [
        ("mild", 0.521354, 18.83849),
        ("moderate", 0.521257, 22.08849),
        ("severe", 0.522025, 33.08849),
        ("paper", 0.536049, 14.67422),
        ("any", 0.537571, 12.70748),
        ("camera", 0.530994, 7.53192),
    ],
)
def test_mixtures_draw_what_they_drew_before_they_were_files(
    bank: PhotoBank, name: str, mean: float, noise_255: float
) -> None:
    """Recorded from the recipes that stood in the code; another processor may round differently."""
    drawn = draw_pairs(bank, read_mixture(name).recipe, 40, 63, seeded())
    assert drawn.degraded.mean().item() == pytest.approx(mean, abs=1e-5)
    assert drawn.amounts.noise_sigma_255.mean().item() == pytest.approx(noise_255, rel=1e-4)


def test_the_files_say_what_the_code_says() -> None:
    for name, mixture in MIXTURES.items():
        assert read_mixture(name).recipe == Mixture("levels", mixture.lowest, mixture.highest)
    assert read_mixture("camera").recipe == Cameras(CameraRecipe())
    paper, everything = (read_mixture(name).recipe for name in ("paper", "any"))
    assert isinstance(paper, Blend)
    assert isinstance(everything, Blend)
    assert Films(FILM) in [recipe for _, recipe in everything.parts]
    assert Films(OLD_PRINT) in [recipe for _, recipe in everything.parts]
    for blend in (paper, everything):
        assert sum(weight for weight, _ in blend.parts) == pytest.approx(1)
        single = blend.parts[1][1]
        assert isinstance(single, SingleDistortions)
        ranges = [(each.distortion, each.low, each.high) for each in single.specs]
        assert ranges == [(tool.distortion, tool.low, tool.high) for tool in TOOLS]


def test_base_networks_begin_on_the_levels_of_a_mixture(tmp_path: Path) -> None:
    for name, levels in (("paper", MODERATE), ("any", ANY), ("severe", MIXTURES["severe"])):
        found = read_mixture(name).levels
        assert (found.lowest, found.highest) == (levels.lowest, levels.highest)
    assert read_mixture("second-order").levels == MODERATE


@pytest.mark.parametrize("name", shipped_mixtures())
def test_every_mixture_that_ships_degrades_batches_and_files(
    bank: PhotoBank, photograph: npt.NDArray[np.uint8], name: str
) -> None:
    mixture = read_mixture(name)
    assert mixture.about
    assert mixture.identity == name
    drawn = draw_pairs(bank, mixture.recipe, 24, 32, seeded())
    again = draw_pairs(bank, mixture.recipe, 24, 32, seeded())
    assert drawn.degraded.shape == drawn.target.shape == (24, 3, 32, 32)
    assert torch.equal(drawn.degraded, again.degraded)
    assert 0 <= drawn.degraded.min() < drawn.degraded.max() <= 1
    changed = (drawn.degraded - drawn.target).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert (changed | drawn.amounts.untouched).all()
    files = [
        draw_file(mixture.recipe, seeded(seed), np.random.default_rng(seed)).apply(to_floats(photograph))
        for seed in (1, 1, 2)
    ]
    for degraded, target in files:
        assert degraded.shape == target.shape == photograph.shape
        assert degraded.dtype == target.dtype == np.uint8
    np.testing.assert_array_equal(files[0][0], files[1][0])


@pytest.mark.parametrize("name", ["classical", "second-order"])
def test_batches_and_files_of_a_chain_lose_as_much(photograph: npt.NDArray[np.uint8], name: str) -> None:
    """The same amounts, but other noise: in PSNR, which the noise dominates, they agree."""
    recipe, photo = read_mixture(name).recipe, to_floats(photograph)
    chains = [part for _, part in recipe.parts] if isinstance(recipe, Blend) else [recipe]
    for chain, seed in itertools.product(chains, range(8)):
        assert isinstance(chain, Chain)
        degraded, target = chain.draw_file(seeded(seed), np.random.default_rng(seed)).apply(photo)
        file_db = -10 * np.log10(np.square((degraded - target.astype(float)) / 255).mean())
        generator, images = seeded(seed), torch.from_numpy(photo).permute(2, 0, 1)[None]
        batch = images
        for place, stage in enumerate(chain.stages):
            chosen, amounts = stage.sample(1, generator)
            batch = stage.degradation.batch(batch, amounts, seeded(place)) if chosen else batch
        assert psnr_db(batch, images).item() == pytest.approx(file_db, abs=0.3)


def test_a_chain_counts_its_blur_noise_and_last_jpeg(tmp_path: Path, bank: PhotoBank) -> None:
    """Variances add up: 3 and 4 make 5."""
    path = tmp_path / "mine.toml"
    stages = (
        "degradation = 'gaussian-blur'\nsigma_px = 1.5",
        "degradation = 'jpeg'\nquality = 30",
        "degradation = 'grey-noise'\nsigma_255 = 3",
        "degradation = 'defocus'\nradius_px = 4",
        "degradation = 'gaussian-noise'\nsigma_255 = 4",
        "degradation = 'jpeg'\nquality = 70\nshare = 0.5",
    )
    path.write_text("[[part]]\n" + "".join(f"[[part.stage]]\n{stage}\n" for stage in stages), "utf-8")
    amounts = draw_pairs(bank, read_mixture(path).recipe, 200, 16, seeded()).amounts
    assert amounts.blur_sigma_px.numpy() == pytest.approx(2.5, abs=1e-5)
    assert amounts.noise_sigma_255.numpy() == pytest.approx(5, abs=1e-5)
    assert set(amounts.jpeg_quality.tolist()) == {30.0, 70.0}
    assert (amounts.jpeg_quality == 70).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_weights_and_ranges_are_kept(tmp_path: Path, bank: PhotoBank) -> None:
    path = tmp_path / "mine.toml"
    noise = "degradation = 'gaussian-noise'\nsigma_255 = "
    path.write_text(f"[[part]]\nweight = 3\n{noise}[5, 15]\n[[part]]\nweight = 1\n{noise}40\n", "utf-8")
    noise_255 = draw_pairs(bank, read_mixture(path).recipe, 800, 8, seeded()).amounts.noise_sigma_255
    strong = noise_255 == 40
    assert strong.float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert 5 <= noise_255[~strong].min() < 6
    assert 14 < noise_255[~strong].max() <= 15


def test_a_files_checksum_tells_it_from_another_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    identities = set()
    for amount in (5, 6):
        path.write_text(f"[[part]]\ndegradation = 'grey-noise'\nsigma_255 = {amount}\n", "utf-8")
        assert read_mixture(path).name == "mine"
        identities.add(read_mixture(path).identity)
    assert len(identities) == 2


def test_a_degradation_of_ones_own_stands_beside_those_that_ship(tmp_path: Path, bank: PhotoBank) -> None:
    dimmed = Degradation(
        about="darker",
        parameters={"factor": Parameter("", 0, 1)},
        batch=lambda images, amounts, _: images * amounts["factor"][:, None, None, None],
        file=lambda pixels, amounts, _: pixels * np.float32(amounts["factor"]),
    )
    path = tmp_path / "dim.toml"
    path.write_text("[[part]]\ndegradation = 'dimmed'\nfactor = 0.5\n", "utf-8")
    recipe = read_mixture(path, {**DEGRADATIONS, "dimmed": dimmed}).recipe
    drawn = draw_pairs(bank, recipe, 3, 16, seeded())
    torch.testing.assert_close(drawn.degraded, drawn.target / 2)
    with pytest.raises(UsageError, match="'dimmed' is no degradation of a part"):
        read_mixture(path)


NOISE = "[[part]]\ndegradation = 'gaussian-noise'\n"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (NOISE + "sigma_25 = 5\n", 3, "gaussian-noise has no key 'sigma_25'; did you mean sigma_255?"),
        (NOISE + "sigma_255 = 300\n", 3, "sigma_255 of gaussian-noise is 300: expected a number or"),
        (NOISE + "sigma_255 = [9, 5]\n", 3, "[lowest, highest], 0 to 255 of 255"),
        (NOISE + "sigma_255 = []\n", 3, "sigma_255 of gaussian-noise is []"),
        (NOISE + "sigma_255 = nan\n", 3, "is nan"),
        (NOISE + "sigma_255 = true\n", 3, "is True"),
        (NOISE + "sigma_255 = 'much'\n", 3, "is 'much'"),
        (NOISE, 1, "gaussian-noise lacks sigma_255: give a number or [lowest, highest], 0 to 255 of 255"),
        (NOISE + "sigma_255 = 5\nwieght = 2\n", 4, "no key 'wieght'"),
        (
            NOISE + "sigma_255 = 5\nshare = 1.5\n",
            4,
            "share of gaussian-noise is 1.5: expected a number, 0 to 1",
        ),
        (NOISE + "sigma_255 = 5\nweight = -1\n", 4, "weight of a part is -1: expected a number, 0 to 1e+06"),
        (NOISE + "sigma_255 = 5\nweight = 0\n" + NOISE + "sigma_255 = 5\nweight = 0", 1, "every weight is 0"),
        (
            "[[part]]\ndegradation = 'gausian-blur'\n",
            2,
            "'gausian-blur' is no degradation of a part; did you",
        ),
        ("[[part]]\ndegradation = 7\n", 2, "7 is no degradation of a part"),
        ("[[part]]\nweight = 1\n", 1, "expected degradation or [[part.stage]] here, got ['weight']"),
        ("about = 'x'\n\n[[parts]]\n", 3, "a mixture has no key 'parts'; did you mean part?"),
        ("about = 'x'\n", 1, "expected one or more [[part]]"),
        ("", 1, "expected one or more [[part]]"),
        ("part = 3\n", 1, "expected one or more [[part]]"),
        ("about = 3\n[[part]]\ndegradation = 'none'\n", 1, "about is 3: expected a text in quotation marks"),
        (
            "[[part]]\n\n[[part.stage]]\ndegradation = 'jpeg'\nquality = 50\n\n[[part.stage]]\n"
            "degradation = 'camera'\n",
            8,
            "'camera' is no degradation of a stage; expected: gaussian-blur, ",
        ),
        (
            "[[part]]\nstage = [{degradation = 'jpeg', quality = 50},\n"
            "  {degradation = 'resize', sclae = 2}]",
            2,
            "resize has no key 'sclae'; did you mean scale?",
        ),
        ("[[part]]\nstage = []\n", 2, "expected one or more [[part.stage]]"),
        ("[[part]]\ndegradation = 'levels'\nsum = [1.5, 3]\n", 1, "the sum of levels is a whole number"),
        ("[[part]]\ndegradation = 'levels'\nsum = [12, 40]\n", 3, "sum of levels is [12, 40]"),
        ("[[part]]\ndegradation = 'single'\n", 1, "expected at least one of blur_sigma_px"),
        ("[[part]]\ndegradation = 'single'\njpeg_quality = [50]\n", 3, "two or more numbers in brackets"),
        ("[[part]]\ndegradation = 'camera'\nsoft_share = [0, 1]\n", 3, "expected a number, 0 to 1"),
        ("[[part]]\ndegradation = 'none'\namount = 1\n", 3, "none has no key 'amount'"),
    ],
)
def test_a_mistake_is_named_by_line_and_key(tmp_path: Path, content: str, line: int, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, "utf-8")
    pattern = f"{re.escape(str(path))}, line {line}: [^\n]*{re.escape(words)}[^\n]*"
    with pytest.raises(UsageError, match=pattern):
        read_mixture(path)


def test_what_is_no_mixture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no modrate; did you mean moderate"):
        read_mixture("modrate")
    with pytest.raises(UsageError, match="is no file"):
        read_mixture(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text("[[part]\n", "utf-8")
    with pytest.raises(UsageError, match=r"mine.toml is no TOML: .* \(at line 1, column"):
        read_mixture(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no UTF-8 text"):
        read_mixture(path)
    path.write_bytes(b"#" * (1 << 16) + b"#")
    with pytest.raises(UsageError, match="has more than 65536 bytes"):
        read_mixture(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("about = " + "[" * 5000 + "]" * 5000, "brackets within brackets"),
        ("about = " + "[" * 60 + "]" * 60 + "\n[[part]]\ndegradation = 'none'", "about is [["),
        (NOISE + "sigma_255 = " + "9" * 400, "sigma_255 of gaussian-noise is 999"),
        (NOISE + "sigma_255 = " + "9" * 5000, "digits of a number"),
        (NOISE + f"sigma_255 = '{'x' * 5000}'", "sigma_255 of gaussian-noise is 'xxx"),
        (NOISE + f"{'x' * 5000} = 1", "gaussian-noise has no key 'xxx"),
        (f"[[part]]\ndegradation = '{'x' * 5000}'", "is no degradation of a part"),
        ("[[part]]\n" + "".join(f"key_{number} = 1\n" for number in range(3000)), "got ['key_0', "),
        ("[[part]]\ndegradation = 'none'\nweight = 1e-320\n" * 2, "every weight is 0, or below 1e-06"),
    ],
)
def test_what_is_far_too_much_is_refused_in_one_short_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(UsageError, match=re.escape(words)) as refused:
        read_mixture(path)
    assert len(str(refused.value)) < len(str(path)) + 400


def test_a_mark_before_the_text_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(NOISE + "sigma_255 = 5\n", "utf-8-sig")
    assert str(read_mixture(path).name) == "mine"


def test_a_line_of_a_long_file_is_found_by_few_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "[[part]]\ndegradation = 'none'\n" * 1000 + "[[part]]\ndegradation = [\n'nonee'\n]\n"
    readings = unittest.mock.Mock(wraps=tomllib.loads)
    monkeypatch.setattr(tomllib, "loads", readings)
    assert line_of(content, ("part", 1000, "degradation")) == 2002
    assert readings.call_count < 20


def test_a_line_is_found_however_the_key_is_written() -> None:
    content = (
        "about = '''\nsigma_px = 1\n'''\n\n[[part]]\n'degradation' = 'x'\npart_x = 1\n[[part]]\nstage.y = 1\n"
    )
    assert line_of(content, ("about",)) == 1
    assert line_of(content, ("part", 0)) == 5
    assert line_of(content, ("part", 0, "degradation")) == 6
    assert line_of(content, ("part", 1)) == 8
    assert line_of(content, ("part", 1, "stage", "y")) == 9


def test_the_page_lists_every_degradation_and_mixture(root: Path) -> None:
    page = (root / "docs" / "own-degradation.md").read_text("utf-8")
    for name, degradation in DEGRADATIONS.items():
        amounts = ", ".join(f"`{key}` {parameter}" for key, parameter in degradation.parameters.items())
        assert f"| `{name}` | {degradation.about} | {amounts} |" in page
    for name, part in PARTS.items():
        assert f"| `{name}` | {part.about} | " in page
    for name in shipped_mixtures():
        assert f"| `{name}` | " in page
