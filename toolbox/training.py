"""Training the tools: first one network per depth on everything, then each tool from it on its own.

A `Stage` is one network's training. Stages run one after another and share the time by what their networks
cost. Each writes a checkpoint of its own, so a training that was stopped goes on where it was.
"""

import logging
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.imaging.degradations import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import load_checkpoint, save_checkpoint
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.networks import build_network, channels_last
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec
from rlrestore.toolbox.storage import CARD, load_toolbox
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT_FOLDER = "training"
CHECKPOINT_SECONDS = 60.0
VALIDATION_PATCHES = 64
TIME_SHARES = {3: 0.4, 8: 1.0}
"""How a tool's training time depends on its depth."""
BASE_FACTOR = 4.0
"""How much longer the common start of a depth is trained than one of its tools."""
TOOL_RATE = 0.5
"""A tool's learning rate, relative to that of its common start."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """How tools are trained.

    Attributes:
        family: Which networks, `fast` or `paper`.
        minutes: Wall-clock time for the whole training, over all runs that resume it; or None.
        steps: Steps of each stage; or None. Exactly one of the two is given.
        batch: Patches per step.
        patch: Side of a training patch in pixels.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        seed: Of the weights and of the data.
    """

    family: str = "fast"
    minutes: float | None = None
    steps: int | None = None
    batch: int = 16
    patch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")


@dataclass(frozen=True)
class Stage:
    """One network's training: a tool's, or that of the common start of a depth.

    Attributes:
        name: The tool's name, or `base-3`, `base-8`.
        depth: Layers of its network.
        specs: The tools whose distortions it sees.
    """

    name: str
    depth: int
    specs: tuple[ToolSpec, ...]

    @property
    def share(self) -> float:
        """Its part of the time, relative to that of an 8-layer tool."""
        return TIME_SHARES[self.depth] * (BASE_FACTOR if self.is_base else 1.0)

    @property
    def is_base(self) -> bool:
        """Whether it is the common start of a depth."""
        return len(self.specs) > 1


@dataclass(frozen=True)
class StageReport:
    """What a stage came to, on the validation photographs.

    Attributes:
        name: The stage's name.
        steps: Steps trained.
        seconds: Wall-clock time trained.
        own_db: PSNR before and after on the tool's own distortion alone.
        mixed_db: PSNR before and after on what it trains on.
    """

    name: str
    steps: int
    seconds: float
    own_db: tuple[float, float]
    mixed_db: tuple[float, float]

    def record(self) -> dict[str, Any]:
        """Return the report for a model card."""
        return {
            "network": self.name,
            "steps": self.steps,
            "seconds": round(self.seconds),
            "validation_psnr_db": {
                "alone": [round(value, 3) for value in self.own_db],
                "among_others": [round(value, 3) for value in self.mixed_db],
            },
        }

    def line(self) -> str:
        """Return one line for a person."""
        own, mixed = self.own_db, self.mixed_db
        return (
            f"{self.name:<10} alone {own[0]:.2f} → {own[1]:.2f} dB ({own[1] - own[0]:+.2f})   "
            f"among others {mixed[0]:.2f} → {mixed[1]:.2f} dB ({mixed[1] - mixed[0]:+.2f})   "
            f"{self.steps:,} steps, {self.seconds / 60:.1f} min"
        )


def plan_stages(specs: Sequence[ToolSpec]) -> list[Stage]:
    """Return the stages that train these tools, in order: the common starts, then the tools."""
    bases = [Stage(f"base-{depth}", depth, TOOLS) for depth in sorted({spec.depth for spec in specs})]
    return bases + [Stage(spec.name, spec.depth, (spec,)) for spec in specs]


def restoration_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the negative mean PSNR in dB of `(B, 3, H, W)`: the number by which the result is judged.

    The error is kept from vanishing (60 dB), where its logarithm would outweigh every other image.
    """
    error = (restored - clean).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(error + 1e-6).mean()


def train_tools(
    bank: PhotoBank,
    validation: PhotoBank,
    out: Path,
    specs: Sequence[ToolSpec],
    settings: TrainingSettings,
    resume: bool = False,
) -> tuple[Toolbox, list[StageReport]]:
    """Train tools and return them with a report of each stage.

    Args:
        bank: Photographs to train on; training runs on its device.
        validation: Photographs to measure on.
        out: Folder for the checkpoints.
        specs: The tools to train; the others of the table stay as they are in `out`, or untrained.
        settings: How.
        resume: Go on from the checkpoints in `out`.

    Raises:
        RlrestoreError: The loss became NaN or infinite.
        UsageError: The model or a checkpoint in `out` is of another kind.
    """
    began = time.monotonic()
    folder = out / CHECKPOINT_FOLDER
    stages = plan_stages(specs)
    if not resume:
        for stage in stages:
            (folder / f"{stage.name}.safetensors").unlink(missing_ok=True)
    toolbox = present_toolbox(out, settings.family)
    trainers = [StageTrainer(stage, settings, folder, bank.device) for stage in stages]
    spent = sum(trainer.seconds for trainer in trainers)
    reports = []
    for index, trainer in enumerate(trainers):
        if trainer.done:
            log.info("%s is trained already; without --resume it starts anew", trainer.stage.name)
        else:
            left = (settings.minutes or math.inf) * 60 - spent - (time.monotonic() - began)
            waiting = sum(later.stage.share for later in trainers[index:] if not later.done)
            trainer.train(bank, max(0.0, left) * trainer.stage.share / waiting)
        reports.append(trainer.report(validation))
        log.info("%s", reports[-1].line())
        if not trainer.stage.is_base:
            network = toolbox.networks[toolbox.names.index(trainer.stage.name)]
            network.load_state_dict(trainer.network.state_dict())
    return toolbox.to(bank.device).eval().requires_grad_(False), reports


