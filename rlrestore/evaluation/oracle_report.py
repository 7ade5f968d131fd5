"""Reports of an agent's choices beside those of oracles: the records, their table and their JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from rlrestore.evaluation.scores import aligned


@dataclass(frozen=True)
class PolicyScore:
    """The scores of one policy, oracle or baseline, on average over the patches.

    Attributes:
        name: Its name.
        gain_db: Of the results over the inputs.
        gain_standard_error_db: Of this mean, over patches.
        regret_db: By how much the greedy oracle gains more.
        regret_standard_error_db: Of this difference, paired over the patches.
        worse_share: Share of the patches whose result has a lower PSNR than the input.
        mean_steps: Tools applied to a patch.
    """

    name: str
    gain_db: float
    gain_standard_error_db: float
    regret_db: float
    regret_standard_error_db: float
    worse_share: float
    mean_steps: float


@dataclass(frozen=True)
class ExhaustiveReport:
    """The agent and the oracles on the patches on which every chain was run.

    Attributes:
        n: How many patches, the first of the set.
        chains: Number of chains run on each, the empty one included.
        policies: The agent, the best fixed chain, the greedy and the exhaustive oracle.
        fixed_chain: The best of all chains for these patches together.
    """

    n: int
    chains: int
    policies: tuple[PolicyScore, ...]
    fixed_chain: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        return [
            f"  the first {self.n} patches, all {self.chains:,} chains run on each",
            *_score_lines(self.policies),
            f"  fixed chain: {_chain(self.fixed_chain)}; the best of all chains for these patches",
        ]


@dataclass(frozen=True)
class StepScore:
    """The agent's actions at one step, beside the best action in the same states.

    Attributes:
        active_share: Share of the episodes that had not stopped before; the means below are over these.
        gain_db: Mean gain of the agent's action; stop gains 0. 0 if there are none.
        best_db: Mean gain of the best action there.
        losing_share: On how many the agent's action lost PSNR.
    """

    active_share: float
    gain_db: float
    best_db: float
    losing_share: float


@dataclass(frozen=True)
class StopErrors:
    """When the agent stops, against what the tools would have done there.

    Attributes:
        early_margin_db: What a tool must gain more than for a stop to be too early.
        early_share: Share of the patches on which the agent stopped although a tool would have gained more.
        early_forgone_db: Mean over these of what the best tool would have gained; 0 if there are none.
        late_share: Share of the patches on which the agent took a tool although none gained.
        late_lost_db: Mean over these of what that and all that followed lost; 0 if there are none.
        stop_right_share: Share of the patches on which no tool gains at the input.
        stop_right_found_share: On how many of these the agent stopped at once; None if there are none.
    """

    early_margin_db: float
    early_share: float
    early_forgone_db: float
    late_share: float
    late_lost_db: float
    stop_right_share: float
    stop_right_found_share: float | None

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        margin = f"{self.early_margin_db:g} dB"
        found = self.stop_right_found_share
        return [
            f"  stops too early: {self.early_share:.1%} (a tool would gain more than {margin}), "
            f"forgoing {self.early_forgone_db:.2f} dB each",
            f"  stops too late: {self.late_share:.1%} (takes a tool where none gains), "
            f"losing {self.late_lost_db:.2f} dB each",
            f"  to stop at once is right: {self.stop_right_share:.1%}"
            + ("" if found is None else f"; the agent does so on {found:.1%} of these"),
        ]


@dataclass(frozen=True)
class FirstChoice:
    """The agent's first action against the best one: the tool that gains most there, stop where none gains.

    Attributes:
        names: Names of the actions, stop last.
        confusion: Patches by the best action (row) and the chosen one (column).
        agreement: Share of the patches on which the two are one.
        lost_db: Mean over all patches of what the best gains there and then over the chosen.
        entropy_nats: Of the chosen actions; 0 if all are one.
        best_entropy_nats: Of the best ones.
    """

    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    agreement: float
    lost_db: float
    entropy_nats: float
    best_entropy_nats: float

    def lines(self) -> list[str]:
        """Return the report for a terminal; the columns are the rows' actions by their numbers."""
        *tools, stop = self.names
        heads = [*(f"{number}" for number in range(1, len(tools) + 1)), stop]
        width = len(heads[-2])
        labels = [*(f"{number:>{width}} {name}" for number, name in enumerate(tools, 1)), stop]
        rows = [
            [label, *(f"{count or '·'}" for count in counts), f"{sum(counts)}"]
            for label, counts in zip(labels, self.confusion, strict=True)
        ]
        chosen = [f"{sum(column)}" for column in zip(*self.confusion, strict=True)]
        return [
            f"  first action: the best on {self.agreement:.1%}, {self.lost_db:.2f} dB behind it on average",
            f"  its entropy: {self.entropy_nats:.2f} nats, that of the best {self.best_entropy_nats:.2f}",
            *aligned([["best ↓  chosen →", *heads, "all"], *rows, ["all", *chosen, ""]]),
        ]


