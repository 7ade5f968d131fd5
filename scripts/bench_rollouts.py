"""Measure how fast the batched environment steps, beside a loop that steps one image at a time.

    python scripts/bench_rollouts.py [--data PHOTOS] [--model FOLDER] [--device cuda] [--agent] [--json FILE]

A step is `BatchedRestorationEnv.step` with actions drawn uniformly from all thirteen, stop included, as an
agent does that knows nothing yet; episodes so last 2.8 steps. With --agent the model's agent is asked in
every step, and chooses. Degrading the patches of new episodes is part of it; with --episodes-per-pair N so
many episodes begin with the same degraded patch, which belongs beside the figure. The loop is
`RestorationEnv` in float32, with the same tools, photographs and threads, and actions drawn uniformly.

The columns: environment steps a second; how many times as many as the loop; the multiply-adds of the tools'
convolutions a second; those beside what the device does in a large matrix product of the same precision, the
roofline; and the shares of the time: the tools' networks, the agent, what begins new episodes, the drawing
and degrading of their patches, and the rest. All take turns in several rounds, and the fastest of each
counts, so that whatever else the machine does slows all of them alike; on one thread the time is the
processor's own. On a processor a step of some thousand images loses time to memory that Linux hands out anew
for each tensor: MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 keep it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from experiments.matrix_rate import matrix_rate
from experiments.part_clock import REST, PartClock, now
from rlrestore.agent.policy import AnyPolicy, best_action
from rlrestore.agent.storage import load_agent
from rlrestore.devices import resolve_device, training_precision
from rlrestore.envs.batched import BatchedRestorationEnv, rollout_tools
from rlrestore.envs.reserve import Reserve
from rlrestore.envs.setup import given_or_moderate_source, given_or_shipped_toolbox
from rlrestore.envs.single import RestorationEnv
from rlrestore.envs.sources import CandidateSource, PairSource
from rlrestore.evaluation.costs import multiply_adds_per_px, synchronize
from rlrestore.imaging import PATCH
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.model_folder import find_model
from rlrestore.toolbox.toolbox import Toolbox, Tools, apply_each

SIZES = (1, 8, 64, 512, 2048, 8192)
ROUNDS = 3
PARTS = ("tools", "agent", "new episodes", "patches", REST)


@dataclass(frozen=True)
class Sample:
    """What one measurement of the batched environment gave.

    Attributes:
        steps_per_s: Environment steps a second, all episodes together.
        multiply_adds_per_s: Of the tools' convolutions.
        shares: Of the time, from 0 to 1, by the names of `PARTS`.
    """

    steps_per_s: float
    multiply_adds_per_s: float
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """The best sample of a batch size, relative to the loop and to the matrix product.

    Attributes:
        episodes: The batch size.
        precision: `float32` or `bfloat16`, of the tools.
        steps_per_s: See `Sample`, as the next two.
        multiply_adds_per_s: Of the convolutions.
        shares: Of the time.
        times_the_loop: Steps a second, divided by those of the one-image loop.
        roofline_ratio: Multiply-adds a second, divided by those of a matrix product of this precision.
    """

    episodes: int
    precision: str
    steps_per_s: float
    multiply_adds_per_s: float
    shares: Mapping[str, float]
    times_the_loop: float
    roofline_ratio: float


@dataclass(frozen=True)
class Report:
    """What was measured on one device.

    Attributes:
        device: Its name, for people.
        threads: Of the processor.
        agent: Whether the agent chooses; else the actions are drawn uniformly.
        episodes_per_pair: How many episodes begin with the same pair.
        loop_steps_per_s: Of the one-image loop.
        matrix_rates_per_s: Multiply-adds a second of a large matrix product, by precision.
        rows: One for each batch size and precision.
    """

    device: str
    threads: int
    agent: bool
    episodes_per_pair: int
    loop_steps_per_s: float
    matrix_rates_per_s: dict[str, float]
    rows: tuple[Row, ...]


class ClockedTools:
    """Tools whose networks are clocked, as `rlrestore.toolbox.toolbox.Tools`."""

    def __init__(self, tools: Tools, clock: PartClock) -> None:
        self.stop = tools.stop
        self.apply_tool = clock.clocked("tools", tools.apply_tool)

    def apply_each(self, actions: Tensor, images: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Apply to each image its tool."""
        return apply_each(self, actions, images, sizes)


