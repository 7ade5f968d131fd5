"""Compare algorithms that train the agent: return on held-out patches against time and against steps.

    python scripts/compare_learning.py --data PHOTOS --minutes 20 --out runs/learning --plot docs/learning.png

Every learner is trained once per seed on the same tools, and measured at growing intervals on the same
patches of the moderate mixture of the held-out photographs; the time of measuring is not counted. Each run
becomes one file in --out, and a run that has its file is not repeated: share the runs among processes by
--learners and --seeds, and call the script once more at the end. The table, in Markdown, and the plot are of
all runs in --out.
"""

import argparse
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from experiments.learning_curves import (
    LEARNERS,
    Learner,
    Point,
    Run,
    learning_table,
    plot_runs,
    read_runs,
)
from experiments.presentation import require_matplotlib
from rlrestore.agent.dqn import TakenActions
from rlrestore.agent.learn import VALIDATION_EPISODES, moderate_held_out, untrained
from rlrestore.agent.measure import HeldOut
from rlrestore.agent.policy import MAX_STEPS, POLICIES, AnyPolicy, Policy
from rlrestore.agent.ppo import PpoSettings, fit_ppo
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.cli.arguments import positive_float, positive_int, seed_number
from rlrestore.devices import resolve_device
from rlrestore.envs.sources import MixtureSource
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.imaging import PATCH
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Trainer, Watch

HELD_OUT_SEED = 0
FIRST_SECONDS, GROWTH = 10.0, 1.35
"""Time of the first measurement, and the factor from one measurement to the next."""
FEWEST_POINTS = 16
"""A short training is first measured after this fraction of its time."""

log = logging.getLogger("compare_learning")


class Recorder:
    """Measures an agent in training at growing intervals, and records the points."""

    def __init__(self, policy: AnyPolicy, held_out: HeldOut, minutes: float) -> None:
        """Begin.

        Args:
            policy: What is trained, in place.
            held_out: What to measure on.
            minutes: How long the training will last.
        """
        self.policy, self.held_out = policy, held_out
        self.points: list[Point] = []
        self.steps, self.seconds = 0, 0.0
        self.due = min(FIRST_SECONDS, minutes * 60 / FEWEST_POINTS)

    def watch(self, steps: int, seconds: float, _: Mapping[str, float]) -> None:
        """Take note of a round, and measure if it is time; a trainer calls this, and stops its clock."""
        self.steps, self.seconds = steps, seconds
        if seconds >= self.due:
            self.points.append(self._point())
            while self.due <= seconds:
                self.due *= GROWTH

    def curve(self) -> tuple[Point, ...]:
        """Return all points, the last of them of what came out of the training.

        Raises:
            UsageError: The time was over before the first round was.
        """
        if not self.steps:
            raise UsageError("expected time for at least one round, got less; give more --minutes")
        earlier = (point for point in self.points if point.steps < self.steps)
        return (*earlier, self._point())

    def _point(self) -> Point:
        report = self.held_out.measure(self.policy)
        log.info("  %.0f s, %d steps: %s", self.seconds, self.steps, report.line())
        return Point(self.steps, self.seconds, report.policy_db, report.first_action_entropy)


