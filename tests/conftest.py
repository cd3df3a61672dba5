"""Shared set-up: one thread, so that numbers are reproducible, and hypothesis without deadlines on shared machines."""

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile(
    "ravine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.load_profile("ravine")
