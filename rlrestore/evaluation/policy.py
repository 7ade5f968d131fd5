"""How good an agent's choices are, beside parts of it, chance, a fixed chain, and oracles with the truth.

All play the same patches with the same tools. The greedy oracle takes at every step the tool that really
gains most and stops when none gains. The exhaustive oracle plays every chain on the first patches and keeps
the best; how far the greedy one falls short of it says how much there is in looking ahead.
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
"""Longest chains that are played on a patch; twelve tools and three steps make 1,728."""
EARLY_DB = 0.1
"""A stop is too early if a tool would gain more than this: less is not worth a tool's time."""
AGENT, GREEDY, EXHAUSTIVE = "agent", "greedy oracle", "exhaustive oracle"
FIXED = "best fixed chain"

Way = Callable[[Tensor], Behaviour]
"""From the clean images of a batch `(B, 3, H, W)`, for those that may know them, to who chooses."""


@dataclass(frozen=True)
class Outcome:
    """What one way of choosing did on N patches.

    Attributes:
        gain_db: `(N,)` float64.
        steps: `(N,)` int64: tools applied.
    """

    gain_db: Tensor
    steps: Tensor

    def of_first(self, count: int) -> "Outcome":
        """Return the same of the first so many patches alone."""
        return Outcome(self.gain_db[:count], self.steps[:count])


@dataclass(frozen=True)
class Looks:
    """What the agent did on N patches, and what every tool would have done where it looked.

    Attributes:
        psnr_db: `(N, T + 1)` float64, at the input and after every step.
        actions: `(N, T)` int64; stop from where a patch stopped.
        tool_gains_db: `(N, T, tools)`: before every step; meaningless after a patch has stopped.
    """

    psnr_db: Tensor
    actions: Tensor
    tool_gains_db: Tensor

    def outcome(self) -> Outcome:
        """Return what came of it."""
        tools = self.tool_gains_db.shape[-1]
        return Outcome(self.psnr_db[:, -1] - self.psnr_db[:, 0], (self.actions != tools).sum(dim=1))

    def looked(self) -> Tensor:
        """Return `(N, T)` bool: where a patch had not stopped before the step."""
        stopped = self.actions == self.tool_gains_db.shape[-1]
        return torch.cat((torch.ones_like(stopped[:, :1]), ~stopped[:, :-1]), dim=1)


@torch.inference_mode()
def compare_with_oracles(
    model: TorchRuntime, pairs: PatchPairs, subset: int = 100, seed: int = 0, progress: bool = False
) -> OracleReport:
    """Measure an agent beside oracles and other ways of choosing, with as many steps as it has.

    The best fixed chain is built on these same patches, which flatters it.

    Args:
        model: The model.
        pairs: The test set, at least one pair of the model's patch size.
        subset: On how many patches, the first of the set, every chain is played; 0 for none.
        seed: Of the random choices.
        progress: Whether to show progress bars on stderr.

    Raises:
        UsageError: The agent takes patches of another size, or there are too many chains to play.
    """
    check_size(model, pairs)
    check_chains(model, subset)
    names = action_names(model)
    looks = _watch(model, pairs, progress)
    clean = to_images(pairs.clean).to(model.place)
    state = start(to_images(pairs.degraded).to(model.place), clean)
    _, chain = fixed_chain(model.toolbox, state, model.policy.max_steps, BATCH)
    outcomes = {AGENT: looks.outcome()}
    for name, way in _ways(model, chain, seed).items():
        outcomes[name] = _outcome(model, pairs, way, name, progress)
    lead_db = outcomes[AGENT].gain_db - outcomes[FIXED].gain_db
    return OracleReport(
        name=pairs.name,
        n=len(pairs),
        psnr_db=looks.psnr_db[:, 0].mean().item(),
        policies=_scores(outcomes),
        fixed_chain=tuple(names[tool] for tool in chain),
        fixed_lead_db=lead_db.mean().item(),
        fixed_lead_standard_error_db=standard_error(lead_db),
        exhaustive=_exhaust(model, pairs, subset, outcomes, progress) if subset else None,
        steps=step_scores(looks),
        stops=stop_errors(looks),
        first=first_choice(looks, names),
    )


