"""The methods that are compared: models with an agent, single networks, OpenCV's non-local means.

The authors' model is the imported one (`paper.importing`). The import transposed its kernels, so it takes
patches and photographs as they are and does to a patch what the authors' code does after swapping the patch's
axes; nothing is transposed here. On whole photographs this is better than the authors' own whole-image mode,
which omits the swap.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import Rollout, fixed, roll_out
from rlrestore.devices import resolve_device
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.evaluation.costs import count_multiply_adds, executed, parameter_count, tool_multiply_adds
from rlrestore.evaluation.scores import (
    STOPPED,
    PhotoChain,
    action_names,
    photo_chain,
    restore_patches,
    to_images,
)
from rlrestore.evaluation.tools import short_names
from rlrestore.imaging import PATCH
from rlrestore.inference.by_hand import apply_by_hand
from rlrestore.inference.chains import apply_tool_
from rlrestore.inference.photos import to_frame
from rlrestore.model_folder import find_model, read_card, weights_label
from rlrestore.model_folder.card import ModelCard
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime, TorchTools
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME

AUTHORS, PAPER, NLM = "authors' model", "ours, family paper", "non-local means"
"""Names of the methods that occur at most once."""
NLM_STRENGTH = 20.0
"""The h of non-local means, in grey levels, for brightness and colour alike. Among 2, 4, …, 16, 20 and 25 it
gained most (+1.46 dB) on 300 moderate patches of the training photographs held out for validation."""
NLM_TEMPLATE, NLM_SEARCH = 7, 21
"""Sides of its windows in pixels: OpenCV's own."""
OUTSIDE = re.compile(r"(?<=\s)(?:/|\.\./)(?:\S*/)?(?=[^/\s])")
"""In a command, the path to a file or folder outside the current one, which the reader does not have."""


@dataclass(frozen=True)
class Profile:
    """The description and the costs of a method.

    Attributes:
        name: Its name in tables.
        about: What it is, and how it was trained: a line each, in Markdown.
        action_names: Names of its actions, stop last.
        tool_parameters: Number of parameters of its restoration networks.
        agent_parameters: Number of parameters of its agent, 0 without one.
        tool_multiply_adds: Of each tool, for one 63×63 patch with all that is padded to it; empty where there
            are no convolutions to count.
        agent_multiply_adds: Of one evaluation of the agent on one patch, 0 without one.
    """

    name: str
    about: tuple[str, ...]
    action_names: tuple[str, ...]
    tool_parameters: int
    agent_parameters: int
    tool_multiply_adds: tuple[int, ...]
    agent_multiply_adds: int

    @property
    def has_agent(self) -> bool:
        """Whether an agent chooses the tools."""
        return self.agent_parameters > 0

    def tool_costs(self, actions: Tensor) -> Tensor:
        """Return the multiply-adds of the tools that images of 63×63 pixels passed.

        Args:
            actions: `(N, T)`, `STOPPED` where a chain had ended.

        Returns:
            `(N, T)` float64: of every step.
        """
        return executed(self.tool_multiply_adds or [0] * (len(self.action_names) - 1), actions)

    def agent_costs(self, actions: Tensor) -> Tensor:
        """Return `(N,)` float64 multiply-adds of the agent until each chain of `(N, T)` actions ended."""
        return (actions != STOPPED).sum(dim=1).double() * self.agent_multiply_adds


@dataclass(frozen=True)
class Method:
    """A restoration method.

    Attributes:
        profile: Its description and costs.
        device: Where it computes.
        steps: Length of its longest chain.
        restore_patches: From degraded patches `(B, 3, 63, 63)` to the rollout.
        photo_chain: From a degraded photograph `(1, 3, H, W)`, which it may change, to its steps.
        restore_photo: Restores the pixels `(H, W, 3)` of a photograph in memory; used for timing.
    """

    profile: Profile
    device: torch.device
    steps: int
    restore_patches: Callable[[Tensor], Rollout]
    photo_chain: Callable[[Tensor], PhotoChain]
    restore_photo: Callable[[NDArray[np.uint8]], object]

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.profile.name


