"""Training the tools, each on its own distortion among the others.

Tools are trained one after another and share the time by what their networks cost. Each writes a checkpoint
of its own, so a training that was stopped goes on where it was.

Source: paper, section 3.1; what is ours was measured, row by row, in `docs/toolbox.md`.
"""

import copy
import logging
import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlrestore.devices import bfloat16_pays, numbered_generator
from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import has_model
from rlrestore.toolbox.checkpoint import load_checkpoint, save_checkpoint
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.networks import Widths, build_network, channels_last, check_trainable
from rlrestore.toolbox.report import ToolReport
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec
from rlrestore.toolbox.storage import load_toolbox, load_weights
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT_FOLDER = "training"
CHECKPOINT_SECONDS = 60.0
VALIDATION_PATCHES = 64
TIME_SHARES = {3: 0.4, 8: 1.0}
"""How a tool's training time depends on its depth."""
ERROR_FLOOR = 1e-4
"""Mean squared error at which an image begins to count less: that of 40 dB."""
DRAWN_STEPS = 8
"""Steps whose data is made at once: a batch is too small to keep a device busy with it."""
WARM_UP = 0.05
"""Part of a training over which the learning rate rises: at full rate from the start a tool may die."""
AVERAGE_DECAY = 0.999
"""Of the average over the weights of all steps, which is what becomes the tool."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """How tools are trained.

    Attributes:
        family: Which networks, one of `FAMILIES`.
        minutes: Wall-clock time for the whole training, over all runs that resume it; or None.
        steps: Steps of each tool; or None. Exactly one of the two is given.
        batch: Patches per step.
        patch: Side of a training patch in pixels.
        learning_rate: Of Adam at its highest; it rises at the start and falls to zero along a cosine.
        seed: Of the weights and of the data.
        widths: Channels of the networks; those of `WIDTHS` without it.
    """

    family: str = "hourglass"
    minutes: float | None = None
    steps: int | None = None
    batch: int = 4
    patch: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    widths: Widths | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")
        check_trainable(self.family)


def restoration_loss(restored: Tensor, clean: Tensor, floor: float = ERROR_FLOOR) -> Tensor:
    """Return the negative mean PSNR in dB of `(B, 3, H, W)`: the number by which the result is judged.

    The error is kept from vanishing (40 dB), where its logarithm would outweigh every other image.
    """
    error = (restored - clean).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(error + floor).mean()


def rate_factor(done: float) -> float:
    """Return what the learning rate is multiplied by when `done` of a training, 0 to 1, is over."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def average_weights(average: nn.Module, trained: nn.Module, steps: int) -> None:
    """Move the exponential moving average of weights towards the weights after one more step.

    Args:
        average: The average over `steps` steps; changed in place.
        trained: The same network as it is now.
        steps: How many came before. The average reaches back over a ninth of them, at most over 1000.
    """
    pull = max(9 / (steps + 9), 1 - AVERAGE_DECAY)
    for mean, weight in zip(average.parameters(), trained.parameters(), strict=True):
        mean.lerp_(weight, pull)


def train_tools(
    bank: PhotoBank,
    validation: PhotoBank,
    out: Path,
    specs: Sequence[ToolSpec],
    settings: TrainingSettings,
    resume: bool = False,
    start: Toolbox | None = None,
) -> tuple[Toolbox, list[ToolReport]]:
    """Train tools and return them with a report of each.

    Args:
        bank: Photographs to train on; training runs on its device.
        validation: Photographs to measure on.
        out: Folder for the checkpoints.
        specs: The tools to train; the others of the table stay as they are in `out`, or untrained.
        settings: How.
        resume: Go on from the checkpoints in `out`.
        start: Tools to begin with, all of `specs` among them, by name. Without it a tool begins with its
            milder sibling, if that has the same depth and is trained here before it, or untrained.

    Raises:
        RlrestoreError: The loss became NaN or infinite, or a checkpoint cannot be written.
        UsageError: The model or a checkpoint in `out` is of another kind.
        ModelError: The tools to begin with have other networks.
    """
    began = time.monotonic()
    folder = out / CHECKPOINT_FOLDER
    toolbox = present_toolbox(out, settings.family)
    if start is not None:
        _check_start(start, toolbox, specs)
    if not resume:
        for spec in specs:
            (folder / f"{spec.name}.safetensors").unlink(missing_ok=True)
    trainers = [ToolTrainer(spec, settings, folder, bank.device) for spec in specs]
    spent = sum(trainer.seconds for trainer in trainers)
    reports = []
    for index, trainer in enumerate(trainers):
        if trainer.done:
            log.info("%s is trained already; without --resume it starts anew", trainer.spec.name)
        else:
            _begin(trainer, trainers[:index], start)
            left = (settings.minutes or math.inf) * 60 - spent - (time.monotonic() - began)
            waiting = sum(TIME_SHARES[later.spec.depth] for later in trainers[index:] if not later.done)
            trainer.train(bank, max(0.0, left) * TIME_SHARES[trainer.spec.depth] / waiting)
        reports.append(trainer.report(validation))
        log.info("%s", reports[-1].line())
        network = toolbox.networks[toolbox.names.index(trainer.spec.name)]
        network.load_state_dict(trainer.network.state_dict())
    return toolbox.to(bank.device).eval().requires_grad_(False), reports


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
        path = out / CHECKPOINT_FOLDER / f"{name}.safetensors"
        if path.exists():
            load_checkpoint(path, nn.ModuleDict({"trained": copy.deepcopy(network), "average": network}))
    return expected


def _check_start(start: Toolbox, toolbox: Toolbox, specs: Sequence[ToolSpec]) -> None:
    """Find out before the training whether all tools can begin with those of another model."""
    for spec in specs:
        network = copy.deepcopy(toolbox.networks[toolbox.names.index(spec.name)])
        weights = start.networks[start.names.index(spec.name)].state_dict()
        load_weights(network, weights, f"the {start.family} tool {spec.name} to begin with")


