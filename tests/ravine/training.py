"""A small network that tests train with torch."""

import torch
from torch import nn

X = torch.linspace(-1, 1, 12)[:, None]
Y = torch.sin(3 * X)


def network(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)


def trained(module, optimizer, steps, probe=None):
    inputs, targets = X.to(module[0].weight), Y.to(module[0].weight)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(inputs), targets)
        loss.backward()
        optimizer.step()
        if probe is not None:
            probe.step(loss)
