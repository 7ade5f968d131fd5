"""Do features tell what is wrong, or what is shown? Projections coloured by degradation, layer by layer.

The same patches are degraded in several ways. Where a layer's features gather by degradation and not by what
the patches show, the score of Calinski and Harabasz is high: the spread between the groups over that inside.

Source: Liu, Liu, Gu, Qiao, Dong: *Discovering "Semantics" in Super-Resolution Networks*, arXiv 2108.00406.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.presentation import GREY, PALETTE, markdown_table, save_with_legend
from rlrestore.agent.learn import untrained
from rlrestore.agent.policy import Policy
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.degradation.protocol import Degradations, degrade
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.networks import build_network
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.toolbox import Toolbox

KINDS = {
    "clean": (0.0, 0.0, 0.0),
    "blur, 2.5 px": (2.5, 0.0, 0.0),
    "noise, 25 of 255": (0.0, 25.0, 0.0),
    "JPEG, quality 20": (0.0, 0.0, 20.0),
    "all three, half": (1.25, 12.5, 40.0),
}
"""Blur σ in pixels, noise σ of 255, JPEG quality."""
TOOLS = ("deblur-3", "denoise-3", "dejpeg-3")
COMPONENTS = 50
"""Principal components that the score is of."""
DRAWN = ("agent: features", "agent: memory", *(f"{tool}: middle" for tool in TOOLS))
"""Layers that the figure shows."""

Floats = NDArray[np.float32]
Layers = dict[str, Tensor]


@dataclass(frozen=True)
class Projection:
    """The features of a layer, `(kinds · patches)` of them, kind after kind.

    Attributes:
        score: Of Calinski and Harabasz, on `COMPONENTS` principal components.
        places: `(N, 2)` on the first two.
    """

    score: float
    places: Floats


def draw_kinds(bank: PhotoBank, count: int, generator: torch.Generator) -> Tensor:
    """Draw patches and degrade each in every way: `(kinds · count, 3, PATCH, PATCH)`, kind after kind."""
    clean = bank.crops(count, context_side(PATCH), generator)
    degraded = []
    for amounts in KINDS.values():
        same = Degradations(*(torch.full((count,), amount) for amount in amounts))
        degraded.append(degrade(clean, same, generator, RADIUS_PX)[..., :PATCH, :PATCH])
    return torch.cat(degraded)


@torch.no_grad()
def agent_layers(policy: Policy, images: Tensor) -> Layers:
    """Return what an agent makes of patches before its first action, layer by layer."""
    observed = policy.observe(images)
    trunk = policy.trunk
    hidden = torch.relu(trunk.hidden((observed.flatten(1) - trunk.mean) / trunk.deviation))
    features = trunk(observed)
    nothing = torch.full((len(images),), NO_ACTION)
    values, (memory, _) = policy.step(features, nothing, policy.initial_state(len(images)))
    found = {"hidden": hidden, "features": features, "memory": memory, "values": values}
    return {f"agent: {name}": layer for name, layer in found.items()}


@torch.no_grad()
def tool_layers(name: str, network: nn.Module, images: Tensor) -> Layers:
    """Return the outputs of a tool's parts on patches, in the order in which they compute."""
    found: dict[str, list[Tensor]] = {}

    def keep(part: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, output: found.setdefault(f"{name}: {part}", []).append(output)

    hooks = [module.register_forward_hook(keep(part)) for part, module in network.named_children()]
    for piece in images.split(64):
        network(piece)
    for hook in hooks:
        hook.remove()
    return {part: torch.cat(outputs) for part, outputs in found.items()}


def all_layers(policy: Policy, toolbox: Toolbox, images: Tensor) -> Layers:
    """Return the layers of an agent and of some tools, and what they are given."""
    found: Layers = {"pixels": images, "spectrum": policy.observe(images)}
    found |= agent_layers(policy, images)
    for name in TOOLS:
        found |= tool_layers(name, toolbox.networks[toolbox.names.index(name)], images)
    return found


def before_training(policy: Policy, toolbox: Toolbox, seed: int) -> tuple[Policy, Toolbox]:
    """Return the same networks with their first weights; what standardises the agent's spectra stays."""
    first = untrained(Policy, toolbox.specs, seed)
    if not isinstance(first, Policy):
        raise TypeError(f"expected an agent that observes the spectrum, got {type(first).__name__}")
    for name in ("mean", "deviation"):
        first.trunk.get_buffer(name).copy_(policy.trunk.get_buffer(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [
            build_network(toolbox.family, spec.depth, toolbox.widths.get(spec.depth))
            for spec in toolbox.specs
        ]
    return first.eval(), Toolbox(toolbox.specs, toolbox.family, networks, toolbox.widths).eval()


def project(layer: Tensor) -> Projection:
    """Project features of all kinds, of any shape `(kinds · count, …)`, on their principal components."""
    rows = layer.flatten(1).double()
    rows = rows - rows.mean(dim=0)
    # The other way round there would be a matrix of as many rows as a layer has numbers.
    variances, vectors = torch.linalg.eigh(rows @ rows.T)
    components = (vectors * variances.clamp(min=0).sqrt()).flip(1)[:, :COMPONENTS].numpy()
    kinds = np.repeat(np.arange(len(KINDS)), len(rows) // len(KINDS))
    return Projection(calinski_harabasz(components, kinds), components[:, :2].astype(np.float32))


def calinski_harabasz(rows: NDArray[np.float64], kinds: NDArray[np.int64]) -> float:
    """Return how far groups lie apart, for how wide they are; 0 where all rows are one.

    Args:
        rows: `(N, F)`.
        kinds: `(N,)` the group of each.

    Source: Caliński and Harabasz, *A dendrite method for cluster analysis*, 1974.
    """
    groups = [rows[kinds == kind] for kind in np.unique(kinds)]
    middle = rows.mean(axis=0)
    between = sum(len(group) * np.square(group.mean(axis=0) - middle).sum() for group in groups)
    within = sum(np.square(group - group.mean(axis=0)).sum() for group in groups)
    freedom = (len(rows) - len(groups)) / (len(groups) - 1)
    return float(between / within * freedom) if within else 0.0


def scores_table(before: Mapping[str, Projection], after: Mapping[str, Projection]) -> str:
    """Return the scores of all layers in Markdown."""
    rows = [["layer", "before training", "after"]]
    rows += [[name, f"{before[name].score:.1f}", f"{after[name].score:.1f}"] for name in after]
    return markdown_table(rows)


def plot(before: Mapping[str, Projection], after: Mapping[str, Projection], path: Path) -> None:
    """Draw the layers `DRAWN` before and after training, coloured by degradation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(DRAWN), 5.6), layout="constrained")
    grid = figure.subplots(2, len(DRAWN))
    for row, (title, found) in enumerate((("before training", before), ("after", after))):
        for axes, name in zip(grid[row], DRAWN, strict=True):
            _scatter(axes, found[name].places)
            axes.set_title(f"{name}\n{title}: {found[name].score:.0f}", fontsize=9)
    save_with_legend(figure, grid[0, 0], path)


def _scatter(axes, places: Floats) -> None:  # type: ignore[no-untyped-def]  # matplotlib is an extra
    groups: Sequence[Floats] = np.split(places, len(KINDS))
    for kind, colour, group in zip(KINDS, PALETTE, groups, strict=False):
        axes.scatter(group[:, 0], group[:, 1], s=7, color=colour, label=kind, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(GREY)