def _begin(trainer: "ToolTrainer", earlier: Sequence["ToolTrainer"], start: Toolbox | None) -> None:
    """Give a tool that is not begun yet the weights that it begins with."""
    spec = trainer.spec
    if start is None:
        kind = spec.distortion, spec.depth
        others = [other.network for other in earlier if (other.spec.distortion, other.spec.depth) == kind]
    else:
        others = [start.networks[start.names.index(spec.name)]]
    if trainer.steps == 0 and others:
        weights, source = others[-1].state_dict(), f"what {spec.name} begins with"
        load_weights(trainer.trained, weights, source)
        load_weights(trainer.network, weights, source)


class ToolTrainer:
    """Trains one tool, with a checkpoint every minute.

    Attributes:
        trained: The network whose weights the gradient moves.
        network: The tool: the average of these weights.
    """

    def __init__(
        self,
        spec: ToolSpec,
        settings: TrainingSettings,
        folder: Path,
        device: torch.device,
    ) -> None:
        """Make a trainer, or go on from its checkpoint.

        Args:
            spec: The tool.
            settings: How it is trained.
            folder: Where its checkpoint is.
            device: Where it is trained.

        Raises:
            ModelError: The checkpoint does not fit.
        """
        self.spec, self.settings = spec, settings
        self.path = folder / f"{spec.name}.safetensors"
        self.stream = settings.seed + zlib.crc32(spec.name.encode())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.stream)
            self.trained = build_network(settings.family, spec.depth, settings.widths)
        channels_last(self.trained)
        self.trained.to(device)
        self.network = copy.deepcopy(self.trained)
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=settings.learning_rate)
        self.drawn: list[tuple[Tensor, Tensor]] = []
        self.steps, self.seconds, self.done = 0, 0.0, False
        if self.path.exists():
            progress, _ = load_checkpoint(self.path, self._modules(), {"tool": self.optimizer})
            if progress.get("about") != self._about():
                raise ModelError(
                    f"{self.path} is of another training: expected {self._about()}, "
                    f"got {progress.get('about')}; give the same options, or start without --resume"
                )
            self.steps, self.seconds = progress["steps"], progress["seconds"]
            self.done = bool(progress.get("done")) and self.steps >= (settings.steps or 0)

    def train(self, bank: PhotoBank, seconds: float) -> None:
        """Train until the steps of the settings or the seconds are used up.

        Raises:
            RlrestoreError: The loss became NaN or infinite, and no checkpoint was written since; or none can
                be written.
        """
        before, began, saved = self.seconds, time.monotonic(), time.monotonic()
        whole, last = before + max(seconds, 1e-3), self.settings.steps or math.inf
        slowest = 0.0
        bar: tqdm[Any]
        with tqdm(
            desc=self.spec.name, initial=self.steps, total=self.settings.steps, leave=False, disable=None
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
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate_factor(done)
        degraded, clean = self._batch(bank)
        with torch.autocast(bank.device.type, torch.bfloat16, enabled=bfloat16_pays(bank.device)):
            restored = self.trained(degraded)
        loss = restoration_loss(restored.float(), clean)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), 5.0)
        self.optimizer.step()
        average_weights(self.network, self.trained, self.steps)
        self.steps += 1
        return loss.detach()

    def _batch(self, bank: PhotoBank) -> tuple[Tensor, Tensor]:
        """Return the pairs of this step, which depend on nothing but the seed and its number."""
        turn, place = divmod(self.steps, DRAWN_STEPS)
        if place == 0 or not self.drawn:
            generator = numbered_generator(bank.device, self.stream, turn)
            specs = [self.spec] * (DRAWN_STEPS * self.settings.batch)
            pairs = self._pairs(bank, training_distortion(specs, generator), generator)
            batches = (side.split(self.settings.batch) for side in pairs)
            self.drawn = list(zip(*batches, strict=True))
        return self.drawn[place]

    def _pairs(
        self, bank: PhotoBank, amounts: Degradations, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        degraded, clean = degraded_pairs(bank, amounts, self.settings.patch, generator)
        return degraded.contiguous(memory_format=torch.channels_last), clean

    def _about(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with to go on from it."""
        return {"tool": asdict(self.spec), "seed": self.settings.seed}

    def _modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"trained": self.trained, "average": self.network})

    def _check(self, loss: Tensor, bar: "tqdm[Any]") -> None:
        value = float(loss)
        if not math.isfinite(value):
            raise RlrestoreError(
                f"the loss of {self.spec.name} became {value} after {self.steps} steps; "
                f"--resume goes on from the last good checkpoint, if {self.path} exists"
            )
        bar.set_postfix_str(f"{-value:.2f} dB")

    def _save(self) -> None:
        progress = {"steps": self.steps, "seconds": self.seconds, "done": self.done, "about": self._about()}
        save_checkpoint(self.path, self._modules(), {"tool": self.optimizer}, progress)

    @torch.no_grad()
    def report(self, validation: PhotoBank) -> ToolReport:
        """Measure the tool on the validation photographs, always on the same patches."""
        pairs = []
        specs = [self.spec] * VALIDATION_PATCHES
        for distort in (own_distortion, training_distortion):
            generator = torch.Generator(validation.device).manual_seed(self.settings.seed)
            degraded, clean = self._pairs(validation, distort(specs, generator), generator)
            restored = self.network(degraded)
            pairs.append((float(psnr_db(degraded, clean).mean()), float(psnr_db(restored, clean).mean())))
        return ToolReport(self.spec.name, self.steps, self.seconds, *pairs)
