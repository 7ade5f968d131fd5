"""The optimiser of convolutions: its steps, by the singular value decomposition and by torch's Adam."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlrestore.errors import ModelError
from rlrestore.toolbox.checkpoint import Checkpoint, TrainingState
from rlrestore.toolbox.muon import ADAM_SIZE, Muon, orthogonal

RATE = 0.01


def matrices(*shape: int) -> Tensor:
    """Random ones, of which the singular values differ by a factor of ten at most."""
    generator = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(*shape, generator=generator), full_matrices=False)
    values = 0.1 + 0.9 * torch.rand(*left.shape[:-2], left.shape[-1], generator=generator)
    made: Tensor = 7 * left @ torch.diag_embed(values) @ right
    return made


@pytest.mark.parametrize("shape", [(3, 4, 36), (2, 20, 5), (2, 6, 6)])
def test_singular_vectors_stay_and_values_come_to_one(shape: tuple[int, int, int]) -> None:
    given = matrices(*shape)
    made = orthogonal(given)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    along = left.mT @ made @ right.mT
    values = torch.diagonal(along, dim1=1, dim2=2)
    assert values.min() > 0.68
    assert values.max() < 1.21
    torch.testing.assert_close(along, torch.diag_embed(values), atol=1e-3, rtol=0)


def test_nothing_comes_of_nothing() -> None:
    assert not orthogonal(torch.zeros(2, 3, 5)).any()


def convolutions() -> nn.Sequential:
    """Two of one shape, with the others of their own; a gradient for all but the last."""
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv2d(4, width, 3) for width in (4, 4, 6, 5)))
    for parameter in list(network.parameters())[:-2]:
        parameter.grad = torch.randn_like(parameter)
    return network


def test_a_step_is_that_of_every_matrix_alone_and_of_adam_for_biases() -> None:
    """Twice the same gradient: momentum is 0.05 and then 0.0975 of it, so its direction stays."""
    network, other = convolutions(), convolutions()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    muon = Muon(network.parameters(), RATE)
    adam = torch.optim.Adam([weight for weight in other.parameters() if weight.ndim == 1], lr=RATE)
    for _ in range(2):
        muon.step()
        adam.step()
    for layer, twin, old in zip(network, other, before[::2], strict=True):
        assert isinstance(layer, nn.Conv2d)
        torch.testing.assert_close(layer.bias, twin.bias)
        if layer.weight.grad is None:
            assert torch.equal(layer.weight, old)
            continue
        alone = orthogonal(layer.weight.grad.flatten(1)[None])[0].view_as(old)
        size = ADAM_SIZE * math.sqrt(36)  # of 4 × 36 and 6 × 36
        torch.testing.assert_close(old - layer.weight.detach(), 2 * RATE * size * alone, atol=1e-5, rtol=1e-3)


def test_the_layout_of_the_weights_changes_no_step() -> None:
    """And they keep it."""
    network, other = convolutions(), convolutions()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types lack it
    for each in (network, other):
        Muon(each.parameters(), RATE).step()
    for weight, twin in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight, twin, atol=1e-6, rtol=1e-5)
        assert weight.ndim < 4 or weight.is_contiguous(memory_format=torch.channels_last)


class Calls(TorchDispatchMode):
    """Counts what computes something of tensors of one dimension or more, once for a list of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and do it."""
        del types
        tensors = [each for each in tree_leaves(args) if isinstance(each, Tensor)]
        self.count += not function.is_view and any(each.ndim for each in tensors)
        return function(*args, **(kwargs or {}))


def test_biases_move_together_by_steps_of_their_own() -> None:
    """On a GPU every operation is a launch: five hundred biases take as many as five do.

    One that is not always used is behind the others.
    """
    counts = []
    for number in (5, 500):
        generator = torch.Generator().manual_seed(0)
        biases = [nn.Parameter(torch.randn(8, generator=generator)) for _ in range(number)]
        twins = [nn.Parameter(bias.detach().clone()) for bias in biases]
        muon, adam = Muon(biases, RATE), torch.optim.Adam(twins, RATE)
        for step in range(3):
            for bias, twin in zip(biases, twins, strict=True):
                bias.grad = torch.randn(8, generator=generator)
                twin.grad = bias.grad.clone()
            if step == 1:
                biases[0].grad = twins[0].grad = None
            adam.step()
            with Calls() as calls:
                muon.step()
        counts.append(calls.count)
        torch.testing.assert_close(biases, twins, atol=1e-6, rtol=0)
        assert [int(muon.state[bias]["step"]) for bias in biases] == [2] + [3] * (number - 1)
    assert 0 < counts[0] == counts[1]


def test_the_size_of_a_step_is_adams() -> None:
    """The root mean square is 0.2 of the rate, by 0.7 to 1.2, whatever the gradient's."""
    layer = nn.Conv2d(64, 64, 3, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = 1e-6 * torch.randn(64, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    Muon(layer.parameters(), RATE).step()
    moved = (layer.weight.detach() - before).square().mean().sqrt()
    assert 0.7 * 0.2 * RATE < float(moved) < 1.2 * 0.2 * RATE


def test_a_checkpoint_holds_its_moments(tmp_path: Path) -> None:
    """What goes on from it takes the same steps; a weight that never moved has none."""
    network = convolutions()
    muon, checkpoint = Muon(network.parameters(), RATE), Checkpoint(tmp_path / "it")
    muon.step()
    state = TrainingState(network, {"tool": muon}, {}, {})
    checkpoint.save(state, {"steps": 1, "seconds": 1.0})
    again = convolutions()
    resumed = Muon(again.parameters(), RATE)
    checkpoint.load(TrainingState(again, {"tool": resumed}, {}, {}))
    for parameter in list(again.parameters())[:-2]:
        parameter.grad = torch.ones_like(parameter)
    for old, new in zip(network.parameters(), again.parameters(), strict=True):
        old.grad = new.grad
    muon.step()
    resumed.step()
    assert all(map(torch.equal, network.parameters(), again.parameters()))


def test_moments_of_another_optimiser_are_refused_and_can_be_left_behind(tmp_path: Path) -> None:
    """As of a checkpoint that Adam wrote: it stays as it is, and its weights go on without them."""
    network = convolutions()
    adam, checkpoint = torch.optim.Adam(network.parameters()), Checkpoint(tmp_path / "it")
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    adam.step()
    checkpoint.save(TrainingState(network, {"tool": adam}, {}, {}), {"steps": 1, "seconds": 1.0})
    files = {path: path.read_bytes() for path in checkpoint.folder.iterdir()}
    again = convolutions()
    state = TrainingState(again, {"tool": Muon(again.parameters(), RATE)}, {}, {})
    with pytest.raises(ModelError, match=r"optimizer.safetensors: .*delete this file alone and go on"):
        checkpoint.load(state)
    assert files == {path: path.read_bytes() for path in checkpoint.folder.iterdir()}
    (checkpoint.folder / "optimizer.safetensors").unlink()
    progress, _ = checkpoint.load(state)
    assert progress["steps"] == 1
    assert not progress["moments"]
    assert all(map(torch.equal, network.parameters(), again.parameters()))