@dataclass(frozen=True)
class Experiment:
    """What all runs share; costly parts are read or measured when the first run needs them.

    Attributes:
        data: Folder of photographs.
        model: Name or folder of a model with trained tools.
        device: Where to train.
        minutes: Of each run.
        threads: That torch uses on the CPU.
    """

    data: Path
    model: str
    device: torch.device
    minutes: float
    threads: int

    @property
    def setup(self) -> dict[str, Any]:
        """The settings that the file of a run records."""
        return {
            "minutes": self.minutes,
            "data": self.data.name,
            "toolbox": self.model,
            "device": self.device.type,
            "threads": self.threads,
            "patches": VALIDATION_EPISODES,
        }

    @cached_property
    def toolbox(self) -> Toolbox:
        """The tools."""
        return load_toolbox(self.model, self.device)

    @cached_property
    def bank(self) -> PhotoBank:
        """Photographs to train on."""
        return PhotoBank.from_folder(
            self.data, "train", smallest_side=context_side(PATCH), device=self.device
        )

    @cached_property
    def held_out(self) -> HeldOut:
        """Patches to measure on, with the returns of the oracle and of the best fixed chain."""
        bank = PhotoBank.from_folder(
            self.data, "validation", smallest_side=context_side(PATCH), device=self.device
        )
        return moderate_held_out(self.toolbox, bank, HELD_OUT_SEED, MAX_STEPS)

    def run(self, key: str, seed: int) -> Run:
        """Train one learner.

        Raises:
            UsageError: There is nothing to train on, or no time for one round.
            RlrestoreError: The training diverged.
        """
        held_out = self.held_out
        learner = LEARNERS[key]
        policy = untrained(POLICIES[learner.network], self.toolbox.specs, seed).to(self.device)
        recorder = Recorder(policy, held_out, self.minutes)
        self._train(learner, policy, seed, recorder.watch)
        return Run(
            learner=key,
            seed=seed,
            setup=self.setup,
            oracle_db=held_out.oracle_db,
            fixed_db=held_out.fixed_db,
            fixed_chain=tuple(self.toolbox.specs[tool].name for tool in held_out.fixed_chain),
            curve=recorder.curve(),
        )

    def _train(self, learner: Learner, policy: AnyPolicy, seed: int, watch: Watch) -> None:
        source, budget = MixtureSource(self.bank, read_mixture("paper").recipe), Budget(minutes=self.minutes)
        if learner.algo == "ppo":
            if not isinstance(policy, Policy):
                raise UsageError("expected PPO to train the network that sees the spectrum")
            fit_ppo(policy, self.toolbox, source, budget, PpoSettings(seed=seed), watch)
            return
        tried: dict[str, Any] = {} if learner.tried is None else {"tried": learner.tried}
        learning = TriedActions(**tried) if learner.algo == "q" else TakenActions()
        settings = AgentSettings(seed=seed)
        training = AgentTraining(policy, self.toolbox, source, learning, settings, self.device)
        with tempfile.TemporaryDirectory() as folder:
            Trainer(training, Checkpoint(Path(folder) / "agent")).run(budget, watch)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument(
        "--toolbox", default="default", metavar="M", help="a model with trained tools (default: default)"
    )
    parser.add_argument("--minutes", type=positive_float, required=True, help="training time of each run")
    parser.add_argument(
        "--seeds", nargs="+", type=seed_number, default=[0, 1, 2], metavar="N", help="(default: 0 1 2)"
    )
    parser.add_argument(
        "--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS), help="(default: all)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a file per run goes here")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw all runs in --out")
    parser.add_argument("--device", default="cpu", metavar="D", help="(default: cpu)")
    parser.add_argument(
        "--threads", type=positive_int, default=1, metavar="N", help="of torch; ppo uses 1 (default: 1)"
    )
    return parser


def compare(args: argparse.Namespace) -> int:
    """Do the missing runs, print the table, and draw the plot; return the number of failed runs.

    Raises:
        UsageError: No time for a round, an unknown device, or runs in `--out` that cannot be compared.
    """
    if args.plot is not None:
        require_matplotlib()
    torch.set_num_threads(args.threads)
    experiment = Experiment(args.data, args.toolbox, resolve_device(args.device), args.minutes, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    read_runs(args.out, experiment.setup)  # an error about another setup comes before a training
    failed = 0
    for seed in args.seeds:
        for key in args.learners:
            path = args.out / f"{key}-{seed}.json"
            if path.exists():
                log.info("%s, seed %d: done, in %s", LEARNERS[key].label, seed, path)
                continue
            log.info("%s, seed %d", LEARNERS[key].label, seed)
            try:
                experiment.run(key, seed).write(path)
            except UsageError:
                raise
            except RlrestoreError as error:  # the other runs go on
                log.error("%s", error)
                failed += 1
    runs = read_runs(args.out, experiment.setup)
    if runs:
        print(learning_table(runs))
    if runs and args.plot is not None:
        plot_runs(runs, args.plot)
    return failed


def main() -> int:
    """Run the comparison; print a user error in one line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = build_parser()
    try:
        return int(compare(parser.parse_args()) > 0)
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    raise SystemExit(main())
