"""Muon: the optimiser of the tools' convolutions."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

MOMENTUM = 0.95
ADAM_DECAYS = (0.9, 0.999)
ADAM_FLOOR = 1e-8
"""Those of torch's Adam."""
ROUNDS = 5
"""Of Newton and Schulz's iteration."""
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Of a round: s becomes 3.4445·s - 4.7750·s³ + 2.0315·s⁵, by which any s in (0, 1] soon lies around 1."""
ADAM_SIZE = 0.2
"""Root mean square of a step at a learning rate of 1, as Adam's is."""


class Muon(torch.optim.Optimizer):
    """Momentum whose step has all singular values alike, so that what is rarely asked for is learned as well.

    A convolution's weights are a matrix, a row for each output channel. Biases move by Adam. A weight
    without a gradient stays where it is.

    Source: Jordan et al., *Muon*, 2024; the size of a step is that of Liu et al., arXiv 2502.16982. What it
    gains on these networks: docs/training.md.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, precision: torch.dtype = torch.float32
    ) -> None:
        """Make the optimiser of one group of parameters.

        Args:
            parameters: Weights of two or more dimensions, and biases of one.
            lr: Learning rate, for both.
            precision: In which singular values are made alike; bfloat16 does, where it is faster.
        """
        super().__init__(parameters, {"lr": lr})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing is asked of a closure
        """Take one step; matrices of one shape are worked on together, and so are all biases."""
        del closure
        rate = self.param_groups[0]["lr"]
        moving = [each for each in self.param_groups[0]["params"] if each.grad is not None]
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in moving:
            if parameter.ndim > 1:
                alike[parameter.shape].append(parameter)
        for matrices in alike.values():
            self._step_together(matrices, rate)
        self._step_by_adam([each for each in moving if each.ndim < 2], rate)

    def _step_together(self, parameters: list[Tensor], rate: float) -> None:
        averages = self._moments("exp_avg", parameters)
        gradients = _gradients(parameters)
        torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
        momenta = torch._foreach_lerp(gradients, averages, MOMENTUM)  # Nesterov's
        # Channels last: their order is no matter, and so lie the weights themselves.
        rows = torch.stack([momentum.movedim(1, -1) for momentum in momenta])
        steps = orthogonal(rows.flatten(2).to(self.precision))
        size = ADAM_SIZE * math.sqrt(max(steps.shape[1:]))
        moves = steps.to(rows.dtype).reshape(rows.shape).movedim(-1, 2)
        torch._foreach_add_(parameters, moves.unbind(), alpha=-rate * size)

    def _step_by_adam(self, parameters: list[Tensor], rate: float) -> None:
        adam(
            parameters,
            _gradients(parameters),
            self._moments("exp_avg", parameters),
            self._moments("exp_avg_sq", parameters),
            [],
            self._counts(parameters),
            foreach=True,
            amsgrad=False,
            beta1=ADAM_DECAYS[0],
            beta2=ADAM_DECAYS[1],
            lr=rate,
            weight_decay=0.0,
            eps=ADAM_FLOOR,
            maximize=False,
        )

    def _moments(self, name: str, parameters: list[Tensor]) -> list[Tensor]:
        """Return a moment of each parameter; zeros before its first step."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]

    def _counts(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return how many steps each parameter has taken: scalars on the processor, where they are read."""
        for parameter in parameters:
            if "step" not in self.state[parameter]:
                self.state[parameter]["step"] = torch.zeros(())
        return [self.state[parameter]["step"] for parameter in parameters]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [each.grad for each in parameters if each.grad is not None]


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors, and singular values between 0.7 and 1.2.

    By Newton and Schulz's iteration, of which five rounds do for any value above a hundredth of the norm.

    Args:
        matrices: `(B, R, C)` of any size; computed in their type.
    """
    turned = matrices.shape[1] > matrices.shape[2]
    values = matrices.mT if turned else matrices
    values = values / values.norm(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    first, third, fifth = QUINTIC
    for _ in range(ROUNDS):
        squares = values @ values.mT
        factors = torch.baddbmm(squares, squares, squares, beta=third, alpha=fifth)
        values = torch.baddbmm(values, factors, values, beta=first)
    made: Tensor = values.mT if turned else values
    return made
