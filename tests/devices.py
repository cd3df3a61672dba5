"""Where tensors live: torch's meta device, which stands for CUDA on a machine without one, and a guard for strays.

A meta tensor has a shape, a dtype and a device but no numbers; mixing it with a CPU tensor of one or more dimensions raises,
as CUDA does. What this proxy cannot see:

- numbers: whether a kernel exists on CUDA, how it rounds, whether eigh or svd converge;
- tensors of no dimensions from the CPU, which torch mixes with any device (`OnlyOn` finds those too);
- a tensor that is made on the CPU and then moved, which is right where random numbers or data are to be the same on every
  device and slow elsewhere (`OnlyOn` finds those too, and lets pass what draws random numbers);
- whatever reads a number out of a tensor: a branch on a value cannot run without one. The tests name those functions in
  a list, and check that each of them does stop there.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICES = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
every_device = pytest.mark.parametrize("device", DEVICES)
# Those on which there are numbers to compare.
COMPUTING = ["cpu", *DEVICES[1:]]
every_computing_device = pytest.mark.parametrize("device", COMPUTING)

_DRAWS = ("rand", "normal", "bernoulli", "uniform")  # drawn on the CPU by design: the same numbers on every device


class OnlyOn(TorchDispatchMode):
    """Refuses every operation whose result lies on another device."""

    def __init__(self, device):
        super().__init__()
        self.device = torch.device(device).type

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        strays = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor) and x.device.type != self.device]
        if strays and not any(word in str(function) for word in _DRAWS):
            raise AssertionError(f"{function} made a tensor {tuple(strays[0].shape)} on {strays[0].device}")
        return result


def placed(tensor, like, shape):
    """Has the tensor this shape, and the dtype and device of `like`?"""
    return tuple(tensor.shape) == tuple(shape) and tensor.dtype == like.dtype and tensor.device == like.device