@dataclass(frozen=True)
class MethodSet:
    """The methods that are compared, and those that are missing.

    Attributes:
        methods: In the order of the tables' rows.
        left_out: A sentence for each that was not given or cannot be read.
        singles: For a model the single network that it is compared with, by their names.
    """

    methods: tuple[Method, ...]
    left_out: tuple[str, ...]
    singles: dict[str, str]


def load_methods(
    models: Sequence[str],
    authors: str | None = None,
    paper: str | None = None,
    singles: Sequence[str] = (),
    device: str = "cpu",
) -> MethodSet:
    """Read all methods; one that is missing or cannot be read is left out.

    The first model is compared with the first single network and so on; where there are more models, the
    last single network serves the rest.

    Args:
        models: Names or folders of our models.
        authors: Folder of the authors' model, imported.
        paper: Folder of our model in the family `paper`.
        singles: Folders of toolboxes of one tool, without an agent.
        device: Where all compute.

    Raises:
        UsageError: There is no such device, none of `models` can be read, or one is a single network, too.
    """
    place = resolve_device(device)
    if set(models) & set(singles):
        raise UsageError(f"expected other folders in --singles than in --models, got {', '.join(singles)}")
    both = [*models, *singles]
    names = dict(zip(both, short_names(both), strict=True))
    wanted = [(AUTHORS, authors, "--authors"), (PAPER, paper, "--paper")]
    wanted += [(names[model], model, "--models") for model in dict.fromkeys(models)]
    wanted += [(names[single], single, "--singles") for single in dict.fromkeys(singles)]
    wanted += [] if singles else [("a single network", None, "--singles")]
    found: dict[str, Method] = {}
    left_out = []
    for name, source, option in wanted:
        if source is None:
            left_out.append(f"{name}: no {option} was given")
            continue
        try:
            read = _single if option == "--singles" else _model
            found[name] = read(name, source, device)
        except RlrestoreError as error:
            left_out.append(f"{name}: {str(error).replace(source, Path(source).name)}")
    if not any(names[model] in found for model in models):
        raise UsageError(f"expected at least one model in --models that can be read; {'; '.join(left_out)}")
    paired = {
        names[model]: names[single]
        for model, single in zip(models, _repeated(singles, len(models)), strict=False)
    }
    present = {model: single for model, single in paired.items() if model in found and single in found}
    return MethodSet((*found.values(), non_local_means(place)), tuple(left_out), present)


def _repeated(singles: Sequence[str], count: int) -> list[str]:
    """Return `count` folders, the last repeated where there are fewer; none of none."""
    return [singles[min(number, len(singles) - 1)] for number in range(count)] if singles else []


def _model(name: str, source: str, device: str) -> Method:
    method = agent_method(TorchRuntime.load(source, device), name)
    weights = f"weights {weights_label(find_model(source))}"
    return replace(method, profile=replace(method.profile, about=(weights, *method.profile.about)))


def agent_method(model: TorchRuntime, name: str) -> Method:
    """Return a model with an agent as a method."""
    policy, toolbox, restorer = model.policy, model.toolbox, Restorer(model)
    family = f"{len(toolbox.names)} tools of family `{toolbox.family}`, an agent of family `{policy.family}`"
    profile = Profile(
        name=name,
        about=(family, *training_lines(model.card)),
        action_names=action_names(model),
        tool_parameters=parameter_count(toolbox),
        agent_parameters=parameter_count(policy),
        tool_multiply_adds=tool_multiply_adds(toolbox),
        agent_multiply_adds=count_multiply_adds(lambda: _evaluate_agent(policy)),
    )
    return Method(
        profile,
        model.place,
        policy.max_steps,
        restore_patches=lambda images: restore_patches(model, images),
        photo_chain=lambda image: photo_chain(model, image),
        restore_photo=lambda pixels: restorer.restore(pixels, keep_steps=False),
    )


def _single(name: str, source: str, device: str) -> Method:
    folder, place = find_model(source), resolve_device(device)
    return network_method(load_toolbox(folder, place), name, read_card(folder))


