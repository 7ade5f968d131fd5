"""Training the tools, each on its own distortion among the others.

Tools are trained one after another and share the time by what their networks cost. Each has a checkpoint of
its own, so a training that was stopped goes on where it was.

Source: paper, section 3.1; what is ours, in `docs/concepts.md`.
"""

import copy
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlrestore.devices import precision_name
from rlrestore.errors import UsageError
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import NamedRecipe, draw_pairs
from rlrestore.model_folder import has_model
from rlrestore.toolbox.checkpoint import Checkpoint, TrainingState
from rlrestore.toolbox.distortions import MIXED_SHARES, in_range, own_distortion, training_distortion
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.networks import Widths, build_network, channels_last, check_trainable
from rlrestore.toolbox.optimisation import average_weights, move_weights, rate_factor, restoration_losses
from rlrestore.toolbox.ranks import agreed, rank_count, rank_generator
from rlrestore.toolbox.report import ToolReport
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec
from rlrestore.toolbox.storage import load_toolbox, load_weights
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Moment, Start, Trainer, check_start

TRAINING_FOLDER = "training"
"""Folder of checkpoints and logs in a model's folder."""
VALIDATION_PATCHES = 64
TIME_SHARES = {3: 0.4, 8: 1.0}
"""How a tool's training time depends on its depth."""
CANDIDATES = 4
"""Patches of a mixture that are drawn for each that a tool trains on."""
DRAWN_STEPS = 8
"""Steps whose data is made at once: a batch is too small to keep a device busy with it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolSettings:
    """How tools are trained.

    Attributes:
        family: Which networks, one of `FAMILIES`.
        batch: Patches per step, of each rank.
        patch: Side of a training patch in pixels.
        learning_rate: Of Muon at its highest; it rises at the start and falls to zero along a cosine.
        seed: Of the weights and of the data.
        widths: Channels of the networks; those of `WIDTHS` without it.
        precision: Of the copies of the weights that compute; what pays on the device without it.
    """

    family: str = "hourglass"
    batch: int = 16
    patch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
    widths: Widths | None = None
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_trainable(self.family)


def train_tools(
    bank: PhotoBank,
    validation: PhotoBank,
    out: Path,
    specs: Sequence[ToolSpec],
    budget: Budget,
    settings: ToolSettings | None = None,
    start: Start = "new",
    begin_with: Toolbox | None = None,
    mixture: NamedRecipe | None = None,
) -> tuple[Toolbox, list[ToolReport]]:
    """Train tools and return them with a report of each.

    Args:
        bank: Photographs to train on; training runs on its device.
        validation: Photographs to measure on.
        out: Folder of the model; checkpoints go into `training` in it.
        specs: The tools to train; the others of the table stay as they are in `out`, or untrained.
        budget: Minutes for all tools together, or steps of each.
        settings: How.
        start: Whether there may, must or must not be checkpoints of these tools.
        begin_with: Tools to begin with, all of `specs` among them, by name. Without it a tool begins with its
            milder sibling, if that has the same depth and is trained here before it, or untrained.
        mixture: What a tool meets beside its own distortion; see `ToolTraining`.

    Raises:
        RlrestoreError: The training diverged too often, or a checkpoint cannot be written.
        UsageError: The model or a checkpoint in `out` is of another kind, or `start` does not fit.
        ModelError: The tools to begin with have other networks.
    """
    settings = settings or ToolSettings()
    folder = out / TRAINING_FOLDER
    checkpoints = [Checkpoint(folder / spec.name) for spec in specs]
    check_start(start, [each for each in checkpoints if each.exists()], str(folder))
    toolbox = present_toolbox(out, settings.family)
    if begin_with is not None:
        _check_begin_with(begin_with, toolbox, specs)
    each_start: Start = "either" if start == "resume" else start
    trainings = [ToolTraining(spec, settings, bank, mixture) for spec in specs]
    trainers = [Trainer(*pair, each_start) for pair in zip(trainings, checkpoints, strict=True)]
    spent, began, reports = sum(trainer.seconds for trainer in trainers), time.monotonic(), []
    for index, (training, trainer) in enumerate(zip(trainings, trainers, strict=True)):
        training.finished &= training.steps >= (budget.steps or 0)
        if training.finished:
            log.info("%s is trained already", training.name)
        else:
            _begin(training, trainings[:index], begin_with)
            waiting = [each for each in trainings[index:] if not each.finished]
            trainer.run(_share(budget, trainer.seconds, spent + time.monotonic() - began, waiting))
            training.finished = True
            trainer.save()
        reports.append(training.report(validation, trainer.seconds))
        log.info("%s", reports[-1].line())
        network = toolbox.networks[toolbox.names.index(training.name)]
        network.load_state_dict(training.average.state_dict())
    return toolbox.to(bank.device).eval().requires_grad_(False), reports


def _share(budget: Budget, seconds: float, spent: float, waiting: Sequence["ToolTraining"]) -> Budget:
    """Return the budget of the first of the tools that wait: its share of the minutes that are left."""
    if budget.minutes is None:
        return budget
    shares = [TIME_SHARES[training.spec.depth] for training in waiting]
    left = max(0.0, 60 * budget.minutes - spent) * shares[0] / sum(shares)
    return Budget(minutes=agreed((seconds + left) / 60)[0])


def present_toolbox(out: Path, family: str) -> Toolbox:
    """Return the tools of the model in a folder; without one, those of its checkpoints, the rest untrained.

    Raises:
        UsageError: They are of another family or width, or not the tools of the table.
    """
    expected = Toolbox(TOOLS, family)
    if has_model(out):
        toolbox = load_toolbox(out)
        if (toolbox.family, toolbox.names, toolbox.widths) != (family, TOOL_NAMES, expected.widths):
            raise UsageError(
                f"{out} holds {toolbox.family} tools {', '.join(toolbox.names)} of widths {toolbox.widths}: "
                f"expected the twelve of the table, family {family}, widths {expected.widths}; "
                "choose another --out"
            )
        return toolbox
    for name, network in zip(expected.names, expected.networks, strict=True):
        checkpoint = Checkpoint(out / TRAINING_FOLDER / name)
        if checkpoint.exists():
            modules = nn.ModuleDict({"trained": copy.deepcopy(network), "average": network})
            checkpoint.load(TrainingState(modules, {}, {}, {}))
    return expected


def _check_begin_with(begin_with: Toolbox, toolbox: Toolbox, specs: Sequence[ToolSpec]) -> None:
    """Find out before the training whether all tools can begin with those of another model."""
    for spec in specs:
        network = copy.deepcopy(toolbox.networks[toolbox.names.index(spec.name)])
        weights = begin_with.networks[begin_with.names.index(spec.name)].state_dict()
        load_weights(network, weights, f"the {begin_with.family} tool {spec.name} to begin with")


def _begin(training: "ToolTraining", earlier: Sequence["ToolTraining"], begin_with: Toolbox | None) -> None:
    """Give a tool that is not begun yet the weights that it begins with."""
    spec = training.spec
    if begin_with is None:
        kind = spec.distortion, spec.depth
        others = [each.average for each in earlier if (each.spec.distortion, each.spec.depth) == kind]
    else:
        others = [begin_with.networks[begin_with.names.index(spec.name)]]
    if training.steps == 0 and others:
        training.begin_with(others[-1].state_dict())


class ToolTraining:
    """The training of one tool, for a `Trainer`.

    Attributes:
        name: The tool's.
        steps: Gradient steps done so far.
        about: What a checkpoint must agree with to go on from it.
        finished: Whether its budget was used up.
        average: The tool: the average of the weights that the gradient moves.
    """

    def __init__(
        self, spec: ToolSpec, settings: ToolSettings, bank: PhotoBank, mixture: NamedRecipe | None = None
    ) -> None:
        """Make the training of a new tool.

        Args:
            spec: The tool.
            settings: How it is trained.
            bank: Photographs to train on, on the device.
            mixture: Where the share `MIXED_SHARES` of the samples comes from: those of its patches whose
                amount lies in the tool's range, as far as there are any. The paper's moderate mixture, with
                the tool's own amount exchanged, without it.
        """
        self.name, self.spec, self.settings, self.bank = spec.name, spec, settings, bank
        self.about: dict[str, Any] = {"tool": asdict(spec), "family": settings.family, "seed": settings.seed}
        self.mixture = mixture
        if mixture is not None:
            self.about["mixture"] = mixture.identity
        self.steps, self.finished, self.piece = 0, False, settings.batch
        self.stream = settings.seed + zlib.crc32(spec.name.encode())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.stream)
            network = build_network(settings.family, spec.depth, settings.widths)
        channels_last(network)
        self.trained = Toolbox([spec], settings.family, [network]).to(bank.device)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.tools = FunctionalTools.for_training(self.trained, settings.precision)
        self.optimizer = Muon(self.trained.parameters(), settings.learning_rate, self.tools.precision)
        self._drawn: list[tuple[Tensor, Tensor]] = []

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Start from the weights of another tool.

        Raises:
            ModelError: Its network is another.
        """
        for network in (self.trained.networks[0], self.average):
            load_weights(network, weights, f"what {self.name} begins with")
        self.tools.refresh()

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Take one gradient step; see `Training.step`."""
        degraded, clean = self._batch(moment.attempt)
        self.tools.zero_grad()
        losses = []
        for images, targets in zip(degraded.split(self.piece), clean.split(self.piece), strict=True):
            losses.append(restoration_losses(self.tools.apply_tool(0, images), targets))
            (losses[-1].sum() / (len(degraded) * rank_count())).backward()
        rate = self.settings.learning_rate * rate_factor(moment.done) * moment.rate_factor
        norm = move_weights(self.tools, self.optimizer, rate)
        average_weights(self.average, self.trained, self.steps)
        self.steps += 1
        return {"psnr_db": -torch.cat(losses).detach().mean(), "gradient_norm": norm}

    def _batch(self, attempt: int) -> tuple[Tensor, Tensor]:
        """Return the pairs of this step, which depend on nothing but the seed, its number and the attempt."""
        turn, place = divmod(self.steps, DRAWN_STEPS)
        if place == 0 or not self._drawn:
            generator = rank_generator(self.bank.device, self.stream + (attempt << 16), turn)
            specs = [self.spec] * (DRAWN_STEPS * self.settings.batch)
            if self.mixture is None:
                pairs = self._pairs(self.bank, training_distortion(specs, generator), generator)
            else:
                amounts = training_distortion(specs, generator, mixed_share=0.0)
                pairs = self._mixed(*self._pairs(self.bank, amounts, generator), self.mixture, generator)
            batches = (side.split(self.settings.batch) for side in pairs)
            self._drawn = list(zip(*batches, strict=True))
        return self._drawn[place]

    def _pairs(
        self, bank: PhotoBank, amounts: Degradations, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        degraded, clean = degraded_pairs(bank, amounts, self.settings.patch, generator)
        return degraded.contiguous(memory_format=torch.channels_last), clean

    def _mixed(
        self, degraded: Tensor, clean: Tensor, mixture: NamedRecipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Put patches of a mixture that the tool is for in the place of some pairs."""
        wanted = round(MIXED_SHARES.get(self.spec.distortion, 0.0) * len(clean))
        if not wanted:
            return degraded, clean
        size, device = self.settings.patch, self.bank.device
        drawn = draw_pairs(self.bank, mixture.recipe, CANDIDATES * wanted, size, generator)
        fits = in_range(self.spec, drawn.amounts)
        lots = torch.rand(len(drawn), generator=generator, device=device)
        chosen = (fits + lots).argsort(descending=True)[:wanted]  # those that fit first, in any order
        places = torch.randperm(len(clean), generator=generator, device=device)[:wanted]
        used = fits[chosen].view(-1, 1, 1, 1)
        for side, others in ((degraded, drawn.degraded), (clean, drawn.target)):
            side[places] = torch.where(used, others[chosen], side[places])
        return degraded, clean

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        modules = nn.ModuleDict({"trained": self.trained.networks[0], "average": self.average})
        counters = {"finished": self.finished, "precision": precision_name(self.tools.precision)}
        return TrainingState(modules, {"tool": self.optimizer}, counters, {})

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take the counters of a checkpoint; see `Training.restore`."""
        del replay  # a tool has none
        self.steps, self.finished = progress["steps"], bool(progress["counters"].get("finished"))
        self._drawn = []
        self.tools.refresh()

    def shrink(self) -> bool:
        """Halve the patches in memory at a time; see `Training.shrink`."""
        self.piece //= 2
        return self.piece > 0

    @torch.no_grad()
    def report(self, validation: PhotoBank, seconds: float) -> ToolReport:
        """Measure the tool on the validation photographs, always on the same patches.

        Args:
            validation: The photographs.
            seconds: How long it was trained.
        """
        pairs = []
        specs = [self.spec] * VALIDATION_PATCHES
        for distort in (own_distortion, training_distortion):
            generator = torch.Generator(validation.device).manual_seed(self.settings.seed)
            degraded, clean = self._pairs(validation, distort(specs, generator), generator)
            restored = self.average(degraded)
            pairs.append((float(psnr_db(degraded, clean).mean()), float(psnr_db(restored, clean).mean())))
        return ToolReport(self.spec.name, self.steps, seconds, *pairs)
