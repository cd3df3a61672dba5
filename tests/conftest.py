"""Shared set-up: one thread, so that numbers are reproducible, and hypothesis without deadlines on shared machines."""

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.sampling import thin

torch.set_num_threads(1)
settings.register_profile(
    "ravine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.load_profile("ravine")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what the expression after -m says
def pytest_collection_modifyitems(items):
    thin(items)
