"""Training the agent by PPO, with sb3-contrib's recurrent implementation: a plain second way to a policy.

The actor is the same network as everywhere: spectrum, trunk, LSTM of 50, one linear output per action. PPO
fits logits, not values, so the policy that comes out ranks the actions by preference: stop stays 0, and a
tool's number is its logit above stop's. It acts exactly as PPO's actor does; its numbers are not dB. A card
says so: `ModelCard.values_in_db`.

Source: Schulman et al. 2017 (arXiv 1707.06347); the network from the paper's section 3.2.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor
from tqdm import tqdm

from rlrestore.agent.learn import LOG, logged, moderate_held_out
from rlrestore.agent.measure import PolicyReport
from rlrestore.agent.policy import MAX_STEPS, USUAL_SIZES, Policy, Trunk
from rlrestore.agent.spectrum import PLANES, Spectrum
from rlrestore.agent.training import AgentTraining
from rlrestore.devices import numbered_generator, precision_name
from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.sb3 import RestorationVecEnv
from rlrestore.envs.sources import MixtureSource, PairSource
from rlrestore.errors import RlrestoreError
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.jpeg import BLOCK
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Watch
from rlrestore.toolbox.training import TRAINING_FOLDER

UNTIL_THE_MINUTES_ARE_OVER = 10**12

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PpoSettings:
    """How an agent is trained by PPO.

    Attributes:
        episodes: Episodes at a time.
        rollout: Steps of each of them between two updates.
        batch: Steps per gradient step.
        epochs: Passes over a rollout.
        learning_rate: Of Adam.
        entropy: Weight of the entropy bonus, which keeps the actor from settling too early.
        reward: What a step is rewarded with.
        worst_reward_db: Losses beyond this count as this: one tool on one clean patch can cost 60 dB.
        seed: Of the weights and of all draws; stable-baselines3 sets the process's global seeds to it.
    """

    episodes: int = 64
    rollout: int = 12
    batch: int = 192
    epochs: int = 4
    learning_rate: float = 5e-4
    entropy: float = 0.01
    reward: Reward = "psnr"
    worst_reward_db: float = -2.0
    seed: int = 0


class SpectrumObservations(VecEnvWrapper):
    """Shows the spectra of the patches instead of them, so that they are computed once for all passes."""

    def __init__(self, venv: VecEnv, device: torch.device) -> None:
        self.spectrum = Spectrum().to(device)
        entries = PLANES * BLOCK * BLOCK
        spectrum = spaces.Box(-math.inf, math.inf, (entries,), np.float32)
        actions = cast("spaces.Dict", venv.observation_space)["last_action"]
        super().__init__(venv, spaces.Dict({"image": spectrum, "last_action": actions}))

    def reset(self) -> VecEnvObs:
        """Begin all episodes."""
        return self._see(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the environment returned, the images as spectra."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                one = {name: value[None] for name, value in info["terminal_observation"].items()}
                info["terminal_observation"] = {name: value[0] for name, value in self._see(one).items()}
        return self._see(observations), rewards, dones, infos

    @torch.no_grad()
    def _see(self, observations: Any) -> dict[str, Any]:
        images = torch.as_tensor(observations["image"], device=self.spectrum.colours.device)
        spectra = self.spectrum(images.view(-1, 3, PATCH, PATCH)).flatten(1)
        return {"image": spectra.cpu().numpy(), "last_action": observations["last_action"]}


class TrunkExtractor(BaseFeaturesExtractor):
    """The policy's trunk, and the one-hot of the last action: flat spectra to `(B, features + actions)`."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        actions = spaces.flatdim(observation_space["last_action"])
        super().__init__(observation_space, features_dim=USUAL_SIZES.features + actions)
        self.trunk = Trunk()

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features, in the order in which the policy's memory reads them."""
        return torch.cat((self.trunk(observations["image"]), observations["last_action"]), dim=1)


class RewardFloor(VecEnvWrapper):
    """Counts a reward below the floor as the floor."""

    def __init__(self, venv: VecEnv, floor_db: float) -> None:
        super().__init__(venv)
        self.floor_db = floor_db

    def reset(self) -> VecEnvObs:
        """Begin all episodes."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the environment returned, the rewards floored."""
        observation, rewards, dones, infos = self.venv.step_wait()
        return observation, rewards.clip(min=self.floor_db), dones, infos


class Progress(BaseCallback):
    """Shows the mean return, stops at the minute, and stops a training whose numbers have broken down."""

    def __init__(self, policy: Policy, budget: Budget, bar: "tqdm[Any]", watch: Watch) -> None:
        super().__init__()
        self.policy, self.seconds = policy, math.inf if budget.minutes is None else budget.minutes * 60
        self.spent, self.began = 0.0, time.monotonic()
        self.bar, self.watch = bar, watch

    def _on_step(self) -> bool:
        return self.spent + time.monotonic() - self.began < self.seconds

    def _on_training_end(self) -> None:
        self.spent += time.monotonic() - self.began

    def _on_rollout_end(self) -> None:
        self.bar.update(self.num_timesteps - self.bar.n)
        self.bar.set_postfix_str(f"return {mean_return_db(self.model):.2f} dB")
        check_weights(self.model)
        self.spent += time.monotonic() - self.began
        take_actor(self.policy, cast("RecurrentPPO", self.model))
        self.watch(self.num_timesteps, self.spent, {"return_db": mean_return_db(self.model)})
        self.began = time.monotonic()


