"""Reinforcement learning: a spiking network learns to balance the pole of Gymnasium's CartPole, by deep Q-learning.

    python examples/cartpole_dqn.py --seed 0

The network takes one time step for each step of its environment. The memory holds the states of its neurons, too: a
sequence that is drawn from it begins with the state that it had when it was acted (Mnih et al. 2015,
doi.org/10.1038/nature14236; Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement
learning"; the actions for the targets are the network's own: van Hasselt et al. 2016, arXiv:1509.06461).
"""

import argparse
import copy

import torch
from cartpole_ppo import environments, length_of_episodes, network, run, step

ENVS, LENGTH, BATCH, KEPT, GAMMA, MIXED = 8, 8, 64, 10000, 0.99, 0.05
REWARD = 0.1  # per step: values are then below 10


class Memory:
    """The last KEPT steps of the environments, as rows by name, each with the states of all neurons before it."""

    def __init__(self):
        self.rows, self.count = {}, 0

    def add(self, row):
        for name, x in row.items():
            self.rows.setdefault(name, torch.zeros(KEPT, *x.shape, dtype=x.dtype))[self.count % KEPT] = x
        self.count += 1

    def draw(self):
        """BATCH sequences of LENGTH steps: their columns (time, batch), and the states before the first step."""
        age = torch.randint(LENGTH, min(self.count, KEPT) + 1, (BATCH,))
        env = torch.randint(ENVS, (BATCH,))
        at = (self.count - age + torch.arange(LENGTH)[:, None]) % KEPT, env.expand(LENGTH, -1)
        columns = {name: x[at] for name, x in self.rows.items() if not name.endswith("mem")}
        return columns, {name: x[at[0][0], env] for name, x in self.rows.items() if name.endswith("mem")}


def learn(net, target, optimizer, memory):
    columns, state = memory.draw()
    obs = torch.cat((columns["obs"][:1], columns["seen"]))  # LENGTH + 1: what a step shows is the input of the next
    values = run(net, obs, state)[0]
    with torch.no_grad():
        best = values[1:].argmax(-1, keepdim=True)
        following = run(target, obs, state)[0][1:].gather(-1, best)[..., 0]
        goal = REWARD + GAMMA * following * ~columns["fallen"]
    found = values[:-1].gather(-1, columns["action"][..., None])[..., 0]
    over = columns["done"].cumsum(0) - columns["done"].long()  # steps behind the end belong to another episode
    loss = torch.nn.functional.smooth_l1_loss(found, goal, reduction="none")[over == 0].mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
    optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(target.parameters(), net.parameters()):
            slow.lerp_(fast, MIXED)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="A spiking network that balances a pole, by deep Q-learning.")
    parser.add_argument("--seed", type=int, default=0, help="of weights, actions and environments")
    parser.add_argument("--steps", type=int, default=15000, help="steps of 8 environments")
    parser.add_argument("--lr", type=float, default=5e-4, help="learning rate of the first step; it falls to 0")
    parser.add_argument("--quick", action="store_true", help="500 steps, which take seconds")
    args = parser.parse_args(arguments)
    steps = 500 if args.quick else args.steps

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # the network is small: threads would only wait for each other
    envs, obs = environments(ENVS, 1000 * args.seed)
    net, memory, ended = network(2), Memory(), 0
    target, optimizer = copy.deepcopy(net), torch.optim.Adam(net.parameters(), lr=args.lr)
    state = {name: torch.zeros_like(x) for name, x in run(net, obs[None], None)[1].items()}
    for now in range(steps):
        with torch.no_grad():
            values, after = run(net, obs[None], state)
        curious = torch.rand(ENVS) < max(0.02, 1 - now / (0.1 * steps))
        action = torch.where(curious, torch.randint(2, (ENVS,)), values[0].argmax(-1))
        seen, done, begins, fallen = step(envs, action)
        memory.add(dict(obs=obs, action=action, seen=seen, done=done, fallen=torch.tensor(fallen), **state))
        obs, state = begins, {name: x * ~done[:, None] for name, x in after.items()}  # an episode begins at rest
        ended += int(done.sum())
        if now >= 100:
            optimizer.param_groups[0]["lr"] = args.lr * (1 - now / steps)
            learn(net, target, optimizer, memory)
        if (now + 1) % (steps // 10) == 0:
            print(f"step {now + 1:>6}: episodes of about {ENVS * steps // 10 / max(ended, 1):.0f} steps", flush=True)
            ended = 0
    length = length_of_episodes(net, args.seed)
    print(f"20 new episodes last {length:.1f} of 500 steps")
    return length


if __name__ == "__main__":
    main()