@dataclass(frozen=True)
class OracleReport:
    """An agent beside oracles and baselines, on one test set.

    Attributes:
        name: The test set.
        n: How many patches.
        psnr_db: Mean PSNR of the patches at the input.
        policies: One for each policy, oracle or baseline, the agent first.
        fixed_chain: The best fixed chain, built tool by tool on these patches.
        fixed_lead_db: By how much the agent gains more than this chain.
        fixed_lead_standard_error_db: Of this difference, paired over the patches.
        exhaustive: The exhaustive search on the first patches; None without one.
        steps: How good the agent's action is at each step.
        stops: When the agent stops.
        first: What the agent does first.
    """

    name: str
    n: int
    psnr_db: float
    policies: tuple[PolicyScore, ...]
    fixed_chain: tuple[str, ...]
    fixed_lead_db: float
    fixed_lead_standard_error_db: float
    exhaustive: ExhaustiveReport | None
    steps: tuple[StepScore, ...]
    stops: StopErrors
    first: FirstChoice

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def table(self) -> str:
        """Return the report for a terminal."""
        lead = f"{self.fixed_lead_db:+.2f} ± {self.fixed_lead_standard_error_db:.2f} dB"
        lines = [
            f"{self.name}, {self.n} patches of {self.psnr_db:.2f} dB; regret is the greedy oracle's lead",
            *_score_lines(self.policies),
            f"  fixed chain: {_chain(self.fixed_chain)}; built on these same patches, which favours it",
            f"  agent over fixed chain: {lead}",
            "",
            *([] if self.exhaustive is None else [*self.exhaustive.lines(), ""]),
            *_step_lines(self.steps),
            "",
            *self.stops.lines(),
            "",
            *self.first.lines(),
        ]
        return "\n".join(lines)


def _chain(names: tuple[str, ...]) -> str:
    return " → ".join(names) or "none, stop at once"


def _score_lines(scores: tuple[PolicyScore, ...]) -> list[str]:
    rows = [["", "gain, dB", "regret, dB", "end worse", "tools"]]
    rows += [
        [
            score.name,
            f"{score.gain_db:+.2f} ± {score.gain_standard_error_db:.2f}",
            f"{score.regret_db:.2f} ± {score.regret_standard_error_db:.2f}",
            f"{score.worse_share:.1%}",
            f"{score.mean_steps:.2f}",
        ]
        for score in scores
    ]
    return aligned(rows)


def _step_lines(steps: tuple[StepScore, ...]) -> list[str]:
    rows = [["step by step", "active", "agent, dB", "best there, dB", "agent loses"]]
    rows += [
        [
            f"step {number}",
            f"{step.active_share:.1%}",
            f"{step.gain_db:+.2f}",
            f"{step.best_db:+.2f}",
            f"{step.losing_share:.1%}",
        ]
        for number, step in enumerate(steps, 1)
    ]
    return aligned(rows)
