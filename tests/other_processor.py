"""The numerical tests once more, as another processor would run them: `python -m tests.other_processor [PYTEST OPTIONS]`.

Torch picks its loops by what the processor can do, and the library that multiplies its matrices does so too. Told to do with
less, both sum in another order, as they would on an older processor or on one of another maker. Whether that happened is
looked at first, for it depends on the machine: MKL heeds MKL_ENABLE_INSTRUCTIONS on processors of its maker alone, and
MKL_CBWR=COMPATIBLE on all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

OTHER = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",  # NumPy's and SciPy's, whose answers some tests compare with
}
WHICH = "not prove or thinned"  # all of what is short, also where `make test` draws from it
TESTS = ("tests/landscapes", "tests/optimizers", "tests/phenomena")
ROOT = Path(__file__).resolve().parents[1]


def products() -> np.ndarray:
    """A fixed product of matrices, in both precisions; what is multiplied has the same bits everywhere."""
    table = (torch.arange(4096, dtype=torch.float64) * 7919 % 1009 / 1009 - 0.5).reshape(64, 64)
    return np.concatenate([(one @ one).double().numpy().ravel() for one in (table, table.float())])


def tanhs() -> np.ndarray:
    """A fixed hyperbolic tangent, in both precisions."""
    table = torch.arange(4096, dtype=torch.float64) / 512 - 4
    return np.concatenate([one.tanh().double().numpy() for one in (table, table.float())])


def write(path: str) -> None:
    torch.set_num_threads(1)
    np.savez(path, capability=torch.backends.cpu.get_cpu_capability(), product=products(), tanh=tanhs())


def seen(environment: dict[str, str]) -> dict[str, np.ndarray]:
    """What a fresh process computes in this environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/seen.npz"
        subprocess.run(
            [sys.executable, "-c", f"from tests.other_processor import write; write({path!r})"],
            env=environment, cwd=ROOT, check=True,
        )  # fmt: skip
        with np.load(path) as file:
            return dict(file)


def compared(plain: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> tuple[bool, str]:
    """Did any number change? And what did, in words."""
    before, after = str(plain["capability"]), str(other["capability"])
    capability = f"torch's loops are those of {after}" + (f", not {before}" if before != after else " either way")
    changed = {name: int((plain[name] != other[name]).sum()) for name in ("product", "tanh")}
    words = [
        f"a fixed {name} differs in {count:,} of {plain[name].size:,} numbers" if count else f"a fixed {name} in none"
        for name, count in changed.items()
    ]
    return any(changed.values()), "; ".join([capability, *words])


def main(options: list[str]) -> int:
    environment = os.environ | OTHER
    differs, words = compared(seen(dict(os.environ)), seen(environment))
    if not differs:
        print(f"NOT RUN: this machine cannot stand in for another processor ({words}).")
        return 0
    print(f"As another processor: {words}.", flush=True)
    status = subprocess.run(
        [sys.executable, "-m", "pytest", *TESTS, "-m", WHICH, *options], env=environment, cwd=ROOT
    ).returncode
    print(f"As another processor: {words}.")
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
