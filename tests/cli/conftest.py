"""A model small enough to make on the spot, and files to restore with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.agent.policy import Policy
from rlrestore.agent.storage import save_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

BRIGHTER, DARKER = 0.1, -0.05


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose agent always takes deblur-1, which brightens by 0.1, three times.

    It expects +1.0 dB of it, +0.5 dB of deblur-2, which darkens by 0.05, and 0 of stopping.
    """
    toolbox, policy = Toolbox(TOOLS[:2]), Policy(2)
    for network, amount in zip(toolbox.networks, (BRIGHTER, DARKER), strict=True):
        torch.nn.init.constant_(network.tail.bias, amount)  # type: ignore[arg-type, union-attr]  # a fast network
    for head, bias in ((policy.level, [0.75]), (policy.advantage, [0.25, -0.25])):
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.tensor(bias)
    folder = tmp_path_factory.mktemp("models") / "toy"
    save_model(folder, toolbox, policy, ModelCard(facts={"about": "a test"}))
    return folder


@pytest.fixture(scope="package")
def photos(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A folder of two photographs to train on."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        Image.fromarray(make_photograph(100, 120, seed)).save(folder / f"{seed}.png")
    return str(folder)


@pytest.fixture
def photo(photograph: npt.NDArray[np.uint8], tmp_path: Path) -> Path:
    """A file of one photograph."""
    path = tmp_path / "photo.png"
    Image.fromarray(photograph).save(path)
    return path


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., Path]:
    """A writer of plain images: `write_image("a/b.png", level=100)` makes a 40×30 file below `tmp_path`."""

    def write(name: str, level: int = 100, width: int = 40, height: int = 30) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), (level, level, level)).save(path)
        return path

    return write


@pytest.fixture
def levels() -> Callable[[Path], set[int]]:
    """A reader of an image file: the set of all sample values in it."""

    def read(path: Path) -> set[int]:
        with Image.open(path) as image:
            pixels: npt.NDArray[np.uint8] = np.asarray(image)
        return set(np.unique(pixels).tolist())

    return read