def check_chains(model: TorchRuntime, subset: int) -> None:
    """Refuse to play every chain where there are absurdly many.

    Raises:
        UsageError: There are more than `MOST_CHAINS` of the greatest length.
    """
    tools, steps = model.toolbox.stop, model.policy.max_steps
    if subset and tools**steps > MOST_CHAINS:
        raise UsageError(
            f"expected at most {MOST_CHAINS:,} chains to be played on each patch, model {model.name} has "
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


def _watch(model: TorchRuntime, pairs: PatchPairs, progress: bool) -> Looks:
    """Let the agent play, and try every tool wherever it looks."""
    toolbox, policy, parts = model.toolbox, model.policy, []
    for degraded, clean in _batches(model, pairs, AGENT, progress):
        rollout = roll_out(toolbox, degraded, greedy(policy), policy.max_steps)
        value_db = torch.stack([psnr_db(images, clean) for images in rollout.images], dim=1)  # (B, T + 1)
        tried_db = [tool_gains_db(toolbox, images, clean) for images in rollout.images[:-1]]
        parts.append((value_db.double().cpu(), rollout.actions.cpu(), torch.stack(tried_db, dim=1).cpu()))
    return Looks(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _ways(model: TorchRuntime, chain: tuple[int, ...], seed: int) -> dict[str, Way]:
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


def _outcome(model: TorchRuntime, pairs: PatchPairs, way: Way, label: str, progress: bool) -> Outcome:
    toolbox, parts = model.toolbox, []
    for degraded, clean in _batches(model, pairs, label, progress):
        rollout = roll_out(toolbox, degraded, way(clean), model.policy.max_steps)
        gain_db = psnr_db(rollout.images[-1], clean) - psnr_db(degraded, clean)
        parts.append((gain_db.double().cpu(), (rollout.actions != toolbox.stop).sum(dim=1).cpu()))
    return Outcome(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _exhaust(
    model: TorchRuntime, pairs: PatchPairs, subset: int, outcomes: dict[str, Outcome], progress: bool
) -> ExhaustiveReport:
    """Play every chain on the first patches."""
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
    few_outcomes = {
        AGENT: outcomes[AGENT].of_first(subset),
        FIXED: Outcome(gains_db[:, fixed_best], lengths[fixed_best].expand(len(few))),
        GREEDY: outcomes[GREEDY].of_first(subset),
        EXHAUSTIVE: Outcome(gains_db.amax(dim=1), lengths[best]),
    }
    fixed_names = tuple(names[tool] for tool in chains[fixed_best])
    return ExhaustiveReport(len(few), count, _scores(few_outcomes), fixed_names)


def _scores(outcomes: dict[str, Outcome]) -> tuple[PolicyScore, ...]:
    oracle_db = outcomes[GREEDY].gain_db
    return tuple(
        PolicyScore(
            name=name,
            gain_db=outcome.gain_db.mean().item(),
            gain_standard_error_db=standard_error(outcome.gain_db),
            regret_db=(oracle_db - outcome.gain_db).mean().item(),
            regret_standard_error_db=standard_error(oracle_db - outcome.gain_db),
            worse_share=_mean(outcome.gain_db < 0),
            mean_steps=outcome.steps.double().mean().item(),
        )
        for name, outcome in outcomes.items()
    )


def step_scores(looks: Looks) -> tuple[StepScore, ...]:
    """Set the agent's gain at each step beside that of the best action in the same states."""
    gains_db = looks.psnr_db.diff(dim=1)  # (N, T)
    best_db = looks.tool_gains_db.amax(dim=2).clamp(min=0)
    columns = zip(looks.looked().T, gains_db.T, best_db.T, strict=True)
    return tuple(
        StepScore(
            looked_share=_mean(looked),
            gain_db=_mean(gain_db[looked]),
            best_db=_mean(best_db[looked]),
            losing_share=_mean(gain_db[looked] < 0),
        )
        for looked, gain_db, best_db in columns
    )


def stop_errors(looks: Looks) -> StopErrors:
    """Compare when the agent stopped with what the tools would have done there.

    Only stops that it chose count: at the last step a chain ends anyhow.
    """
    best_db = looks.tool_gains_db.amax(dim=2)  # (N, T)
    stopped = looks.actions == looks.tool_gains_db.shape[2]
    looked = looks.looked()
    early = looked & stopped & (best_db > EARLY_DB)  # at most one a patch
    late = looked & ~stopped & (best_db <= 0)
    first_late = late.long().argmax(dim=1, keepdim=True)
    lost_db = (looks.psnr_db.gather(1, first_late).squeeze(1) - looks.psnr_db[:, -1])[late.any(dim=1)]
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


def first_choice(looks: Looks, names: tuple[str, ...]) -> FirstChoice:
    """Compare the agent's first action with the one that gains most there.

    Args:
        looks: What the agent did.
        names: What the actions are called, stop last.
    """
    chosen, count = looks.actions[:, 0], len(names)
    gains_db = F.pad(looks.tool_gains_db[:, 0], (0, 1))  # stop gains nothing
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
