"""The agent's choices beside ablated agents, random actions, a fixed chain, and oracles.

All are run on the same patches with the same tools. The greedy oracle takes at every step the tool that gains
most and stops when none gains. The exhaustive oracle runs every chain on the first patches and takes the
best; the difference between the two is the value of planning ahead.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from rlrestore.agent.measure import (
    best_actions,
    entropy_nats,
    every_chain,
    fixed_chain,
    greedy_oracle,
    tool_gains_db,
)
from rlrestore.agent.rollout import Behaviour, fixed, greedy, roll_out, uniform
from rlrestore.envs.transition import start
from rlrestore.errors import UsageError
from rlrestore.evaluation.oracle_report import (
    ExhaustiveReport,
    FirstChoice,
    OracleReport,
    PolicyScore,
    StepScore,
    StopErrors,
)
from rlrestore.evaluation.scores import BATCH, action_names, check_size, standard_error, to_images
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.imaging.metrics import psnr_db
from rlrestore.runtime.torch_runtime import TorchRuntime

MOST_CHAINS = 20_000
"""Longest chains that are run on a patch; twelve tools and three steps make 1,728."""
EARLY_DB = 0.1
"""A stop is too early if a tool would gain more than this: less is not worth a tool's time."""
AGENT, GREEDY, EXHAUSTIVE = "agent", "greedy oracle", "exhaustive oracle"
FIXED = "best fixed chain"

BehaviourFactory = Callable[[Tensor], Behaviour]
"""From the clean images of a batch `(B, 3, H, W)`, which oracles use, to the behaviour policy for it."""


@dataclass(frozen=True)
class EpisodeStatistics:
    """Return and length of N episodes, one for each patch.

    Attributes:
        gain_db: `(N,)` float64.
        steps: `(N,)` int64: tools applied.
    """

    gain_db: Tensor
    steps: Tensor

    def of_first(self, count: int) -> "EpisodeStatistics":
        """Return the statistics of the first `count` patches."""
        return EpisodeStatistics(self.gain_db[:count], self.steps[:count])


@dataclass(frozen=True)
class Trajectories:
    """The agent's episodes on N patches, and what every tool would have gained in each visited state.

    Attributes:
        psnr_db: `(N, T + 1)` float64, at the input and after every step.
        actions: `(N, T)` int64; stop from where a patch stopped.
        tool_gains_db: `(N, T, tools)`: before every step; meaningless after a patch has stopped.
    """

    psnr_db: Tensor
    actions: Tensor
    tool_gains_db: Tensor

    def statistics(self) -> EpisodeStatistics:
        """Return the return and the length of each episode."""
        tools = self.tool_gains_db.shape[-1]
        return EpisodeStatistics(self.psnr_db[:, -1] - self.psnr_db[:, 0], (self.actions != tools).sum(dim=1))

    def active(self) -> Tensor:
        """Return `(N, T)` bool: where a patch had not stopped before the step."""
        stopped = self.actions == self.tool_gains_db.shape[-1]
        return torch.cat((torch.ones_like(stopped[:, :1]), ~stopped[:, :-1]), dim=1)


@torch.inference_mode()
def compare_with_oracles(
    model: TorchRuntime, pairs: PatchPairs, subset: int = 100, seed: int = 0, progress: bool = False
) -> OracleReport:
    """Measure an agent beside oracles and baselines, all with the agent's number of steps.

    The best fixed chain is built on these same patches, which flatters it.

    Args:
        model: The model.
        pairs: The test set, at least one pair of the model's patch size.
        subset: On how many patches, the first of the set, every chain is run; 0 for none.
        seed: Of the random choices.
        progress: Whether to show progress bars on stderr.

    Raises:
        UsageError: The agent takes patches of another size, or there are too many chains to run.
    """
    check_size(model, pairs)
    check_chains(model, subset)
    names = action_names(model)
    trajectories = _record_trajectories(model, pairs, progress)
    clean = to_images(pairs.clean).to(model.place)
    state = start(to_images(pairs.degraded).to(model.place), clean)
    _, chain = fixed_chain(model.toolbox, state, model.policy.max_steps, BATCH)
    statistics = {AGENT: trajectories.statistics()}
    for name, factory in _baselines(model, chain, seed).items():
        statistics[name] = _run_baseline(model, pairs, factory, name, progress)
    lead_db = statistics[AGENT].gain_db - statistics[FIXED].gain_db
    return OracleReport(
        name=pairs.name,
        n=len(pairs),
        psnr_db=trajectories.psnr_db[:, 0].mean().item(),
        policies=_scores(statistics),
        fixed_chain=tuple(names[tool] for tool in chain),
        fixed_lead_db=lead_db.mean().item(),
        fixed_lead_standard_error_db=standard_error(lead_db),
        exhaustive=_search_exhaustively(model, pairs, subset, statistics, progress) if subset else None,
        steps=step_scores(trajectories),
        stops=stop_errors(trajectories),
        first=first_choice(trajectories, names),
    )


