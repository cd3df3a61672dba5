"""Are the numbers of all golden links what they were? Before and after a large change of how the code is arranged:

    python -m tests.golden_digests write before.json
    python -m tests.golden_digests compare before.json

Each array of each result has a digest, beside the versions and the processor that made it: on another machine bits may differ
for no fault of the code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ravine import Experiment, compute
from ravine.provenance import provenance

LINKS = Path(__file__).with_name("golden_links.txt")
_SAME = ("python", "torch", "numpy", "blas", "processor", "cpu_capability", "threads")  # else bits are not comparable

Digests = dict[str, dict[str, str]]  # link -> name of an array -> its digest


def digests(links: Iterable[str]) -> Digests:
    found: Digests = {}
    for link in links:
        experiment, _ = Experiment.from_url(link)
        arrays = compute(experiment).arrays()
        found[link] = {name: _digest(np.asarray(one)) for name, one in sorted(arrays.items())}
        print(f"{len(found):3d}  {len(arrays):3d} arrays  {link[:100]}", flush=True)
    return found


def _digest(array: np.ndarray) -> str:
    head = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def differences(before: Digests, after: Digests) -> list[str]:
    """A line for each array that is another one, is gone or is new."""
    lines = []
    for link in before | after:
        old, new = before.get(link, {}), after.get(link, {})
        for name in sorted(old | new):
            if old.get(name) != new.get(name):
                what = "is new" if name not in old else "is gone" if name not in new else "differs"
                lines.append(f"{name} {what}: {link}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("act", choices=["write", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--links", type=Path, default=LINKS, help="a file with a link on each line")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine = provenance()
    found = digests(chosen.links.read_text().split())
    if chosen.act == "write":
        chosen.file.write_text(json.dumps({"provenance": machine, "links": found}, indent=1))
        return 0
    before = json.loads(chosen.file.read_text())
    others = [name for name in _SAME if before["provenance"].get(name) != machine.get(name)]
    if others:
        print(f"Written by another {', '.join(others)}: bits may differ for that.")
    lines = differences(before["links"], found)
    print(
        "\n".join([*lines, f"{len(lines)} arrays are others." if lines else "Every array is what it was, bit for bit."])
    )
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())
