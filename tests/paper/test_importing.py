"""The authors' model: what was imported computes what their network computes, and prints their numbers."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rlrestore.agent.policy import PaperPolicy
from rlrestore.errors import ModelError
from rlrestore.evaluation.scores import restore_patches
from rlrestore.imaging.metrics import psnr_db
from rlrestore.paper.importing import import_paper
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.paper.bundles import write_bundle
from tests.releases import Release, agent_values, random_tool, tool_output

EXPECTED = {
    "mild": [
        ([19.5641, 23.2910, 24.4482, 24.5707], [7, 2, 12]),
        ([20.2012, 25.0987, 25.7613, 25.7798], [7, 1, 7]),
        ([22.4545, 23.1475, 24.2797, 24.2797], [5, 12, 13]),
        ([17.8829, 23.1422, 24.2104, 24.2104], [8, 1, 13]),
    ],
    "moderate": [
        ([18.5119, 22.7519, 24.0036, 24.5202], [8, 1, 7]),
        ([17.3996, 20.1588, 20.9890, 20.9890], [8, 1, 13]),
        ([21.2444, 27.2702, 28.4762, 28.4762], [7, 7, 13]),
        ([23.2453, 23.8332, 25.0463, 25.0463], [10, 7, 13]),
    ],
    "severe": [
        ([18.2617, 19.0927, 20.4168, 20.7970], [7, 2, 7]),
        ([22.7480, 25.1976, 25.9615, 26.2140], [7, 7, 7]),
        ([17.6437, 18.2940, 19.7200, 20.0333], [7, 2, 7]),
        ([21.0117, 25.5923, 26.1956, 26.6240], [8, 10, 12]),
    ],
}
"""Of each sample pair: PSNR in dB at the input and after each step, the toolchain, tools counted from 1."""
MEANS = {"mild": (20.0257, 24.7102), "moderate": (20.1003, 24.7579), "severe": (19.9163, 23.4171)}
VOTES = {1: [11, 13], 2: [1, 11, 13], 3: [2, 11, 13], 4: [2, 12, 13]}
"""What the tiles of each whole image vote for."""


@pytest.fixture(scope="module")
def imported(reference: Path) -> tuple[Toolbox, PaperPolicy]:
    return import_paper(reference)


def read(path: Path) -> Tensor:
    """An image file as `(1, 3, H, W)` in [0, 1]."""
    with Image.open(path) as image:
        return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float() / 255


def sample_pair(samples: Path, mixture: str, number: int) -> tuple[Tensor, Tensor]:
    names = [f"{number}_in.png", f"{number}.png"]
    degraded = next(path for name in names if (path := samples / f"{mixture}_in" / name).exists())
    return read(degraded), read(samples / f"{mixture}_gt" / f"{number}_gt.png")


@pytest.mark.parametrize("mixture", EXPECTED)
def test_the_samples_print_the_authors_numbers(
    imported: tuple[Toolbox, PaperPolicy], samples: Path, mixture: str
) -> None:
    pairs = [sample_pair(samples, mixture, number) for number in (1, 2, 3, 4)]
    clean = torch.cat([pair[1] for pair in pairs])
    restored = restore_patches(TorchRuntime(*imported), torch.cat([pair[0] for pair in pairs]))
    scores = torch.stack([psnr_db(images, clean) for images in restored.images], dim=1)

    for row, actions, (expected_db, chain) in zip(scores, restored.actions, EXPECTED[mixture], strict=True):
        assert [f"{value:.4f}" for value in row.tolist()] == [f"{value:.4f}" for value in expected_db]
        assert [action + 1 for action in actions.tolist()] == chain
    means = scores.double().mean(dim=0).tolist()
    assert (means[0], means[-1]) == pytest.approx(MEANS[mixture], abs=6e-5)


@torch.no_grad()
@pytest.mark.parametrize("number", VOTES)
def test_the_tiles_of_a_whole_image_vote_as_the_authors_did(
    imported: tuple[Toolbox, PaperPolicy], samples: Path, number: int
) -> None:
    """Their networks, made for transposed images, take the image as it is; ours take its transpose."""
    toolbox, policy = imported
    image = read(samples / "mine" / f"{number}.jpg").transpose(2, 3)
    height, width = image.shape[2:]
    corners = [(top, left) for left in range(0, width - 62, 63) for top in range(0, height - 62, 63)]
    hidden, last = policy.initial_state(len(corners)), torch.full((len(corners),), -1)
    votes: list[int] = []
    while len(votes) < policy.max_steps and len(TOOLS) + 1 not in votes:
        tiles = torch.cat([image[..., top : top + 63, left : left + 63] for top, left in corners])
        values, hidden = policy(tiles, last, hidden)
        action = int(torch.bincount(values.argmax(dim=1), minlength=len(TOOLS) + 1).argmax())
        votes.append(action + 1)
        if action != len(TOOLS):
            image, last = toolbox.apply_tool(action, image), torch.full_like(last, action)
    assert votes == VOTES[number]


def test_it_has_the_authors_sizes(release: Release) -> None:
    toolbox, policy = import_paper(release.folder)
    sizes = dict.fromkeys((3, 8), 0)
    for spec, network in zip(toolbox.specs, toolbox.networks, strict=True):
        sizes[spec.depth] = sum(weight.numel() for weight in network.parameters())
    assert sizes == {3: 21_827, 8: 50_851}
    zeros = policy.memory.bias_hh  # torch adds two biases where TensorFlow has one
    assert not zeros.any()
    assert sum(weight.numel() for weight in policy.parameters()) - zeros.numel() == 87_863
    assert not any(weight.requires_grad for part in (toolbox, policy) for weight in part.parameters())


@pytest.mark.parametrize("number", [1, 3])
def test_a_tool_computes_what_the_authors_graph_does_on_the_transpose(release: Release, number: int) -> None:
    toolbox, _ = import_paper(release.folder)
    image = np.random.default_rng(7).uniform(0, 1, (20, 27, 3))
    theirs = tool_output(release.tools[number - 1], image.swapaxes(0, 1)).swapaxes(0, 1)
    ours = toolbox.apply_tool(number - 1, torch.tensor(image).permute(2, 0, 1)[None].float())
    assert np.abs(theirs - image).max() > 0.01
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), theirs, atol=1e-5)


def test_the_agent_computes_what_the_authors_graph_does_on_the_transpose(release: Release) -> None:
    _, policy = import_paper(release.folder)
    observations = np.random.default_rng(8).uniform(-0.2, 1.2, (3, 63, 63, 3))
    chain = [4, 11]
    theirs = agent_values(release.agent, observations.swapaxes(1, 2), chain)
    hidden = policy.initial_state(1)
    for observation, last, expected in zip(observations, [-1, *chain], theirs, strict=True):
        image = torch.tensor(observation).permute(2, 0, 1)[None].float()
        values, hidden = policy(image, torch.tensor([last]), hidden)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(values[0].numpy(), expected - expected[-1], atol=1e-5)


TOOL, AGENT = "toolbox/tool03", "models/model"
LSTM = "prediction/prediction_rnn/basic_lstm_cell"


@pytest.mark.parametrize(
    ("prefix", "name", "value", "message"),
    [
        (TOOL, "conv2a/weights", None, r"expected float32 \(3, 3, 32, 32\), got none"),
        (
            TOOL,
            "conv9/weights",
            np.zeros((1, 2), np.float32),
            r"expected no such tensor, got float32 \(1, 2\)",
        ),
        (TOOL, "conv3/biases", np.zeros(4, np.float32), r"expected float32 \(3,\), got float32 \(4,\)"),
        (TOOL, "conv1/biases", np.zeros(64), r"expected float32 \(64,\), got float64 \(64,\)"),
        (TOOL, "conv1/biases", np.full(64, np.nan, np.float32), "holds a NaN or an infinity"),
        (AGENT, f"{LSTM}/kernel", None, r"expected float32 \(94, 200\), got none"),
        (AGENT, f"{LSTM}/bias", np.zeros(50, np.float32), r"expected float32 \(200,\), got float32 \(50,\)"),
        (AGENT, "prediction/l1/w", np.zeros(1, np.int32), r"expected float32 \(9, 9, 3, 32\), got none"),
        (
            AGENT,
            "prediction/l7/Matrix",
            np.zeros((32, 384), np.float32),
            r"expected float32 \(384, 32\), got",
        ),
        (AGENT, "prediction/q/bias", np.zeros((), np.float32), r"expected float32 \(13,\), got float32 \(\)"),
    ],
)
def test_a_wrong_tensor_is_named_with_both_shapes(
    release: Release, tmp_path: Path, prefix: str, name: str, value: NDArray[Any] | None, message: str
) -> None:
    folder = release.copy(tmp_path)
    tensors = dict(release.agent if prefix == AGENT else release.tools[2])
    tensors.pop(name, None)
    write_bundle(folder / prefix, tensors | ({} if value is None else {name: value}))
    with pytest.raises(ModelError, match=rf"{prefix}: tensor {name}.* {message}"):
        import_paper(folder)


def test_what_only_a_training_needs_is_left_out(release: Release, tmp_path: Path) -> None:
    folder = release.copy(tmp_path)
    extra: dict[str, NDArray[Any]] = {
        "beta1_power": np.array(0.5, np.float32),
        "conv1/weights/Adam": np.zeros((5, 5, 3, 64), np.float32),
        "conv1/weights/Adam_1": np.zeros((5, 5, 3, 64), np.float32),
        "global_step": np.array(7, np.int64),
    }
    write_bundle(folder / TOOL, {**release.tools[2], **extra})
    images = torch.rand(1, 3, 9, 9)
    plain, trained = (import_paper(place)[0].apply_tool(2, images) for place in (release.folder, folder))
    assert torch.equal(plain, trained)


def test_tools_of_the_other_depth_are_refused(release: Release, tmp_path: Path) -> None:
    folder = release.copy(tmp_path)
    write_bundle(folder / TOOL, random_tool(np.random.default_rng(0), depth=3))
    with pytest.raises(
        ModelError, match=r"tool03: tensor conv1/biases: expected float32 \(64,\), got float32 \(32,\)"
    ):
        import_paper(folder)


def test_what_is_missing_is_named(release: Release, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"no folder .*nowhere': expected the authors' release, with toolbox/"
    ):
        import_paper(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"there is no .*toolbox/tool01\.index"):
        import_paper(tmp_path)
    folder = release.copy(tmp_path / "release")
    shutil.rmtree(folder / "models")
    with pytest.raises(ModelError, match=r"there is no .*models/model\.index"):
        import_paper(folder)


def test_the_table_of_tools_is_the_authors(release: Release) -> None:
    assert [spec.depth for spec in TOOLS] == [
        3 if "conv2a/biases" not in tool else 8 for tool in release.tools
    ]