def check_chains(model: TorchRuntime, subset: int) -> None:
    """Refuse to run every chain where there are absurdly many.

    Raises:
        UsageError: There are more than `MOST_CHAINS` of the greatest length.
    """
    tools, steps = model.toolbox.stop, model.policy.max_steps
    if subset and tools**steps > MOST_CHAINS:
        raise UsageError(
            f"expected at most {MOST_CHAINS:,} chains to be run on each patch, model {model.name} has "
            f"{tools}^{steps} = {tools**steps:,}; leave them out with --subset 0"
        )


def _batches(
    model: TorchRuntime, pairs: PatchPairs, label: str, progress: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield degraded and clean images `(B, 3, H, W)` on the model's device."""
    begins = range(0, len(pairs), BATCH)
    for begin in tqdm(begins, f"{pairs.name}, {label}", unit="batch", leave=False, disable=not progress):
        sides = (pairs.degraded, pairs.clean)
        degraded, clean = (to_images(side[begin : begin + BATCH]).to(model.place) for side in sides)
        yield degraded, clean


def _record_trajectories(model: TorchRuntime, pairs: PatchPairs, progress: bool) -> Trajectories:
    """Roll the agent out, and try every tool in every state on its way."""
    toolbox, policy, parts = model.toolbox, model.policy, []
    for degraded, clean in _batches(model, pairs, AGENT, progress):
        rollout = roll_out(toolbox, degraded, greedy(policy), policy.max_steps)
        value_db = torch.stack([psnr_db(images, clean) for images in rollout.images], dim=1)  # (B, T + 1)
        tried_db = [tool_gains_db(toolbox, images, clean) for images in rollout.images[:-1]]
        parts.append((value_db.double().cpu(), rollout.actions.cpu(), torch.stack(tried_db, dim=1).cpu()))
    return Trajectories(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _baselines(model: TorchRuntime, chain: tuple[int, ...], seed: int) -> dict[str, BehaviourFactory]:
    """All ways of choosing but the agent's own."""
    toolbox, policy = model.toolbox, model.policy
    generator = torch.Generator().manual_seed(seed)
    return {
        "agent, memory emptied": lambda _: greedy(policy, remembers=False),
        "agent without margin": lambda _: greedy(policy, with_margin=False),
        "agent without stop": lambda _: greedy(policy, may_stop=False),
        "random": lambda _: uniform(toolbox.stop + 1, generator),
        FIXED: lambda _: fixed(chain, toolbox.stop),
        GREEDY: lambda clean: greedy_oracle(toolbox, clean),
    }


def _run_baseline(
    model: TorchRuntime, pairs: PatchPairs, factory: BehaviourFactory, label: str, progress: bool
) -> EpisodeStatistics:
    toolbox, parts = model.toolbox, []
    for degraded, clean in _batches(model, pairs, label, progress):
        rollout = roll_out(toolbox, degraded, factory(clean), model.policy.max_steps)
        gain_db = psnr_db(rollout.images[-1], clean) - psnr_db(degraded, clean)
        parts.append((gain_db.double().cpu(), (rollout.actions != toolbox.stop).sum(dim=1).cpu()))
    return EpisodeStatistics(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _search_exhaustively(
    model: TorchRuntime,
    pairs: PatchPairs,
    subset: int,
    statistics: dict[str, EpisodeStatistics],
    progress: bool,
) -> ExhaustiveReport:
    """Run every chain on the first patches."""
    toolbox, steps, names = model.toolbox, model.policy.max_steps, action_names(model)
    few = PatchPairs(pairs.name, pairs.degraded[:subset], pairs.clean[:subset])
    count = sum(toolbox.stop**length for length in range(steps + 1))
    chains: list[tuple[int, ...]] = []
    parts = []
    for degraded, clean in _batches(model, few, EXHAUSTIVE, progress):
        bar = tqdm(total=count, desc="chains", unit="chain", leave=False, disable=not progress)
        chains, left_db = [], []
        for chain, value_db in every_chain(toolbox, degraded, clean, steps):
            chains.append(chain)
            left_db.append(value_db)
            bar.update()
        bar.close()
        parts.append(torch.stack(left_db, dim=1).double().cpu())  # (B, chains)
    gains_db = torch.cat(parts) - torch.cat(parts)[:, :1]  # the first chain is the empty one
    lengths = torch.tensor([len(chain) for chain in chains])
    best, fixed_best = gains_db.argmax(dim=1), int(gains_db.mean(dim=0).argmax())
    few_statistics = {
        AGENT: statistics[AGENT].of_first(subset),
        FIXED: EpisodeStatistics(gains_db[:, fixed_best], lengths[fixed_best].expand(len(few))),
        GREEDY: statistics[GREEDY].of_first(subset),
        EXHAUSTIVE: EpisodeStatistics(gains_db.amax(dim=1), lengths[best]),
    }
    fixed_names = tuple(names[tool] for tool in chains[fixed_best])
    return ExhaustiveReport(len(few), count, _scores(few_statistics), fixed_names)


def _scores(statistics: dict[str, EpisodeStatistics]) -> tuple[PolicyScore, ...]:
    oracle_db = statistics[GREEDY].gain_db
    return tuple(
        PolicyScore(
            name=name,
            gain_db=each.gain_db.mean().item(),
            gain_standard_error_db=standard_error(each.gain_db),
            regret_db=(oracle_db - each.gain_db).mean().item(),
            regret_standard_error_db=standard_error(oracle_db - each.gain_db),
            worse_share=_mean(each.gain_db < 0),
            mean_steps=each.steps.double().mean().item(),
        )
        for name, each in statistics.items()
    )


def step_scores(trajectories: Trajectories) -> tuple[StepScore, ...]:
    """Compare the agent's gain at each step with that of the best action in the same states."""
    gains_db = trajectories.psnr_db.diff(dim=1)  # (N, T)
    best_db = trajectories.tool_gains_db.amax(dim=2).clamp(min=0)
    columns = zip(trajectories.active().T, gains_db.T, best_db.T, strict=True)
    return tuple(
        StepScore(
            active_share=_mean(active),
            gain_db=_mean(gain_db[active]),
            best_db=_mean(best_db[active]),
            losing_share=_mean(gain_db[active] < 0),
        )
        for active, gain_db, best_db in columns
    )


def stop_errors(trajectories: Trajectories) -> StopErrors:
    """Compare when the agent stopped with what the tools would have done there.

    Only stops that it chose count: at the last step a chain ends anyhow.
    """
    best_db = trajectories.tool_gains_db.amax(dim=2)  # (N, T)
    stopped = trajectories.actions == trajectories.tool_gains_db.shape[2]
    active = trajectories.active()
    early = active & stopped & (best_db > EARLY_DB)  # at most one a patch
    late = active & ~stopped & (best_db <= 0)
    first_late = late.long().argmax(dim=1, keepdim=True)
    before_db = trajectories.psnr_db.gather(1, first_late).squeeze(1)
    lost_db = (before_db - trajectories.psnr_db[:, -1])[late.any(dim=1)]
    right = best_db[:, 0] <= 0
    return StopErrors(
        early_margin_db=EARLY_DB,
        early_share=_mean(early.any(dim=1)),
        early_forgone_db=_mean(best_db[early]),
        late_share=_mean(late.any(dim=1)),
        late_lost_db=_mean(lost_db),
        stop_right_share=_mean(right),
        stop_right_found_share=_mean(stopped[right, 0]) if right.any() else None,
    )


def first_choice(trajectories: Trajectories, names: tuple[str, ...]) -> FirstChoice:
    """Compare the agent's first action with the one that gains most there.

    Args:
        trajectories: The agent's episodes.
        names: Names of the actions, stop last.
    """
    chosen, count = trajectories.actions[:, 0], len(names)
    gains_db = F.pad(trajectories.tool_gains_db[:, 0], (0, 1))  # stop gains nothing
    best = best_actions(gains_db[:, :-1])
    confusion = torch.bincount(best * count + chosen, minlength=count**2).view(count, count)
    lost_db = gains_db.amax(dim=1) - gains_db.gather(1, chosen[:, None]).squeeze(1)
    return FirstChoice(
        names=names,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        agreement=_mean(best == chosen),
        lost_db=lost_db.mean().item(),
        entropy_nats=entropy_nats(chosen, count),
        best_entropy_nats=entropy_nats(best, count),
    )


def _mean(values: Tensor) -> float:
    """Return the mean, of no values 0; of truths it is the share that holds."""
    return values.double().mean().item() if len(values) else 0.0
