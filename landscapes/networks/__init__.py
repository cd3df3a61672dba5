"""Small networks as landscapes, written for batched parameters: every run has its own weights, all share the data."""

from landscapes.networks.mlp import MLP
from landscapes.networks.network import ACTIVATIONS, Network

__all__ = ["ACTIVATIONS", "MLP", "Network"]
