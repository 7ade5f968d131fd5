"""Who takes part in the comparison: models with an agent, single networks, OpenCV's non-local means.

The authors' model is the imported one (`paper.importing`). The import turned its kernels, so it takes patches
and photographs as they are and does to a patch what the authors' code does after swapping the patch's axes;
nothing is transposed here. On whole photographs that is the better way to use it: the authors' own
whole-image mode forgets the swap.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import Rollout, fixed, roll_out
from rlrestore.devices import resolve_device
from rlrestore.envs.transition import NO_ACTION
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.evaluation.costs import count_multiply_adds, executed, tool_multiply_adds
from rlrestore.evaluation.scores import STOPPED, PhotoChain, action_names, photo_chain, to_images
from rlrestore.evaluation.tools import short_names
from rlrestore.imaging.patches import PATCH
from rlrestore.inference.chains import apply_tool_
from rlrestore.inference.photos import as_photo, to_frame
from rlrestore.restorer import Restorer, apply_by_hand, find_model
from rlrestore.toolbox.storage import load_toolbox, read_card
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME

AUTHORS, PAPER, NLM = "authors' model", "ours, family paper", "non-local means"
"""What the contenders are called that have one place each."""
NLM_STRENGTH = 20.0
"""The h of non-local means, in grey levels, for brightness and colour alike. Among 2, 4, …, 16, 20 and 25 it
gained most (+1.46 dB) on 300 moderate patches of the training photographs held out for validation."""
NLM_TEMPLATE, NLM_SEARCH = 7, 21
"""Sides of its windows in pixels: OpenCV's own."""
OUTSIDE = re.compile(r"(?<=\s)(?:/|\.\./)(?:\S*/)?(?=[^/\s])")
"""In a command, the way to a file or folder outside of here: nobody else has it."""


@dataclass(frozen=True)
class Profile:
    """What is known of a contender before it restores anything.

    Attributes:
        name: What tables call it.
        about: What it is, and how it was trained: a line each, in Markdown.
        action_names: What its actions are called, stop last.
        tool_parameters: Trained numbers of all its networks that change images.
        agent_parameters: Trained numbers of its agent, 0 without one.
        tool_multiply_adds: Of each tool, for one 63×63 patch with all that is padded to it; empty where there
            are no convolutions to count.
        look_multiply_adds: Of one look of the agent at one patch, 0 without one.
    """

    name: str
    about: tuple[str, ...]
    action_names: tuple[str, ...]
    tool_parameters: int
    agent_parameters: int
    tool_multiply_adds: tuple[int, ...]
    look_multiply_adds: int

    @property
    def has_agent(self) -> bool:
        """Whether it chooses."""
        return self.agent_parameters > 0

    def executed(self, actions: Tensor) -> Tensor:
        """Return the multiply-adds of the tools that images of 63×63 pixels passed.

        Args:
            actions: `(N, T)`, `STOPPED` where a chain had ended.

        Returns:
            `(N, T)` float64: of every step.
        """
        return executed(self.tool_multiply_adds or [0] * (len(self.action_names) - 1), actions)

    def looked(self, actions: Tensor) -> Tensor:
        """Return `(N,)` float64 multiply-adds of the agent until each chain of `(N, T)` actions ended."""
        return (actions != STOPPED).sum(dim=1).double() * self.look_multiply_adds


@dataclass(frozen=True)
class Contender:
    """Whoever restores.

    Attributes:
        profile: What is known of it.
        device: Where it computes.
        steps: Of its longest chain.
        play: From degraded patches `(B, 3, 63, 63)` to what it does to them.
        chain: From a degraded photograph `(1, 3, H, W)`, which it may change, to what it does to that.
        restore: From the pixels `(H, W, 3)` of a photograph to the whole job, done in memory.
    """

    profile: Profile
    device: torch.device
    steps: int
    play: Callable[[Tensor], Rollout]
    chain: Callable[[Tensor], PhotoChain]
    restore: Callable[[NDArray[np.uint8]], object]

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.profile.name


@dataclass(frozen=True)
class LineUp:
    """All who take part, and who does not.

    Attributes:
        contenders: In the order of the tables' rows.
        absent: A sentence for each that was asked for or could have been, and is not there.
        singles: For a model the single network that it is compared with, by their names.
    """

    contenders: tuple[Contender, ...]
    absent: tuple[str, ...]
    singles: dict[str, str]