class ClockedSource:
    """A source whose pairs are clocked, as `rlrestore.envs.sources.CandidateSource`."""

    def __init__(self, source: PairSource | CandidateSource, clock: PartClock) -> None:
        if not isinstance(source, CandidateSource):
            raise TypeError(f"expected a source that is sampled without waiting, got {source}")
        self.candidates = clock.clocked("patches", source.candidates)


def clock_new_episodes(reserve: Reserve, clock: PartClock) -> Reserve:
    """Let what a reserve does be clocked, but for its source."""
    for name in ("fill", "begin"):
        setattr(reserve, name, clock.clocked("new episodes", getattr(reserve, name)))
    return reserve


class OneImageLoop:
    """One image at a time, in float32: an episode, then the next."""

    def __init__(self, toolbox: Toolbox, source: PairSource, device: torch.device) -> None:
        self.env = RestorationEnv(toolbox, source, device=device)
        self.env.reset(seed=0)
        self.actions = np.random.default_rng(0)
        self.best = 0.0

    def measure(self, seconds: float) -> None:
        """Step for so long, and keep the best number of steps a second."""
        steps, began = 0, now(self.env.device)
        while steps < self.env.max_steps or now(self.env.device) - began < seconds:
            terminated = self.env.step(self.actions.integers(self.env.toolbox.stop + 1))[2]
            steps += 1
            if terminated:
                self.env.reset()
        self.best = max(self.best, steps / (now(self.env.device) - began))


class Rollouts:
    """The batched environment of one size."""

    def __init__(
        self,
        episodes: int,
        toolbox: Toolbox,
        source: PairSource,
        policy: AnyPolicy | None,
        episodes_per_pair: int,
    ) -> None:
        """Begin episodes, for an agent or for chance."""
        device = toolbox.device
        self.clock, self.policy = PartClock(device), policy
        self.env = BatchedRestorationEnv(episodes, toolbox, source, device=device)
        self.generator = torch.Generator(device).manual_seed(0)
        clocked = ClockedSource(source, self.clock)
        reserve = Reserve(clocked, self.generator, episodes, episodes_per_pair)
        self.env.reserve = clock_new_episodes(reserve, self.clock)
        self.env.reset()
        self.hidden = None if policy is None else policy.initial_state(episodes)
        self.tools = {
            name: ClockedTools(rollout_tools(toolbox, name == "bfloat16"), self.clock)
            for name in ("float32", "bfloat16")
        }
        costs = [multiply_adds_per_px(network) * PATCH**2 for network in toolbox.networks]
        self.costs = torch.tensor([*costs, 0.0], dtype=torch.float64, device=device)
        self.best: dict[str, Sample] = {}

    def measure(self, precision: str, seconds: float) -> None:
        """Step for so long, and keep the best; whole episodes at least, for all of them began together."""
        env = self.env
        env.tools = self.tools[precision]
        spent = torch.zeros((), dtype=torch.float64, device=env.device)
        synchronize(env.device)
        self.clock.start()
        steps, began = 0, now(env.device)
        while steps == 0 or now(env.device) - began < seconds:
            for _ in range(env.max_steps):
                with self.clock.part("agent"):
                    actions = self.choose()
                ended = env.step(actions)[2]
                if self.hidden is not None:
                    first, second = (part.masked_fill(ended[:, None], 0.0) for part in self.hidden)
                    self.hidden = first, second
                spent += self.costs[actions].sum()
            steps += env.max_steps
        parts = self.clock.read()
        elapsed = now(env.device) - began
        shares = {name: parts.get(name, 0.0) / elapsed for name in PARTS}
        came = Sample(steps * env.num_envs / elapsed, float(spent) / elapsed, shares)
        if precision not in self.best or came.steps_per_s > self.best[precision].steps_per_s:
            self.best[precision] = came

    @torch.no_grad()
    def choose(self) -> Tensor:
        """Return the actions of the agent, or random ones."""
        env = self.env
        if self.policy is None or self.hidden is None:
            chosen = torch.rand(env.num_envs, generator=self.generator, device=env.device)
            return (chosen * len(self.costs)).long()
        state = env.state
        values, self.hidden = self.policy(state.images.clamp(0, 1), state.last_action, self.hidden)
        return best_action(values, 0.0)


