"""Throws hostile inputs at every door: `python -m tests.fuzz [DOOR ...] --seconds 60 --seed 0`, or `--again FILE`.

A door that an input goes through is told with the smallest such input, which is written down: `--again` throws it once more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from tests.fuzz.door import hunt
from tests.fuzz.doors import DOORS

KEPT = Path(".fuzz")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=", ".join(DOORS), default=list(DOORS))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each door (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other inputs (default: 0)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="an input that was written down")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.again is not None:
        door = DOORS[given.again.name.partition("-")[0]]
        let_in = door.check(door.again(given.again.read_bytes()))  # raises what it raised before
        print(f"{door.name} holds: this is {'read' if let_in else 'refused'}.")
        return 0
    if unknown := [name for name in given.doors if name not in DOORS]:
        parser.error(f"no door is named {', '.join(unknown)}: there are {', '.join(DOORS)}")
    broken = 0
    for name in given.doors:
        began = time.monotonic()
        done = hunt(DOORS[name], start=given.seed, seconds=given.seconds)
        print(f"{done.told} in {time.monotonic() - began:.0f} s.", flush=True)
        if done.failure is not None:
            broken += 1
            print(f"  {type(done.failure).__name__}: {done.failure}".replace("\n", "\n  "))
            print(f"  Again: {Path(sys.executable).name} -m tests.fuzz --again {done.keep(KEPT)}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
