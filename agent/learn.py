"""Training an agent from beginning to end: what it sees, how it is watched, what it came to."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rlrestore.agent.logs import MetricLog
from rlrestore.agent.measure import HeldOut, PolicyReport
from rlrestore.agent.policy import CAUTION_DB, AnyPolicy
from rlrestore.agent.training import AgentSettings, AgentTrainer, Learning, Watch
from rlrestore.envs.sources import CleanSource, MixedSource, MixtureSource, PairSource, SingleSource
from rlrestore.imaging.mixtures import ANY, MODERATE, Mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT = Path("training") / "agent.safetensors"
LOG = Path("training") / "log"
VALIDATION_EPISODES = 256
VALIDATION_SECONDS = 60.0
DAMAGES: dict[str, tuple[Mixture, dict[str, float]]] = {
    "protocol": (MODERATE, {"mixture": 0.45, "single": 0.45, "clean": 0.1}),
    "any": (ANY, {"mixture": 0.6, "single": 0.3, "clean": 0.1}),
}
"""What the agent may train on: the mixture of distortions, and where the pairs come from.

Source: the authors' released code mixes the tools' single distortions about one to one into the moderate
mixture; the clean photographs, on which the right first action is stop, are ours.
"""


def training_source(bank: PhotoBank, damage: str = "protocol") -> PairSource:
    """Return what the agent trains on: a mixture, single distortions, clean photographs.

    Args:
        bank: The photographs.
        damage: One of `DAMAGES`: as the paper's, with mild and severe mixtures unseen, or any.
    """
    mixture, shares = DAMAGES[damage]
    sources: dict[str, PairSource] = {
        "mixture": MixtureSource(bank, mixture),
        "single": SingleSource(bank),
        "clean": CleanSource(bank),
    }
    return MixedSource([(shares[name], source) for name, source in sources.items()])


def untrained(family: type[AnyPolicy], tools: int, seed: int) -> AnyPolicy:
    """Return an untrained agent of a family; the weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(tools, caution_db=CAUTION_DB)


def moderate_held_out(toolbox: Toolbox, bank: PhotoBank, seed: int, max_steps: int) -> HeldOut:
    """Draw patches of the moderate mixture to measure on, the same for the same seed."""
    generator = torch.Generator(bank.device).manual_seed(seed)
    pairs = MixtureSource(bank, MODERATE)(VALIDATION_EPISODES, generator)
    return HeldOut.of(toolbox, *pairs, max_steps)


def train_agent(
    policy: AnyPolicy,
    learning: Learning,
    bank: PhotoBank,
    validation: PhotoBank,
    toolbox: Toolbox,
    out: Path,
    settings: AgentSettings,
    damage: str = "protocol",
    resume: bool = False,
) -> PolicyReport:
    """Train an agent on a toolbox, and measure it on the moderate mixture of the validation photographs.

    Args:
        policy: The agent to train, in place.
        learning: How it learns.
        bank: Photographs to train on; training runs on their device.
        validation: Photographs to measure on, every minute and at the end.
        toolbox: The tools, on the same device.
        out: Folder for the checkpoint and the log.
        settings: How long, and the like.
        damage: What to train on, one of `DAMAGES`.
        resume: Go on from the checkpoint in `out`.

    Raises:
        RlrestoreError: The loss became NaN or infinite.
        ModelError: The checkpoint does not fit.
    """
    trainer = AgentTrainer(
        policy, toolbox, training_source(bank, damage), learning, settings, bank.device, damage
    )
    if resume:
        trainer.resume(out / CHECKPOINT)
    else:
        (out / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(out / LOG, ignore_errors=True)
    held_out = moderate_held_out(toolbox, validation, settings.seed, policy.max_steps)
    with watched(out, held_out, trainer.steps, trainer.seconds) as watch:
        trainer.train(out / CHECKPOINT, watch)
        watch(trainer.steps, math.inf, policy, {})
    return held_out.measure(policy)


@contextmanager
def watched(out: Path, held_out: HeldOut, steps: int = 0, seconds: float = 0.0) -> Iterator[Watch]:
    """Log every round of a training, and measure the agent every minute.

    Args:
        out: The model's folder; the log goes into `training/log` there.
        held_out: What to measure it on.
        steps: Steps that an earlier run has done.
        seconds: Their time.
    """
    metric_log = MetricLog(out / LOG, steps)
    measured = seconds

    def watch(steps: int, seconds: float, policy: AnyPolicy, metrics: dict[str, float]) -> None:
        nonlocal measured
        if metrics:
            metric_log.write("training", metrics, steps)
        if seconds - measured >= VALIDATION_SECONDS:
            measured = seconds
            metric_log.write("validation", held_out.measure(policy).metrics(), steps)

    try:
        yield watch
    finally:
        metric_log.close()