def network_method(toolbox: Toolbox, name: str, card: ModelCard) -> Method:
    """Return a single network as a method: a toolbox of one tool, applied once to every image.

    Raises:
        UsageError: There are more tools, or none.
    """
    if len(toolbox.names) != 1:
        raise UsageError(f"expected a toolbox of one tool, got {', '.join(toolbox.names) or 'none'}")
    (spec,) = toolbox.specs
    profile = Profile(
        name=name,
        about=(
            f"one network of family `{toolbox.family}`, {spec.depth} layers, applied once",
            *training_lines(card),
        ),
        action_names=(spec.name, STOP_NAME),
        tool_parameters=parameter_count(toolbox),
        agent_parameters=0,
        tool_multiply_adds=tool_multiply_adds(toolbox),
        agent_multiply_adds=0,
    )

    tools = TorchTools(toolbox)

    def chain(image: Tensor) -> Iterator[tuple[Tensor, int]]:
        yield torch.from_numpy(apply_tool_(tools, 0, image.cpu().numpy())).to(image.device), 0

    return Method(
        profile,
        toolbox.device,
        1,
        restore_patches=lambda images: roll_out(toolbox, images, fixed((0,), toolbox.stop), 1),
        photo_chain=chain,
        restore_photo=lambda pixels: apply_by_hand(tools, spec.name, pixels),
    )


def non_local_means(device: torch.device) -> Method:
    """Return OpenCV's non-local means as a method: the classical denoiser, which models noise alone.

    Source: Buades, Coll, Morel: A non-local algorithm for image denoising, CVPR 2005.
    """
    about = (
        f"OpenCV's `fastNlMeansDenoisingColored` with h = {NLM_STRENGTH:g}, windows {NLM_TEMPLATE} and "
        f"{NLM_SEARCH}; h was chosen on moderate patches of training photographs",
    )
    profile = Profile(NLM, about, (NLM, STOP_NAME), 0, 0, (), 0)

    def apply(images: Tensor) -> Tensor:
        smoothed = np.stack([smooth_pixels(to_frame(image[None].cpu().numpy())) for image in images])
        return to_images(smoothed).to(images.device)

    def chain(image: Tensor) -> Iterator[tuple[Tensor, int]]:
        yield apply(image), 0

    def play(images: Tensor) -> Rollout:
        chosen = torch.zeros(len(images), 1, dtype=torch.int64)
        return Rollout(torch.stack([images, apply(images)]), chosen)

    return Method(profile, device, 1, play, chain, smooth_pixels)


def smooth_pixels(pixels: NDArray[np.uint8], h: float = NLM_STRENGTH) -> NDArray[np.uint8]:
    """Apply non-local means of strength h, in grey levels, to RGB pixels `(H, W, 3)`."""
    strengths = (h, h, NLM_TEMPLATE, NLM_SEARCH)
    smoothed = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(pixels[..., ::-1]), None, *strengths)
    return np.ascontiguousarray(smoothed[..., ::-1]).astype(np.uint8, copy=False)


def _evaluate_agent(policy: AnyPolicy) -> None:
    device = next(policy.parameters()).device
    nothing_yet = torch.tensor([NO_ACTION], device=device)
    policy(torch.zeros(1, 3, PATCH, PATCH, device=device), nothing_yet, policy.initial_state(1))


def training_lines(card: ModelCard) -> tuple[str, ...]:
    """Return what a model's card says of its origin, its data and its trainings.

    Args:
        card: As it was read; missing entries are left out.

    Returns:
        A line for each, in Markdown; trainings by one command share a methods.
    """
    lines = [str(card.facts[key]) for key in ("about", "data", "note") if card.facts.get(key)]
    for command, records in groupby(card.training, lambda record: record.get("command", "")):
        parts = ", ".join(map(_part, records))
        lines.append(f"{parts}: `{OUTSIDE.sub('', command)}`" if command else parts)
    devices = [piece.get("device", "cpu") for piece in card.pieces]
    return (*lines, *([f"run in {len(devices)} pieces, on {', '.join(devices)}"] if devices else []))


def _part(record: Mapping[str, Any]) -> str:
    """Return the name and the minutes of a training record."""
    seconds = sum(network.get("seconds", 0) for network in record.get("networks", ()))
    minutes = record.get("minutes", seconds / 60)
    name = record.get("part", record.get("stage", "training"))
    return f"{name} {minutes:.0f} minutes" if minutes else str(name)
