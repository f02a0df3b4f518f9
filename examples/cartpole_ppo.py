"""Reinforcement learning: a spiking network learns to balance the pole of Gymnasium's CartPole, by PPO.

    python examples/cartpole_ppo.py --seed 0

The network takes one time step for each step of its environments, so its membranes remember what came before. Where an
episode ends, the states of this environment go back to rest. For learning, the rollout is cut into its episodes, and
each piece runs from the state in which it began. Source: Schulman et al. 2017, arXiv:1707.06347.
"""

import argparse

import gymnasium
import numpy as np
import torch
from torch import nn

import spikecore.nn as snn
from spikecore import surrogate, utils

ENVS, STEPS, EPOCHS, PARTS, GAMMA, LAMBDA, CLIP = 8, 128, 6, 4, 0.99, 0.95, 0.2
REWARD = 0.02  # per step: values are then about 1


def network(outputs, hidden=128):
    """Two layers of neurons; one time step is one step of the environment."""
    options = dict(beta=0.5, learn_beta=True, spike_grad=surrogate.atan(), init_hidden=True)
    first, second = nn.Linear(8, hidden), nn.Linear(hidden, hidden)
    return nn.Sequential(first, snn.Leaky(**options), second, snn.Leaky(**options), nn.Linear(hidden, outputs))


def run(net, obs, state):
    """The outputs for observations (time, batch, 4) from a state, and the state after them."""
    scaled = obs * torch.tensor([1.0, 1.0, 5.0, 1.0])
    return snn.run(net, torch.cat((scaled.relu(), (-scaled).relu()), -1), state=state), utils.get_state(net)


def policy_of(outputs):
    """The policy and the value: two outputs are preferences of the actions, the third is the value."""
    return torch.distributions.Categorical(logits=outputs[..., :2]), outputs[..., 2]


def environments(count, seed):
    """Environments, and what they show first."""
    envs = [gymnasium.make("CartPole-v1") for _ in range(count)]
    return envs, torch.tensor(np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)]))


def step(envs, actions):
    """One step of all environments: what they show, which have ended, what the next step begins with."""
    found = [env.step(int(action)) for env, action in zip(envs, actions)]
    seen, done = [obs for obs, *_ in found], [ended or cut for _, _, ended, cut, _ in found]
    begins = [env.reset()[0] if over else obs for env, obs, over in zip(envs, seen, done)]
    return torch.tensor(np.stack(seen)), torch.tensor(done), torch.tensor(np.stack(begins)), [f[2] for f in found]


@torch.no_grad()
def rollout(net, envs, obs, state):
    """STEPS steps of all environments, as columns (time, environments), with the observation and state after them."""
    rows = []
    for _ in range(STEPS):
        outputs, after = run(net, obs[None], state)
        policy, value = policy_of(outputs)
        action = policy.sample()[0]
        seen, done, begins, fallen = step(envs, action)
        following = run(net, seen[None], after)[0][0, :, 2] * ~torch.tensor(fallen)  # a pole that stands is worth more
        rows.append((obs, action, policy.log_prob(action)[0], value[0], following, done))
        obs, state = begins, {name: x * ~done[:, None] for name, x in after.items()}  # an episode begins at rest
    return [torch.stack(column) for column in zip(*rows)], obs, state


def pieces_of(done):
    """The rollout, cut where episodes end: (environment, first step, number of steps) each."""
    ends = [[0, *(np.flatnonzero(done[:-1, env]) + 1), STEPS] for env in range(ENVS)]
    return np.array([(env, a, b - a) for env in range(ENVS) for a, b in zip(ends[env], ends[env][1:])])


def batch_of(pieces, state):
    """Pieces as a batch (time, piece): where its steps are in the rollout, which are no padding, its first states."""
    env, first, length = torch.tensor(pieces).T
    time = torch.arange(int(length.max()))[:, None]
    at = (first + time).clamp(max=STEPS - 1), env.expand(len(time), -1)
    return at, time < length, {name: x[env] * (first == 0)[:, None] for name, x in state.items()}


def learn(net, optimizer, columns, state, rng):
    """Some epochs over the pieces of the rollout; ``state`` is that before its first step."""
    obs, actions, before, values, following, done = columns
    gains, total = torch.zeros_like(values), 0.0
    for t in reversed(range(STEPS)):
        total = REWARD + GAMMA * following[t] - values[t] + GAMMA * LAMBDA * ~done[t] * total
        gains[t] = total
    for _ in range(EPOCHS):
        for part in np.array_split(rng.permutation(pieces_of(done)), PARTS):
            at, mask, begun = batch_of(part, state)
            policy, found = policy_of(run(net, obs[at], begun)[0])
            ratio = (policy.log_prob(actions[at]) - before[at]).exp()
            gain = (gains[at] - gains[at][mask].mean()) / (gains[at][mask].std() + 1e-8)
            gained = torch.minimum(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain)
            loss = -gained + 0.25 * (found - (gains + values)[at]) ** 2 - 0.01 * policy.entropy()
            optimizer.zero_grad()
            loss[mask].mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()


def length_of_episodes(net, seed, episodes=20):
    """The mean length of new episodes in which the network takes the action that it prefers."""
    envs, obs = environments(episodes, 1000 * seed + 100)
    state, alive, lengths = None, torch.ones(episodes, dtype=torch.bool), torch.zeros(episodes)
    while alive.any():
        with torch.no_grad():
            outputs, state = run(net, obs[None], state)
        lengths += alive
        _, done, obs, _ = step(envs, outputs[0, :, :2].argmax(-1))
        alive &= ~done
    return float(lengths.mean())


def main(arguments=None):
    parser = argparse.ArgumentParser(description="A spiking network that balances a pole, by PPO.")
    parser.add_argument("--seed", type=int, default=0, help="of weights, actions and environments")
    parser.add_argument("--updates", type=int, default=150, help="rollouts of 8 environments by 128 steps")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of the first update; it falls to 0")
    parser.add_argument("--quick", action="store_true", help="20 updates, which take seconds")
    args = parser.parse_args(arguments)
    updates = 20 if args.quick else args.updates

    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    torch.set_num_threads(1)  # the network is small: threads would only wait for each other
    envs, obs = environments(ENVS, 1000 * args.seed)
    net = network(3)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr, eps=1e-5)
    state = {name: torch.zeros_like(x) for name, x in run(net, obs[None], None)[1].items()}
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = args.lr * (1 - update / updates)
        columns, obs, after = rollout(net, envs, obs, state)
        learn(net, optimizer, columns, state, rng)
        state = after
        if (update + 1) % 10 == 0:
            ended = int(columns[-1].sum())
            print(f"update {update + 1:>4}: episodes of about {ENVS * STEPS / max(ended, 1):.0f} steps", flush=True)
    length = length_of_episodes(net, args.seed)
    print(f"20 new episodes last {length:.1f} of 500 steps")
    return length


if __name__ == "__main__":
    main()