def measure_device(device: torch.device, args: argparse.Namespace) -> Report:
    """Measure the matrix rates, the loop, and every size in every precision that pays, on one device."""
    dtypes = {"float32": torch.float32}
    if args.bfloat16 or training_precision(device) == torch.bfloat16:
        dtypes["bfloat16"] = torch.bfloat16
    toolbox = given_or_shipped_toolbox(None, find_model(args.model), device)
    source = given_or_moderate_source(None, args.data, device)
    policy = load_agent(find_model(args.model), toolbox, device) if args.agent else None
    loop = OneImageLoop(toolbox, source, device)
    rates = dict.fromkeys(dtypes, 0.0)
    best: dict[tuple[int, str], Sample] = {}
    for size in tqdm(args.sizes, desc=str(device), unit="size", leave=False, disable=None):
        rollouts = Rollouts(size, toolbox, source, policy, args.episodes_per_pair)
        for _ in range(1 + ROUNDS):  # the first is cold
            loop.measure(args.seconds)
            for name, dtype in dtypes.items():
                rates[name] = max(rates[name], matrix_rate(device, dtype))
                rollouts.measure(name, args.seconds)
        best |= {(size, name): came for name, came in rollouts.best.items()}
        del rollouts  # or two of the largest would stand in memory together
    rows = [
        Row(
            size,
            name,
            **asdict(came),
            times_the_loop=came.steps_per_s / loop.best,
            roofline_ratio=came.multiply_adds_per_s / rates[name],
        )
        for (size, name), came in best.items()
    ]
    how = bool(args.agent), args.episodes_per_pair
    return Report(device_name(device), torch.get_num_threads(), *how, loop.best, rates, tuple(rows))


def device_name(device: torch.device) -> str:
    """Return the name of a device for people: of a GPU its maker's, of a processor what it can do."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({torch.backends.cpu.get_cpu_capability()})"


def print_report(report: Report) -> None:
    """Print the table of a device."""
    rates = ", ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in report.matrix_rates_per_s.items())
    chooser, pairs = "the agent" if report.agent else "chance", report.episodes_per_pair
    print(
        f"\n{report.device}, {report.threads} threads; {chooser} chooses; {pairs} episodes a degraded patch"
    )
    print(f"matrix product, 10⁹ multiply-adds/s: {rates}")
    print(f"one image at a time: {report.loop_steps_per_s:.0f} steps/s")
    titles = "  ".join(f"{name:>5}" for name in PARTS)
    print(f"episodes precision   steps/s  × loop   10⁹/s roofline  {titles}")
    for row in report.rows:
        shares = "  ".join(f"{row.shares[name]:{max(5, len(name))}.0%}" for name in PARTS)
        print(
            f"{row.episodes:8d} {row.precision:9} {row.steps_per_s:9.0f} {row.times_the_loop:7.1f} "
            f"{row.multiply_adds_per_s / 1e9:7.0f} {row.roofline_ratio:8.2f}  {shares}"
        )


def main() -> None:
    """Print a table for the processor, and one for the GPU where there is one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default", help="name or folder of a model (default: default)")
    parser.add_argument("--agent", action="store_true", help="let the model's agent choose")
    parser.add_argument(
        "--episodes-per-pair",
        type=int,
        default=1,
        metavar="N",
        help="that begin with the same degraded patch",
    )
    parser.add_argument("--data", type=Path, help="folder of photographs; drawn pictures without it")
    parser.add_argument("--device", help="one alone, such as cpu; without it the processor and the GPU")
    parser.add_argument("--sizes", type=numbers, default=SIZES, metavar="N,N,…", help="batch sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement, at least")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    parser.add_argument("--bfloat16", action="store_true", help="measure it also where it does not pay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    reports = []
    for name in [args.device] if args.device else there:
        reports.append(measure_device(resolve_device(name), args))
        print_report(reports[-1])
    if args.json:
        content = json.dumps([asdict(report) for report in reports], indent=1) + "\n"
        write_atomically(args.json, content.encode())


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers with commas between them."""
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
