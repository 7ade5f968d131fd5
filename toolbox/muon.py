"""Muon: the optimiser of the tools' convolutions."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

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
        """Take one step; matrices of one shape are worked on together."""
        del closure
        rate = self.param_groups[0]["lr"]
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is None:
                continue
            if parameter.ndim < 2:
                self._step_by_adam(parameter, parameter.grad, rate)
            else:
                alike[parameter.shape].append((parameter, parameter.grad))
        for pairs in alike.values():
            self._step_together(pairs, rate)

    def _step_together(self, pairs: list[tuple[Tensor, Tensor]], rate: float) -> None:
        momenta = []
        for parameter, gradient in pairs:
            state = self.state[parameter]
            if not state:
                state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
            momenta.append(torch.lerp(gradient, state["exp_avg"], MOMENTUM).flatten(1))  # Nesterov's
        steps = orthogonal(torch.stack(momenta).to(self.precision))
        size = ADAM_SIZE * math.sqrt(max(steps.shape[1:]))
        for (parameter, _), step in zip(pairs, steps, strict=True):
            parameter.add_(step.view(parameter.shape), alpha=-rate * size)

    def _step_by_adam(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        decays, count = ADAM_DECAYS, int(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - decays[0])
        state["exp_avg_sq"].lerp_(gradient.square(), 1 - decays[1])
        spread = (state["exp_avg_sq"] / (1 - decays[1] ** count)).sqrt() + ADAM_FLOOR
        parameter.addcdiv_(state["exp_avg"], spread, value=-rate / (1 - decays[0] ** count))


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
        values = first * values + (third * squares + fifth * squares @ squares) @ values
    made: Tensor = values.mT if turned else values
    return made