def line_up(
    models: Sequence[str],
    authors: str | None = None,
    paper: str | None = None,
    singles: Sequence[str] = (),
    device: str = "cpu",
) -> LineUp:
    """Read all that take part; one that is not there or cannot be read is left out.

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
    found: dict[str, Contender] = {}
    absent = []
    for name, source, option in wanted:
        if source is None:
            absent.append(f"{name}: no {option} was given")
            continue
        try:
            read = _single if option == "--singles" else _model
            found[name] = read(name, source, device)
        except RlrestoreError as error:
            absent.append(f"{name}: {str(error).replace(source, Path(source).name)}")
    if not any(names[model] in found for model in models):
        raise UsageError(f"expected at least one model in --models that can be read; {'; '.join(absent)}")
    rivals = {
        names[model]: names[single]
        for model, single in zip(models, _filled(singles, len(models)), strict=False)
    }
    present = {model: single for model, single in rivals.items() if model in found and single in found}
    return LineUp((*found.values(), non_local_means(place)), tuple(absent), present)


def _filled(singles: Sequence[str], count: int) -> list[str]:
    """Return so many, the last standing for all that are missing; none of none."""
    return [singles[min(number, len(singles) - 1)] for number in range(count)] if singles else []


def _model(name: str, source: str, device: str) -> Contender:
    return of_model(Restorer.from_pretrained(source, device), name)


def of_model(restorer: Restorer, name: str) -> Contender:
    """Let a model take part.

    Raises:
        UsageError: Its agent looks at patches of another size than the test sets have.
    """
    policy, toolbox = restorer.policy, restorer.toolbox
    if policy.patch_size != PATCH:
        raise UsageError(f"expected an agent that sees {PATCH}×{PATCH} pixels, got {policy.patch_size}")
    family = f"{len(toolbox.names)} tools of family `{toolbox.family}`, an agent of family `{policy.family}`"
    profile = Profile(
        name=name,
        about=(family, *training_lines(restorer.card)),
        action_names=action_names(restorer),
        tool_parameters=_parameters(toolbox),
        agent_parameters=_parameters(policy),
        tool_multiply_adds=tool_multiply_adds(toolbox),
        look_multiply_adds=count_multiply_adds(lambda: _look(policy)),
    )
    return Contender(
        profile,
        restorer.device,
        policy.max_steps,
        play=restorer.restore_patches,
        chain=lambda image: photo_chain(restorer, image),
        restore=lambda pixels: restorer.restore(pixels, keep_steps=False),
    )


def _single(name: str, source: str, device: str) -> Contender:
    folder, place = find_model(source), resolve_device(device)
    return of_single(load_toolbox(folder, place), name, read_card(folder))


def of_single(toolbox: Toolbox, name: str, card: Mapping[str, Any]) -> Contender:
    """Let a single network take part: a toolbox of one tool, applied once to everything.

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
        tool_parameters=_parameters(toolbox),
        agent_parameters=0,
        tool_multiply_adds=tool_multiply_adds(toolbox),
        look_multiply_adds=0,
    )

    def chain(image: Tensor) -> Iterator[tuple[Tensor, int]]:
        yield apply_tool_(toolbox, 0, image), 0

    return Contender(
        profile,
        toolbox.device,
        1,
        play=lambda images: roll_out(toolbox, images, fixed((0,), toolbox.stop), 1),
        chain=chain,
        restore=lambda pixels: apply_by_hand(toolbox, spec.name, as_photo(pixels)),
    )


def non_local_means(device: torch.device) -> Contender:
    """Let OpenCV's non-local means take part: the classical choice, which knows noise alone.

    Source: Buades, Coll, Morel: A non-local algorithm for image denoising, CVPR 2005.
    """
    about = (
        f"OpenCV's `fastNlMeansDenoisingColored` with h = {NLM_STRENGTH:g}, windows {NLM_TEMPLATE} and "
        f"{NLM_SEARCH}; h was chosen on moderate patches of training photographs",
    )
    profile = Profile(NLM, about, (NLM, STOP_NAME), 0, 0, (), 0)

    def apply(images: Tensor) -> Tensor:
        smoothed = np.stack([smooth_pixels(to_frame(image[None])) for image in images])
        return to_images(smoothed).to(images.device)

    def chain(image: Tensor) -> Iterator[tuple[Tensor, int]]:
        yield apply(image), 0

    def restore_patches(images: Tensor) -> Rollout:
        chosen = torch.zeros(len(images), 1, dtype=torch.int64)
        return Rollout(torch.stack([images, apply(images)]), chosen)

    return Contender(profile, device, 1, restore_patches, chain, smooth_pixels)


def smooth_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Apply non-local means to RGB pixels `(H, W, 3)`."""
    strengths = (NLM_STRENGTH, NLM_STRENGTH, NLM_TEMPLATE, NLM_SEARCH)
    smoothed = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(pixels[..., ::-1]), None, *strengths)
    return np.ascontiguousarray(smoothed[..., ::-1]).astype(np.uint8, copy=False)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _look(policy: AnyPolicy) -> None:
    device = next(policy.parameters()).device
    nothing_yet = torch.tensor([NO_ACTION], device=device)
    policy(torch.zeros(1, 3, PATCH, PATCH, device=device), nothing_yet, policy.initial_state(1))


def training_lines(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a model's card says of its origin, its data and its trainings.

    Args:
        card: As it was read; what it does not say is left out.

    Returns:
        A line for each, in Markdown; trainings by one command share a line.
    """
    lines = [str(card[key]) for key in ("about", "data", "note") if card.get(key)]
    for command, records in groupby(card.get("training", ()), lambda record: record.get("command", "")):
        parts = ", ".join(map(_part, records))
        lines.append(f"{parts}: `{OUTSIDE.sub('', command)}`" if command else parts)
    devices = [piece.get("device", "cpu") for piece in card.get("pieces", ())]
    return (*lines, *([f"run in {len(devices)} pieces, on {', '.join(devices)}"] if devices else []))


def _part(record: Mapping[str, Any]) -> str:
    """Say what a record of a card is of, and how long that took."""
    seconds = sum(network.get("seconds", 0) for network in record.get("networks", ()))
    minutes = record.get("minutes", seconds / 60)
    name = record.get("part", record.get("stage", "training"))
    return f"{name} {minutes:.0f} minutes" if minutes else str(name)
