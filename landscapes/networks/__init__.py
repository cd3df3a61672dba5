"""Small networks as landscapes, written for batched parameters: every run has its own weights, all share the data."""

from landscapes.networks.convolutional import CNN, ResidualCNN
from landscapes.networks.layers import ACTIVATIONS
from landscapes.networks.mlp import MLP, ResidualMLP
from landscapes.networks.network import INITIALIZATIONS, Network
from landscapes.networks.recurrent import LSTM, RNN
from landscapes.networks.transformer import Transformer

__all__ = [
    "ACTIVATIONS", "CNN", "INITIALIZATIONS", "LSTM", "MLP", "RNN", "Network", "ResidualCNN", "ResidualMLP", "Transformer",
]  # fmt: skip