def check_weights(model: Any) -> None:
    """Check that the weights of a model of stable-baselines3 are numbers.

    Raises:
        RlrestoreError: One is NaN or infinite.
    """
    if not all(bool(parameter.isfinite().all()) for parameter in model.policy.parameters()):
        raise RlrestoreError(
            f"a weight of the agent became NaN or infinite within {model.num_timesteps} steps: "
            "lower the learning rate and train again"
        )


def mean_return_db(model: Any) -> float:
    """Return the mean return of the last 100 episodes that a model of stable-baselines3 has run, in dB."""
    returns = [episode["r"] for episode in model.ep_info_buffer]
    return sum(returns) / len(returns) if returns else math.nan


def make_ppo(
    toolbox: Toolbox, source: PairSource, settings: PpoSettings, device: torch.device
) -> RecurrentPPO:
    """Return sb3-contrib's recurrent PPO, untrained, on a toolbox and a source of pairs."""
    batched = BatchedRestorationEnv(
        settings.episodes, toolbox, source, stop_when_worse=True, device=device, reward=settings.reward
    )
    observations = SpectrumObservations(VecMonitor(RestorationVecEnv(batched)), device)
    model = RecurrentPPO(
        "MultiInputLstmPolicy",
        RewardFloor(observations, settings.worst_reward_db),
        learning_rate=settings.learning_rate,
        n_steps=settings.rollout,
        batch_size=settings.batch,
        n_epochs=settings.epochs,
        gamma=1.0,  # an episode has three steps, and its return is a gain in dB
        ent_coef=settings.entropy,
        policy_kwargs={
            "features_extractor_class": TrunkExtractor,
            "lstm_hidden_size": USUAL_SIZES.memory,
            "net_arch": [],
        },
        seed=settings.seed,
        device=device,
    )
    images, _ = source(settings.episodes, numbered_generator(device, settings.seed, 0))
    extractor = cast("TrunkExtractor", model.policy.features_extractor)
    extractor.trunk.standardise(observations.spectrum(images))
    return model


@torch.no_grad()
def take_actor(policy: Policy, model: RecurrentPPO) -> None:
    """Give a policy the weights of PPO's actor; each tool's value is its logit above stop's."""
    actor: Any = model.policy
    policy.start_margins_db, policy.stop_margin_db = (0.0,) * policy.tools, 0.0
    policy.trunk.load_state_dict(actor.features_extractor.trunk.state_dict())
    lstm = actor.lstm_actor.state_dict()
    policy.memory.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in lstm.items()})
    for name in ("weight", "bias"):
        logits = getattr(actor.action_net, name)
        above_stop = logits[:-1] - logits[-1:]
        getattr(policy.advantage, name).copy_(above_stop)
        getattr(policy.level, name).copy_(above_stop.mean(dim=0, keepdim=True))


def fit_ppo(
    policy: Policy,
    toolbox: Toolbox,
    source: PairSource,
    budget: Budget,
    settings: PpoSettings,
    watch: Watch,
) -> dict[str, Any]:
    """Train an agent by PPO on one thread, which for a network this small is the fastest.

    Args:
        policy: Takes the actor's weights, after every rollout; on the device.
        toolbox: The tools.
        source: Where the pairs come from.
        budget: How long; steps are those of the environment, rounded up to whole rollouts.
        settings: How.
        watch: Called after every rollout; its time is not counted.

    Returns:
        What a card says of the training: its minutes, steps and precision.

    Raises:
        RlrestoreError: A weight became NaN or infinite.
    """
    with one_thread(), tqdm(desc="agent", total=budget.steps, leave=False, disable=None) as bar:
        model = make_ppo(toolbox, source, settings, policy.level.weight.device)
        callback = Progress(policy, budget, bar, watch)
        try:
            model.learn(budget.steps or UNTIL_THE_MINUTES_ARE_OVER, callback=callback)
        except ValueError:  # torch's distributions refuse NaN and do not say where it came from
            check_weights(model)
            raise
        check_weights(model)
    log.info("PPO: return %.2f dB after %d steps", mean_return_db(model), model.num_timesteps)
    take_actor(policy, model)
    policy.eval()
    return {
        "minutes": round(callback.spent / 60, 1),
        "steps": model.num_timesteps,
        "precision": precision_name(torch.float32),
    }


def train_ppo(
    policy: Policy,
    bank: PhotoBank,
    validation: PhotoBank,
    toolbox: Toolbox,
    out: Path,
    budget: Budget,
    settings: PpoSettings | None = None,
) -> tuple[PolicyReport, dict[str, Any]]:
    """Train an agent by PPO, and measure it on the moderate mixture of the validation photographs.

    Args:
        policy: The agent, whose weights are replaced; on the device of `bank`.
        bank: Photographs to train on.
        validation: Photographs to measure on, every minute and at the end.
        toolbox: The tools, on the same device.
        out: Folder of the model; the log goes into `training/agent` in it.
        budget: How long.
        settings: How.

    Returns:
        How good it is; what a card says of the training.

    Raises:
        RlrestoreError: A weight became NaN or infinite.
    """
    settings = settings or PpoSettings()
    held_out = moderate_held_out(toolbox, validation, settings.seed, MAX_STEPS)
    source = MixtureSource(bank, read_mixture("paper").recipe)
    folder = out / TRAINING_FOLDER / AgentTraining.name / LOG
    with logged(folder, lambda: held_out.measure(policy).metrics()) as watch:
        spent = fit_ppo(policy, toolbox, source, budget, settings, watch)
    return held_out.measure(policy), spent


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for as long as this lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
