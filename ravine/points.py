"""Points of parameter space from a file that somebody hands us: a model or a trajectory, saved as safetensors.

Only plain data is read. A pickle, which is what torch.save writes, is a program: it is refused, never opened.
"""

from __future__ import annotations

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from landscapes import Layout

_HOW = 'safetensors.torch.save_file(model.state_dict(), "model.safetensors")'


def points(data: bytes, layout: Layout) -> Tensor:
    """The points (P, dim) in the bytes of a safetensors file, in float64.

    Either a tensor named params, (dim,) or (P, dim), or one tensor for each of the layout's names; others, such as buffers,
    are passed over. Raises ValueError, with a sentence, for anything else.
    """
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ValueError(
            "This is a pickle, as torch.save writes it. Opening one runs whatever code is in it, so it is not opened here. Save the "
            f"model as plain data instead: {_HOW}"
        )
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as failure:
        raise ValueError(f"This is not a safetensors file. Make one by {_HOW}") from failure
    if "params" in tensors:
        found = tensors["params"]
        if found.ndim not in (1, 2) or found.shape[-1] != layout.dim or not found.numel():
            raise ValueError(
                f"params has shape {tuple(found.shape)}: a point of this landscape is ({layout.dim},), a trajectory (P, {layout.dim})."
            )
        found = found.reshape(-1, layout.dim)
    else:
        missing = [block.name for block in layout.blocks if block.name not in tensors]
        if missing:
            listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise ValueError(
                f"The file has no tensor named {listed}: it must hold params, or every parameter of this landscape."
            )
        named = {block.name: tensors[block.name] for block in layout.blocks}
        if any(tuple(named[block.name].shape) != block.shape for block in layout.blocks):
            raise ValueError("The file's tensors do not have the shapes of this landscape's parameters.")
        if any(one.is_complex() for one in named.values()):
            raise ValueError("The file holds complex numbers: parameters are real.")
        found = layout.pack({name: one.to(torch.float64) for name, one in named.items()})[None]
    if not found.is_floating_point() or not bool(torch.isfinite(found.double()).all()):
        raise ValueError("The file holds numbers that are not finite floating-point numbers.")
    return found.double()
