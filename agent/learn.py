"""Trainings from beginning to end: what is trained on, how it is logged, what it came to."""

import logging
import math
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from rlrestore.agent.joint import JointSettings, JointTrainer
from rlrestore.agent.logs import MetricLog
from rlrestore.agent.measure import HeldOut, PolicyReport, mean_gain_db
from rlrestore.agent.policy import STOP_MARGIN_DB, AnyPolicy, Policy
from rlrestore.agent.pretraining import pretrain_trunk
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.teacher import prescribed, teacher_chains
from rlrestore.agent.training import AgentSettings, AgentTrainer, Learning, Watch
from rlrestore.envs.sources import Blend, MixtureSource, Recipe, SingleDistortions, Untouched
from rlrestore.errors import UsageError
from rlrestore.imaging.degradation.mixtures import ANY, MODERATE
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PATCH, PhotoBank
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT = Path("training") / "agent.safetensors"
JOINT_CHECKPOINT = Path("training") / "joint.safetensors"
LOG = Path("training") / "log"
JOINT_LOG = Path("training") / "joint-log"
PRETRAINING_ROUNDS = 120
"""How long a new agent learns to tell distortions apart before it plays: 31,000 patches."""
PRETRAINING_SHARE = 0.25
"""Of the minutes that it may take at most."""
VALIDATION_EPISODES = 256
VALIDATION_SECONDS = 60.0
TRAINING_RECIPES: dict[str, Recipe] = {
    "paper": Blend(((0.45, MODERATE), (0.45, SingleDistortions()), (0.1, Untouched()))),
    "any": Blend(((0.6, ANY), (0.3, SingleDistortions(light_share=0.5)), (0.1, Untouched()))),
}
"""What is trained on: as in the paper, mild and severe mixtures unseen, or all from clean to severe.

Source: the authors' released code mixes the tools' single distortions about one to one into the moderate
mixture; the clean photographs, on which the right first action is stop, are ours.
"""


BASE_MIXTURES = {"paper": MODERATE, "any": ANY}
"""The mixtures among these, by the same names: what base networks and a single network are trained on."""
JOINT_EPISODES = AgentSettings(steps=1, episodes=64, fits=32, capacity=4096, learning_rate=2e-4)
"""How the agent follows the tools in joint training: what it saw of tools as they were is soon dropped."""

log = logging.getLogger(__name__)


def untrained(family: type[AnyPolicy], tools: int, seed: int) -> AnyPolicy:
    """Return an untrained agent of a family; the weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(tools, stop_margin_db=STOP_MARGIN_DB)


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
    mixture: str = "paper",
    resume: bool = False,
) -> PolicyReport:
    """Train an agent on a toolbox, and measure it on the moderate mixture of the validation photographs.

    A new one first learns to tell distortions apart (`pretrain_trunk`).

    Args:
        policy: The agent to train, in place.
        learning: How it learns.
        bank: Photographs to train on; training runs on their device.
        validation: Photographs to measure on, every minute and at the end.
        toolbox: The tools, on the same device.
        out: Folder for the checkpoint and the log.
        settings: How long, and the like.
        mixture: What to train on, one of `TRAINING_RECIPES`.
        resume: Go on from the checkpoint in `out`.

    Raises:
        RlrestoreError: The loss became NaN or infinite.
        ModelError: The checkpoint does not fit.
    """
    trainer = AgentTrainer(
        policy,
        toolbox,
        MixtureSource(bank, TRAINING_RECIPES[mixture]),
        learning,
        settings,
        bank.device,
        mixture,
    )
    if resume:
        trainer.resume(out / CHECKPOINT)
    else:
        (out / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(out / LOG, ignore_errors=True)
    log.info("measuring what the tools can do on %d held-out patches", VALIDATION_EPISODES)
    held_out = moderate_held_out(toolbox, validation, settings.seed, policy.max_steps)
    if isinstance(policy, Policy) and not policy.trunk.is_standardised:
        began = time.monotonic()
        most = math.inf if settings.minutes is None else PRETRAINING_SHARE * 60 * settings.minutes
        error = pretrain_trunk(
            policy, bank, TRAINING_RECIPES[mixture], PRETRAINING_ROUNDS, settings.seed, most
        )
        trainer.seconds += time.monotonic() - began
        log.info("tells distortions apart by %.2f tools in %.0f s", error, trainer.seconds)
    with logged(out, held_out, trainer.steps, trainer.seconds) as watch:
        trainer.train(out / CHECKPOINT, watch)
        watch(trainer.steps, math.inf, policy, {})
    return held_out.measure(policy)


def train_joint(
    toolbox: Toolbox,
    policy: AnyPolicy | None,
    bank: PhotoBank,
    validation: PhotoBank,
    out: Path,
    settings: JointSettings,
    mixture: str = "paper",
    resume: bool = False,
) -> float:
    """Train tools and agent together; return what the agent gains on the validation photographs, in dB.

    Args:
        toolbox: The tools to train, in place, on the device of `bank`.
        policy: Their agent, trained in place; None where all chains are planned.
        bank: Photographs to train on.
        validation: Photographs to measure on, every minute and at the end, by the moderate mixture.
        out: Folder for the checkpoint and the log.
        settings: How long, and the like.
        mixture: What to train on, one of `TRAINING_RECIPES`.
        resume: Go on from the checkpoint in `out`.

    Raises:
        UsageError: The agent sees patches of another size than those that are drawn.
        RlrestoreError: The training diverged twice.
        ModelError: The checkpoint does not fit.
    """
    if policy is not None and policy.patch_size != PATCH:
        raise UsageError(
            f"expected an agent that sees patches of {PATCH} pixels, as the tools are trained on here, "
            f"got {policy.patch_size}; train the agent anew"
        )
    recipe, follower = TRAINING_RECIPES[mixture], None
    if policy is not None:
        source = MixtureSource(bank, recipe)
        # Not the patches that the agent was trained on before.
        episodes = replace(JOINT_EPISODES, seed=settings.seed + zlib.crc32(b"joint"))
        follower = AgentTrainer(policy, toolbox, source, TriedActions(), episodes, bank.device, mixture)
    trainer = JointTrainer(toolbox, follower, bank, recipe, settings, {"mixture": mixture})
    if resume:
        trainer.resume(out / JOINT_CHECKPOINT)
    else:
        (out / JOINT_CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(out / JOINT_LOG, ignore_errors=True)
    generator = torch.Generator(validation.device).manual_seed(settings.seed)
    amounts = MODERATE.sample(VALIDATION_EPISODES, generator)
    pairs = degraded_pairs(validation, amounts, PATCH, generator)
    metric_log, measured = MetricLog(out / JOINT_LOG, trainer.steps), trainer.seconds

    chains = teacher_chains(toolbox.specs, amounts, trainer.max_steps)

    def gain_db() -> float:
        behaviour = prescribed(chains, trainer.greedy()) if policy is None else trainer.greedy()
        return mean_gain_db(toolbox, behaviour, *pairs, trainer.max_steps)

    def watch(metrics: dict[str, float]) -> None:
        nonlocal measured
        metric_log.write("joint", metrics, trainer.steps)
        if trainer.seconds - measured >= VALIDATION_SECONDS:
            measured = trainer.seconds
            metric_log.write("validation", {"return_db": gain_db()}, trainer.steps)

    try:
        trainer.train(out / JOINT_CHECKPOINT, watch)
    finally:
        metric_log.close()
    return gain_db()


@contextmanager
def logged(out: Path, held_out: HeldOut, steps: int = 0, seconds: float = 0.0) -> Iterator[Watch]:
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
