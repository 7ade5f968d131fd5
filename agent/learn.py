"""Trainings of the agent, and of agent and tools, from beginning to end: recipes, logs, validation."""

import json
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from rlrestore.agent.joint import JointSettings, JointTraining
from rlrestore.agent.measure import HeldOut, PolicyReport, mean_gain_db, tool_usage
from rlrestore.agent.policy import STOP_MARGIN_DB, AnyPolicy, Policy
from rlrestore.agent.pretraining import pretrain_trunk
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.rollout import greedy
from rlrestore.agent.teacher import prescribed, teacher_chains
from rlrestore.agent.training import AgentSettings, AgentTraining, Learning
from rlrestore.envs.sources import MixtureSource
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.mixtures import MIXTURES, MODERATE
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.pairs import context_side, degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import NamedRecipe, Recipe, SingleDistortions, draw_pairs
from rlrestore.imaging.recipes import smallest_side as side_of
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.logs import MetricLog
from rlrestore.toolbox.ranks import rank
from rlrestore.toolbox.specs import TOOLS, ToolSpec, start_margins_db
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Start, Trainer, Watch
from rlrestore.toolbox.training import TRAINING_FOLDER

LOG = "log"
"""Folder of a training's TensorBoard files, beside its checkpoint."""
PRETRAINING_ROUNDS = 120
"""How long a new agent's trunk is fitted to the degradations first: 31,000 patches."""
PRETRAINING_SHARE = 0.25
"""Of the minutes that it may take at most."""
VALIDATION_EPISODES = 256
VALIDATION_SECONDS = 60.0
USAGE = "usage.jsonl"
"""In the folder of a joint training's log: how often each tool is used."""
USAGE_EVERY = 10
"""Measurements of which one is of usage, too, which takes longer."""
USAGE_RECIPES: dict[str, Recipe] = {**MIXTURES, "single": SingleDistortions(TOOLS)}
USAGE_PATCHES = 128
JOINT_EPISODES = AgentSettings(episodes=64, fits=32, capacity=4096, learning_rate=2e-4)
"""How the agent follows the tools in joint training: episodes on the tools as they were are soon dropped."""

log = logging.getLogger(__name__)


def smallest_side(mixture: NamedRecipe) -> int:
    """Return the smallest side in pixels of photographs to train on a mixture and to measure on."""
    return max(side_of(mixture.recipe, PATCH), context_side(PATCH))