def present_toolbox(out: Path, family: str) -> Toolbox:
    """Return the tools as far as they are trained: those of the model in a folder, or of its checkpoints.

    Raises:
        UsageError: They are of another family, or not the tools of the table.
    """
    toolbox = load_toolbox(out) if (out / CARD).exists() else Toolbox(TOOLS, family)
    if toolbox.family != family or toolbox.names != TOOL_NAMES:
        raise UsageError(
            f"{out} holds {toolbox.family} tools {', '.join(toolbox.names)}: "
            f"expected the twelve of the table, family {family}; choose another --out"
        )
    for name, network in zip(toolbox.names, toolbox.networks, strict=True):
        path = out / CHECKPOINT_FOLDER / f"{name}.safetensors"
        if path.exists():
            load_checkpoint(path, network)
    return toolbox


class StageTrainer:
    """Trains one network, with a checkpoint every minute."""

    def __init__(self, stage: Stage, settings: TrainingSettings, folder: Path, device: torch.device) -> None:
        self.stage, self.settings = stage, settings
        self.path = folder / f"{stage.name}.safetensors"
        self.base_path = folder / f"base-{stage.depth}.safetensors"
        stream = settings.seed + zlib.crc32(stage.name.encode())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream)
            self.network: nn.Module = build_network(settings.family, stage.depth)
        channels_last(self.network)
        self.network.to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator(device).manual_seed(stream)
        self.steps, self.seconds, self.done = 0, 0.0, False
        if self.path.exists():
            progress = load_checkpoint(self.path, self.network, self.optimizer, self.generator)
            self.steps, self.seconds = progress["steps"], progress["seconds"]
            self.done = progress["done"] and self.steps >= (settings.steps or 0)

    def train(self, bank: PhotoBank, seconds: float) -> None:
        """Train until the steps of the settings or the seconds are used up.

        Raises:
            RlrestoreError: The loss became NaN or infinite; no checkpoint was written since.
        """
        if self.steps == 0 and not self.stage.is_base:
            load_checkpoint(self.base_path, self.network)
        before, began, saved = self.seconds, time.monotonic(), time.monotonic()
        whole, last = before + max(seconds, 1e-3), self.settings.steps or math.inf
        slowest = 0.0
        bar: tqdm[Any]
        with tqdm(
            desc=self.stage.name, initial=self.steps, total=self.settings.steps, leave=False, disable=None
        ) as bar:
            while not self.done:
                behind = self.seconds / whole if math.isfinite(whole) else self.steps / last
                loss = self._step(bank, behind)
                now = time.monotonic()
                slowest = max(slowest, before + now - began - self.seconds)
                self.seconds = before + now - began
                bar.update()
                self.done = self.seconds + slowest >= whole or self.steps >= last
                if self.done or self.steps % 50 == 0 or now - saved > CHECKPOINT_SECONDS:
                    self._check(loss, bar)
                if self.done or now - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = now

    def _step(self, bank: PhotoBank, done: float) -> Tensor:
        highest = self.settings.learning_rate * (1.0 if self.stage.is_base else TOOL_RATE)
        for group in self.optimizer.param_groups:
            group["lr"] = highest * 0.5 * (1 + math.cos(math.pi * done))
        # All tools of a base in turn, so that it sees each equally often.
        tools = self.stage.specs
        first = self.steps * self.settings.batch
        specs = [tools[(first + sample) % len(tools)] for sample in range(self.settings.batch)]
        degraded, clean = self._pairs(bank, training_distortion(specs, self.generator), self.generator)
        loss = restoration_loss(self.network(degraded), clean)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.steps += 1
        return loss.detach()

    def _pairs(
        self, bank: PhotoBank, amounts: Degradations, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        degraded, clean = degraded_pairs(bank, amounts, self.settings.patch, generator)
        return degraded.contiguous(memory_format=torch.channels_last), clean

    def _check(self, loss: Tensor, bar: "tqdm[Any]") -> None:
        value = float(loss)
        if not math.isfinite(value):
            raise RlrestoreError(
                f"the loss of {self.stage.name} became {value} after {self.steps} steps; "
                f"--resume goes on from the last good checkpoint, if {self.path} exists"
            )
        bar.set_postfix_str(f"{-value:.2f} dB")

    def _save(self) -> None:
        progress = {"steps": self.steps, "seconds": self.seconds, "done": self.done}
        save_checkpoint(self.path, self.network, self.optimizer, self.generator, progress)

    @torch.no_grad()
    def report(self, validation: PhotoBank) -> StageReport:
        """Measure the network on the validation photographs, always on the same patches."""
        pairs = []
        specs = list(self.stage.specs) * (VALIDATION_PATCHES // len(self.stage.specs))
        for distort in (own_distortion, training_distortion):
            generator = torch.Generator(validation.device).manual_seed(self.settings.seed)
            degraded, clean = self._pairs(validation, distort(specs, generator), generator)
            restored = self.network(degraded)
            pairs.append((float(psnr_db(degraded, clean).mean()), float(psnr_db(restored, clean).mean())))
        return StageReport(self.stage.name, self.steps, self.seconds, *pairs)
