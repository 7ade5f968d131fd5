"""Training the agent on a toolbox that stays as it is: rounds of collecting and fitting."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlrestore.agent.measure import PolicyReport, measure_policy
from rlrestore.agent.policy import Policy
from rlrestore.agent.qlearning import Episodes, collect, join, turn, value_loss, values_of
from rlrestore.envs.sources import CleanSource, MixedSource, MixtureSource, PairSource, SingleSource
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.mixtures import MODERATE
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import load_checkpoint, save_checkpoint
from rlrestore.toolbox.devices import numbered_generator
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT = Path("training") / "agent.safetensors"
CHECKPOINT_SECONDS = 60.0
VALIDATION_EPISODES = 192
CLIP_NORM = 1.0
SOURCE_SHARES = {"moderate": 0.45, "single": 0.45, "clean": 0.1}
"""Where the agent's training pairs come from.

Source: the authors' released code mixes the tools' single distortions about one to one into the moderate
mixture; the clean photographs, on which the right first action is stop, are ours.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSettings:
    """How an agent is trained.

    Attributes:
        minutes: Wall-clock time, over all runs that resume it; or None.
        steps: Steps of the environment, rounded up to whole rounds; or None. Exactly one of the two is given.
        episodes: Episodes collected in a round.
        fits: Gradient steps in a round.
        batch: Episodes per gradient step.
        capacity: Episodes kept, the newest ones.
        exploration: Probability of a random tool while collecting.
        discount: How much a later gain counts beside one now. At 1 a harmless tool costs no more than the
            last of the steps, which is less than young values err; at 0 the best tool of the step stands out.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        seed: Of the weights and of all draws.
    """

    minutes: float | None = None
    steps: int | None = None
    episodes: int = 128
    fits: int = 64
    batch: int = 32
    capacity: int = 32768
    exploration: float = 0.3
    discount: float = 0.0
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")


def training_source(bank: PhotoBank) -> PairSource:
    """Return what the agent trains on: the moderate mixture, single distortions, clean photographs."""
    sources: dict[str, PairSource] = {
        "moderate": MixtureSource(bank, MODERATE),
        "single": SingleSource(bank),
        "clean": CleanSource(bank),
    }
    return MixedSource([(SOURCE_SHARES[name], source) for name, source in sources.items()])


class QTrainer:
    """Trains a policy by Q-learning from all actions, with a checkpoint every minute.

    A resumed training has its weights and optimiser back, and collects its episodes anew.
    """

    def __init__(
        self,
        policy: Policy,
        toolbox: Toolbox,
        source: PairSource,
        settings: AgentSettings,
        device: torch.device,
    ) -> None:
        channels_last(policy)
        self.policy = policy.to(device).requires_grad_(True)  # one that was loaded is frozen
        self.toolbox, self.source, self.settings = toolbox, source, settings
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator(device)
        self.kept: Episodes | None = None
        self.steps, self.seconds = 0, 0.0

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one."""
        if path.exists():
            progress = load_checkpoint(path, self.policy, self.optimizer)
            self.steps, self.seconds = progress["steps"], progress["seconds"]

    def train(self, checkpoint: Path) -> None:
        """Train until the steps or the minutes are used up.

        Raises:
            RlrestoreError: The loss became NaN or infinite; the last good checkpoint is kept.
        """
        settings = self.settings
        whole = math.inf if settings.minutes is None else settings.minutes * 60
        before, began, saved, slowest = self.seconds, time.monotonic(), time.monotonic(), 0.0
        self.policy.train()
        with tqdm(desc="agent", initial=self.steps, total=settings.steps, leave=False, disable=None) as bar:
            while self.seconds + slowest < whole and self.steps < (settings.steps or math.inf):
                done = self.seconds / whole if settings.steps is None else self.steps / settings.steps
                loss = self.round(done)
                if not math.isfinite(loss):
                    raise RlrestoreError(
                        f"the agent's loss became {loss} after {self.steps} steps; --resume goes on from "
                        f"the last good checkpoint, if {checkpoint} exists"
                    )
                now = time.monotonic()
                slowest = max(slowest, before + now - began - self.seconds)
                self.seconds = before + now - began
                bar.update(settings.episodes * self.policy.max_steps)
                bar.set_postfix_str(f"loss {loss:.3f} dB²")
                if now - saved > CHECKPOINT_SECONDS:
                    self.save(checkpoint)
                    log.info("%d steps, %.1f min, loss %.3f dB²", self.steps, self.seconds / 60, loss)
                    saved = now
        self.policy.eval()
        self.save(checkpoint)

    def round(self, done: float) -> float:
        """Collect once and fit many times; return the mean loss of the fits.

        Args:
            done: How much of the training is behind, from 0 to 1; sets the learning rate.
        """
        settings = self.settings
        self.generator = numbered_generator(self.generator.device, settings.seed, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        new = collect(
            self.policy,
            self.toolbox,
            self.source,
            settings.episodes,
            settings.exploration,
            settings.discount,
            self.generator,
        )
        self.kept = new if self.kept is None else join(self.kept, new, settings.capacity)
        losses = [self._fit(self.kept) for _ in range(settings.fits)]
        self.steps += settings.episodes * self.policy.max_steps
        return float(torch.stack(losses).mean())

    def _fit(self, kept: Episodes) -> Tensor:
        device = self.generator.device
        batch = kept[
            torch.randint(len(kept), (self.settings.batch,), generator=self.generator, device=device)
        ]
        turned = Episodes(turn(batch.images, self.generator), batch.last_actions, batch.values_db)
        loss = value_loss(values_of(self.policy, turned), batch.values_db)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP_NORM)
        self.optimizer.step()
        return loss.detach()

    def save(self, checkpoint: Path) -> None:
        """Write a checkpoint."""
        progress = {"steps": self.steps, "seconds": self.seconds}
        save_checkpoint(checkpoint, self.policy, self.optimizer, progress)


def train_q(
    bank: PhotoBank,
    validation: PhotoBank,
    toolbox: Toolbox,
    out: Path,
    settings: AgentSettings,
    resume: bool = False,
    policy: Policy | None = None,
) -> tuple[Policy, PolicyReport]:
    """Train an agent on a toolbox, and measure it on the moderate mixture of the validation photographs.

    Args:
        bank: Photographs to train on; training runs on their device.
        validation: Photographs to measure on.
        toolbox: The tools, on the same device.
        out: Folder for the checkpoint.
        settings: How.
        resume: Go on from the checkpoint in `out`.
        policy: The agent to begin with; an untrained one without it.

    Raises:
        RlrestoreError: The loss became NaN or infinite.
        ModelError: The checkpoint does not fit.
    """
    if policy is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            policy = Policy(toolbox.stop)
    trainer = QTrainer(policy, toolbox, training_source(bank), settings, bank.device)
    if resume:
        trainer.resume(out / CHECKPOINT)
    else:
        (out / CHECKPOINT).unlink(missing_ok=True)
    trainer.train(out / CHECKPOINT)
    return trainer.policy, validate(trainer.policy, toolbox, validation, settings.seed)


def validate(policy: Policy, toolbox: Toolbox, validation: PhotoBank, seed: int) -> PolicyReport:
    """Measure a policy on the moderate mixture of the validation photographs, and log the report."""
    generator = torch.Generator(validation.device).manual_seed(seed)
    images, clean = MixtureSource(validation, MODERATE)(VALIDATION_EPISODES, generator)
    report = measure_policy(policy, toolbox, images, clean)
    log.info("moderate, validation: %s", report.line())
    return report