def untrained(family: type[AnyPolicy], specs: Sequence[ToolSpec], seed: int) -> AnyPolicy:
    """Return an untrained agent of a family for some tools; the weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        margins_db = start_margins_db(specs)
        return family(len(specs), stop_margin_db=STOP_MARGIN_DB, start_margins_db=margins_db)


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
    budget: Budget,
    settings: AgentSettings | None = None,
    mixture: NamedRecipe | None = None,
    start: Start = "new",
) -> tuple[PolicyReport, Trainer]:
    """Train an agent on a toolbox, and measure it on the moderate mixture of the validation photographs.

    A new one's trunk is first fitted to the degradations (`pretrain_trunk`).

    Args:
        policy: The agent to train, in place.
        learning: How it learns.
        bank: Photographs to train on; training runs on their device.
        validation: Photographs to measure on, every minute and at the end.
        toolbox: The tools, on the same device.
        out: Folder of the model; checkpoint and log go into `training/agent` in it.
        budget: How long; steps are those of the environment, rounded up to whole rounds.
        settings: How.
        mixture: What to train on; the mixture `paper` without it.
        start: Whether there may, must or must not be a checkpoint.

    Raises:
        RlrestoreError: The training diverged too often.
        UsageError: `start` does not fit.
        ModelError: The checkpoint does not fit.
    """
    settings, mixture = settings or AgentSettings(), mixture or read_mixture("paper")
    source = MixtureSource(bank, mixture.recipe)
    training = AgentTraining(policy, toolbox, source, learning, settings, bank.device, mixture.identity)
    folder = out / TRAINING_FOLDER / training.name
    trainer = Trainer(training, Checkpoint(folder), start)
    log.info("measuring what the tools can do on %d held-out patches", VALIDATION_EPISODES)
    held_out = moderate_held_out(toolbox, validation, settings.seed, policy.max_steps)
    if isinstance(policy, Policy) and not policy.trunk.is_standardised:
        began = time.monotonic()
        most = math.inf if budget.minutes is None else PRETRAINING_SHARE * 60 * budget.minutes
        error = pretrain_trunk(policy, bank, mixture.recipe, PRETRAINING_ROUNDS, settings.seed, most)
        trainer.seconds += time.monotonic() - began
        log.info("trunk pretrained in %.0f s: errs by %.2f tools", trainer.seconds, error)
    with logged(folder / LOG, lambda: held_out.measure(policy).metrics(), training.steps) as watch:
        trainer.run(budget, watch)
    return held_out.measure(policy), trainer


def train_joint(
    toolbox: Toolbox,
    policy: AnyPolicy | None,
    bank: PhotoBank,
    validation: PhotoBank,
    out: Path,
    budget: Budget,
    settings: JointSettings | None = None,
    mixture: NamedRecipe | None = None,
    start: Start = "new",
    begun: int | None = None,
) -> tuple[float, Trainer]:
    """Train tools and agent together; return what the agent gains on the validation photographs, in dB.

    Args:
        toolbox: The tools to train, in place, on the device of `bank`.
        policy: Their agent, trained in place; None where all chains are the teacher's.
        bank: Photographs to train on.
        validation: Photographs to measure on, every minute and at the end, by the moderate mixture.
        out: Folder of the model; checkpoint and log go into `training/joint` in it.
        budget: How long; steps are gradient steps of the tools.
        settings: How.
        mixture: What to train on; the mixture `paper` without it.
        start: Whether there may, must or must not be a checkpoint.
        begun: As in `JointTraining`.

    Raises:
        UsageError: `start` does not fit.
        RlrestoreError: The training diverged too often.
        ModelError: The checkpoint does not fit.
    """
    settings, mixture = settings or JointSettings(), mixture or read_mixture("paper")
    follower = None if policy is None else _follower(policy, toolbox, bank, settings, mixture)
    training = JointTraining(toolbox, follower, bank, mixture.recipe, settings, mixture.identity, begun)
    folder = out / TRAINING_FOLDER / training.name
    trainer = Trainer(training, Checkpoint(folder), start)
    generator = torch.Generator(validation.device).manual_seed(settings.seed)
    amounts = MODERATE.sample(VALIDATION_EPISODES, generator)
    pairs = degraded_pairs(validation, amounts, PATCH, generator)
    chains = teacher_chains(toolbox.specs, amounts, training.max_steps)

    def gain_db() -> float:
        behaviour = prescribed(chains, training.greedy()) if policy is None else training.greedy()
        return mean_gain_db(toolbox, behaviour, *pairs, training.max_steps)

    usage_log = UsageLog(folder / LOG / USAGE, training.steps)

    def measure() -> dict[str, float]:
        if policy is not None and usage_log.is_due():
            usage_log.write(training.steps, measure_usage(toolbox, policy, validation, settings.seed))
        return {"return_db": gain_db()}

    with logged(folder / LOG, measure, training.steps) as watch:
        trainer.run(budget, watch)
    if policy is not None:
        policy.eval()
    return gain_db(), trainer


def _follower(
    policy: AnyPolicy, toolbox: Toolbox, bank: PhotoBank, settings: JointSettings, mixture: NamedRecipe
) -> AgentTraining:
    """Return the training by which an agent follows the tools of a joint training."""
    # Not the patches that the agent was trained on before.
    episodes = replace(JOINT_EPISODES, seed=settings.seed + zlib.crc32(b"joint"))
    source, learning = MixtureSource(bank, mixture.recipe), TriedActions(reward=settings.reward)
    return AgentTraining(policy, toolbox, source, learning, episodes, bank.device, mixture.identity)


class UsageLog:
    """How often each tool is used, in a file: a line for every tenth measurement, from the first."""

    def __init__(self, path: Path, steps: int) -> None:
        """Let the file hold no line of another training, or of steps that a resumed one takes again.

        Args:
            path: The file; its folder is made if need be.
            steps: How many steps of this training are done.
        """
        self._path, self._calls = path, 0
        if rank() == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text("utf-8").splitlines() if steps and path.exists() else []
            whole = [line for line in lines if line.endswith("}")]  # the last one may be cut
            kept = [line for line in whole if json.loads(line)["steps"] <= steps]
            path.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def is_due(self) -> bool:
        """Return whether this measurement is one that is written."""
        self._calls += 1
        return self._calls % USAGE_EVERY == 1

    def write(self, steps: int, usage: Mapping[str, Mapping[str, float]]) -> None:
        """Write a measurement after so many steps."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"steps": steps, **usage}) + "\n")


def measure_usage(
    toolbox: Toolbox, policy: AnyPolicy, bank: PhotoBank, seed: int
) -> dict[str, dict[str, float]]:
    """Return, by mixture and tool, the share of held-out patches whose chain takes the tool.

    Args:
        toolbox: The tools.
        policy: Their agent.
        bank: Photographs to measure on, on the same device.
        seed: The same seed gives the same patches.
    """
    usage = {}
    for name, recipe in USAGE_RECIPES.items():
        generator = torch.Generator(bank.device).manual_seed(seed)
        drawn = draw_pairs(bank, recipe, USAGE_PATCHES, PATCH, generator)
        shares = tool_usage(toolbox, greedy(policy), drawn.degraded, policy.max_steps)
        usage[name] = {tool: round(share, 3) for tool, share in shares.items()}
    return usage


@contextmanager
def logged(folder: Path, measure: Callable[[], Mapping[str, float]], steps: int = 0) -> Iterator[Watch]:
    """Log the metrics of a training, and what is measured on validation photographs every minute, by rank 0.

    Args:
        folder: Where TensorBoard's files go.
        measure: Returns the metrics of validation.
        steps: Steps that an earlier run has done.
    """
    if rank() != 0:
        yield lambda *_: None
        return
    metric_log, measured, last = MetricLog(folder, steps), time.monotonic(), steps

    def watch(steps: int, _: float, metrics: Mapping[str, float]) -> None:
        nonlocal measured, last
        last = steps
        metric_log.write("training", metrics, steps)
        if time.monotonic() - measured >= VALIDATION_SECONDS:
            metric_log.write("validation", measure(), steps)
            measured = time.monotonic()

    try:
        yield watch
        metric_log.write("validation", measure(), last)
    finally:
        metric_log.close()
