"""Small specimens of the architectures that people train, each with a loss and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

SAMPLES = 8


@dataclass
class Specimen:
    """What is given to `from_module`, and what is to be said of it."""

    module: nn.Module
    inputs: Any
    targets: Any
    loss: Callable[[Any, Any], Tensor] = functional.mse_loss
    options: dict[str, Any] = field(default_factory=dict)
    twin: Callable[[Tensor], Tensor] | None = None  # another function of the parameters (dim,) with the right Hessian,
    plainly: nn.Module | None = None  # the same network, where torch cannot call the module with other parameters
    at: Callable[[Tensor], Tensor] = Tensor.clone  # at this point for parameters (dim,)
    says: str = ""  # part of what is said of second derivatives; "" for nothing


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES, VECTORS, WORDS = randn(SAMPLES, 2, 6, 6, seed=1), randn(SAMPLES, 3, seed=2), randn(SAMPLES, 4, 3, seed=3)
TOKENS = torch.randint(5, (SAMPLES, 4), generator=torch.Generator().manual_seed(4))
LABELS = torch.arange(SAMPLES) % 3
TARGETS = randn(SAMPLES, 2, seed=5)


def classifying(module: nn.Module, inputs: Any = IMAGES, **more: Any) -> Specimen:
    return Specimen(module, inputs, LABELS, functional.cross_entropy, **more)


def regressing(module: nn.Module, inputs: Any = VECTORS, **more: Any) -> Specimen:
    return Specimen(module, inputs, TARGETS, **more)


class Applied(nn.Module):
    """A module from a function of its parts and inputs."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]


# -------------------------------------------------------------------- images


class Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int, normed: bool):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=not normed)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=not normed)
        self.one, self.two = (nn.BatchNorm2d(after) if normed else nn.Identity() for _ in range(2))
        self.stride, self.more = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.two(self.second(functional.relu(self.one(self.first(x)))))
        skip = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return functional.relu(hidden + skip)


def resnet(normed: bool) -> Specimen:
    return classifying(
        nn.Sequential(nn.Conv2d(2, 2, 3, 1, 1), Residual(2, 2, 1, normed), Residual(2, 3, 2, normed), *head(3))
    )


def convolutions(depth: int) -> Specimen:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(2, 2, 3, 1, 1), nn.BatchNorm2d(2), nn.ReLU()]
    return classifying(nn.Sequential(*layers, *head(2)))


def vgg() -> Specimen:
    layers = [
        nn.Conv2d(2, 3, 3, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(3),
    ]
    return classifying(nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)))


def group_norm() -> Specimen:
    return classifying(nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, groups=2), nn.InstanceNorm2d(4, affine=True), nn.GELU(), *head(4)))  # fmt: skip


def mobile() -> Specimen:
    """Depthwise and pointwise convolutions, and channels weighted by a gate."""

    def forward(own: Any, x: Tensor) -> Tensor:
        hidden = functional.hardswish(own.norm(own.point(own.depth(x))))
        return own.out(hidden * torch.sigmoid(own.gate(hidden.mean((2, 3), keepdim=True))))

    return classifying(Applied(forward, depth=nn.Conv2d(2, 2, 3, groups=2), point=nn.Conv2d(2, 4, 1), norm=nn.BatchNorm2d(4), gate=nn.Conv2d(4, 4, 1), out=nn.Sequential(*head(4))))  # fmt: skip


def dense_net() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        for layer in own.layers:
            x = torch.cat([x, functional.relu(layer(x))], 1)
        return own.out(x)

    return classifying(Applied(forward, layers=nn.ModuleList(nn.Conv2d(2 + 2 * place, 2, 3, 1, 1) for place in range(3)), out=nn.Sequential(*head(8))))  # fmt: skip


def unet() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        high = functional.relu(own.down(x))
        low = functional.relu(own.bottom(functional.max_pool2d(high, 2)))
        return own.out(torch.cat([high, own.up(low)], 1))

    parts = {"down": nn.Conv2d(2, 2, 3, 1, 1), "bottom": nn.Conv2d(2, 3, 3, 1, 1), "up": nn.ConvTranspose2d(3, 2, 2, 2)}
    return Specimen(Applied(forward, **parts, out=nn.Conv2d(4, 2, 1)), IMAGES, IMAGES.flip(-1))


def autoencoder() -> Specimen:
    layers = [
        nn.Conv2d(2, 3, 3, 2, 1),
        nn.PReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(3, 2, 3, 1, 1),
    ]
    return Specimen(nn.Sequential(*layers), IMAGES, IMAGES, functional.smooth_l1_loss)


def in_place() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        hidden = own.first(x)
        hidden.add_(1.0)
        hidden[:, 0] = hidden[:, 1] * 2
        hidden = functional.relu_(hidden)
        return own.out(functional.leaky_relu_(own.second(hidden), 0.1))

    return classifying(
        Applied(forward, first=nn.Conv2d(2, 3, 3), second=nn.Conv2d(3, 3, 3), out=nn.Sequential(*head(3)))
    )


def channels_last() -> Specimen:
    specimen = convolutions(2)
    specimen.module.to(memory_format=torch.channels_last)
    specimen.inputs = IMAGES.contiguous(memory_format=torch.channels_last)
    return specimen


# -------------------------------------------------------------------- sequences


def gpt() -> Specimen:
    """A causal block with attention by torch's fused kernel, and the embedding as the last layer."""

    def forward(own: Any, tokens: Tensor) -> Tensor:
        x = own.embed(tokens) + own.place.weight
        query, key, value = own.mix(own.before(x)).chunk(3, -1)
        heads = (one.unflatten(-1, (2, 2)).transpose(1, 2) for one in (query, key, value))
        x = x + own.join(functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))
        x = x + own.narrow(functional.gelu(own.wide(own.after(x))))
        return functional.linear(x, own.embed.weight).flatten(0, 1)

    parts = {"mix": nn.Linear(4, 12), "join": nn.Linear(4, 4), "wide": nn.Linear(4, 6), "narrow": nn.Linear(6, 4)}
    norms = {"before": nn.LayerNorm(4), "after": nn.LayerNorm(4)}
    module = Applied(forward, embed=nn.Embedding(5, 4), place=nn.Embedding(4, 4), **parts, **norms)
    return Specimen(
        module, TOKENS, TOKENS.roll(-1, 1), lambda logits, next_: functional.cross_entropy(logits, next_.flatten())
    )


def encoder(dropout: float = 0.0) -> Specimen:
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout, batch_first=True)
    module = Applied(
        lambda own, x: own.out(own.layer(own.embed(x)).mean(1)), embed=nn.Linear(3, 4), layer=layer, out=nn.Linear(4, 3)
    )
    return classifying(module, WORDS, options={"dropout": 3} if dropout else {})


def attention() -> Specimen:
    return classifying(Applied(lambda own, x: own.out(own.mix(x, x, x)[0].mean(1)), mix=nn.MultiheadAttention(3, 1, batch_first=True), out=nn.Linear(3, 3)), WORDS)  # fmt: skip


def vision_transformer() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        patches = own.patch(x).flatten(2).mT
        tokens = torch.cat([own.first.weight.expand(len(x), 1, -1), patches], 1)
        return own.out(own.layer(tokens)[:, 0])

    layer = nn.TransformerEncoderLayer(4, 1, 5, 0.0, "gelu", batch_first=True, norm_first=True)
    return classifying(
        Applied(forward, patch=nn.Conv2d(2, 4, 3, 3), first=nn.Embedding(1, 4), layer=layer, out=nn.Linear(4, 3))
    )


def recurrent(kind: type[nn.RNNBase]) -> Specimen:
    return classifying(Applied(lambda own, x: own.out(own.mix(x)[0][:, -1]), mix=kind(3, 3, batch_first=True), out=nn.Linear(3, 3)), WORDS)  # fmt: skip


def embedding_bag() -> Specimen:
    return classifying(
        nn.Sequential(nn.EmbeddingBag(5, 4, mode="mean"), nn.Tanh(), nn.Linear(4, 3)), TOKENS, says="is not implemented"
    )


# -------------------------------------------------------------------- vectors


def perceptron(first: nn.Module | None = None, activation: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(first or nn.Linear(3, 4), activation or nn.Tanh(), nn.Linear(4, 2))


def graph_network() -> Specimen:
    near = (randn(SAMPLES, SAMPLES, seed=8).abs() > 1).double()
    near = near + near.T + torch.eye(SAMPLES, dtype=torch.float64)
    near = near / near.sum(1, keepdim=True)

    def forward(own: Any, x: Tensor) -> Tensor:
        return near.to(x) @ own.second(functional.relu(near.to(x) @ own.first(x)))

    return regressing(Applied(forward, first=nn.Linear(3, 4), second=nn.Linear(4, 2)))


def normed() -> Specimen:
    return regressing(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ELU(), nn.Linear(4, 4), nn.LayerNorm(4), nn.Softplus(), nn.Linear(4, 2)))  # fmt: skip


def orthogonal() -> Specimen:
    return regressing(perceptron(parametrizations.orthogonal(nn.Linear(3, 4))))


def spectral(new: bool) -> Specimen:
    made = parametrizations.spectral_norm if new else nn.utils.spectral_norm
    return regressing(perceptron(made(nn.Linear(3, 4))))


def weight_norm(activation: nn.Module) -> Specimen:
    """Its twin divides by the norm in operations whose derivatives are torch's elementary ones."""

    def twin(params: Tensor) -> Tensor:
        bias, g, v, weight, last = params.split([4, 4, 12, 8, 2])
        v = v.view(4, 3)
        first = g[:, None] * v / v.square().sum(1, keepdim=True).sqrt()
        hidden = activation(functional.linear(VECTORS.to(params), first, bias))
        return functional.mse_loss(functional.linear(hidden, weight.view(2, 4), last), TARGETS.to(params))

    return regressing(perceptron(parametrizations.weight_norm(nn.Linear(3, 4)), activation), twin=twin)


class Rounded(torch.autograd.Function):
    """Rounding with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def straight_through(rounded: Callable[[Tensor], Tensor]) -> Specimen:
    """Weights in steps of 1/8 (Bengio et al. 2013, arXiv:1308.3432). The right Hessian is that at the rounded weights."""

    def forward(own: Any, x: Tensor) -> Tensor:
        hidden = torch.tanh(functional.linear(x, rounded(own.first.weight), own.first.bias))
        return functional.linear(hidden, rounded(own.second.weight), own.second.bias)

    def twin(params: Tensor) -> Tensor:
        weight, bias, more, last = params.split([12, 4, 8, 2])
        hidden = torch.tanh(functional.linear(VECTORS.to(params), weight.view(4, 3), bias))
        return functional.mse_loss(functional.linear(hidden, more.view(2, 4), last), TARGETS.to(params))

    def at(params: Tensor) -> Tensor:
        weight, bias, more, last = params.split([12, 4, 8, 2])
        return torch.cat([(8 * weight).round() / 8, bias, (8 * more).round() / 8, last])

    module = Applied(forward, first=nn.Linear(3, 4), second=nn.Linear(4, 2))
    return regressing(module, twin=twin, at=at, says="of the surrogate that is trained, not of the loss")


def stopped() -> Specimen:
    """Two views that look at each other's other side (Chen and He 2021, CVPR)."""

    def forward(own: Any, x: Tensor) -> Tensor:
        one, two = own.encode(x), own.encode(x.flip(-1))
        return functional.mse_loss(own.predict(one), two.detach()) + functional.mse_loss(own.predict(two), one.detach())

    module = Applied(forward, encode=perceptron(), predict=nn.Linear(2, 2))
    return regressing(module, loss=lambda outputs, _: outputs, says="of the surrogate that is trained, not of the loss")


def lora() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        return own.out(torch.tanh(own.base(x) + own.up(own.down(x))))

    module = Applied(forward, base=nn.Linear(3, 5), down=nn.Linear(3, 2, bias=False), up=nn.Linear(2, 5, bias=False), out=nn.Linear(5, 2))  # fmt: skip
    nn.init.zeros_(module.up.weight)
    module.base.requires_grad_(False)
    return regressing(module)


def physics_informed() -> Specimen:
    """The residual of u'' = -u, with derivatives by the inputs inside."""

    def forward(own: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.clone().requires_grad_(True)
            u = own.net(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return bend + u

    return Specimen(Applied(forward, net=nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))), randn(SAMPLES, 1), randn(SAMPLES, 1, seed=1))  # fmt: skip


def physics_informed_by_transforms() -> Specimen:
    """The slope of a network at each sample, by torch.func within the module."""

    def forward(own: Any, x: Tensor) -> Tensor:
        return torch.func.vmap(torch.func.grad(lambda one: own.net(one[None]).sum()))(x) + own.net(x)

    return Specimen(Applied(forward, net=nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))), randn(SAMPLES, 1), randn(SAMPLES, 1, seed=1))  # fmt: skip


def experts() -> Specimen:
    """Each sample goes to the two experts that its gate likes best (Shazeer et al. 2017, ICLR)."""

    def forward(own: Any, x: Tensor) -> Tensor:
        scores, chosen = own.gate(x).topk(2, -1)
        every = torch.stack([one(x) for one in own.experts], 1)
        picked = every.gather(1, chosen[..., None].expand(-1, -1, every.shape[-1]))
        return (scores.softmax(-1)[..., None] * torch.tanh(picked)).sum(1)

    return regressing(Applied(forward, gate=nn.Linear(3, 3), experts=nn.ModuleList(nn.Linear(3, 2) for _ in range(3))))


def equilibrium() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 4, dtype=x.dtype)
        for _ in range(12):
            state = torch.tanh(0.5 * own.mix(state) + own.read(x))
        return own.out(state)

    return regressing(Applied(forward, mix=nn.Linear(4, 4), read=nn.Linear(3, 4), out=nn.Linear(4, 2)))


def neural_ode() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        for _ in range(3):  # midpoint steps
            x = x + 0.3 * own.slope(x + 0.15 * own.slope(x))
        return own.out(x)

    return regressing(
        Applied(forward, slope=nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 3)), out=nn.Linear(3, 2))
    )


def hyper_network() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        weights = own.writer(torch.ones(1, 2, dtype=x.dtype)).view(2, 3)
        return functional.linear(torch.sin(own.first(x)), weights)

    return regressing(Applied(forward, writer=nn.Linear(2, 6), first=nn.Linear(3, 3)))


def fourier() -> Specimen:
    """Mixing in frequency space: complex numbers on the way."""

    def forward(own: Any, x: Tensor) -> Tensor:
        waves = torch.fft.rfft(own.first(x))
        return own.out(torch.fft.irfft(waves * waves.abs(), n=4))

    return regressing(Applied(forward, first=nn.Linear(3, 4), out=nn.Linear(4, 2)))


def variational() -> Specimen:
    """An autoencoder with the same noise at every evaluation."""
    noise = randn(SAMPLES, 2, seed=7)

    def forward(own: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = own.encode(x).chunk(2, -1)
        prior = 0.5 * (mean.square() + spread.exp() - spread - 1).sum(-1).mean()
        return own.decode(mean + (spread / 2).exp() * noise[: len(x)].to(x)), prior

    def loss(outputs: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return functional.mse_loss(outputs[0], x) + outputs[1]

    parts = {"encode": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)), "decode": nn.Linear(2, 3)}
    return Specimen(Applied(forward, **parts), VECTORS, VECTORS, loss)


def frozen() -> Specimen:
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    module[4].bias.requires_grad_(False)
    return regressing(module)


def unused() -> Specimen:
    return regressing(Applied(lambda own, x: own.used(x), used=perceptron(), spare=nn.Linear(2, 2)))


def checkpointed() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        return own.out(checkpoint(own.first, x, use_reentrant=False))

    module = Applied(
        forward, first=nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()), out=nn.Linear(4, 2)
    )
    plainly = Applied(lambda own, x: own.out(own.first(x)), first=module.first, out=module.out)
    return regressing(module, plainly=plainly)


# -------------------------------------------------------------------- derivatives written by hand


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


class OnceSquare(Square):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


class DetachedSquare(Square):
    """Its gradient is right, and all that it depends on is forgotten."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (2 * ctx.saved_tensors[0] * grad).detach()


class PartSquare(Square):
    """Its gradient is right, and its own second derivative is forgotten: a symmetric part of the Hessian is left."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0].detach() * grad


class Reversed(torch.autograd.Function):
    """The identity with a gradient of the other sign (Ganin and Lempitsky 2015, ICML)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


def by_hand(square: type[Square], says: str, activation: nn.Module) -> Specimen:
    def twin(params: Tensor) -> Tensor:
        weight, bias, more, last = params.split([12, 4, 8, 2])
        hidden = activation(functional.linear(VECTORS.to(params), weight.view(4, 3), bias)).square()
        return functional.mse_loss(functional.linear(hidden, more.view(2, 4), last), TARGETS.to(params))

    def forward(own: Any, x: Tensor) -> Tensor:
        return own.second(square.apply(activation(own.first(x))))  # type: ignore[no-untyped-call]

    return regressing(Applied(forward, first=nn.Linear(3, 4), second=nn.Linear(4, 2)), twin=twin, says=says)


def adversarial() -> Specimen:
    def forward(own: Any, x: Tensor) -> Tensor:
        hidden = own.encode(x)
        return own.good(hidden) + own.bad(Reversed.apply(hidden))  # type: ignore[no-untyped-call]

    module = Applied(
        forward, encode=nn.Sequential(nn.Linear(3, 4), nn.Tanh()), good=nn.Linear(4, 2), bad=nn.Linear(4, 2)
    )
    return regressing(module, says="of the surrogate that is trained, not of the loss")


def clipped() -> Specimen:
    """A hook that shortens long gradients: what comes out is the gradient of nothing."""

    def forward(own: Any, x: Tensor) -> Tensor:
        hidden = torch.tanh(own.first(x))
        if hidden.requires_grad:
            hidden.register_hook(lambda grad: grad / (0.01 + grad.norm()))
        return own.second(hidden)

    return regressing(
        Applied(forward, first=nn.Linear(3, 4), second=nn.Linear(4, 2)), says="There are no Hessian-vector products"
    )


ZOO: dict[str, Callable[[], Specimen]] = {
    "resnet with batch norm": lambda: resnet(True),
    "resnet without norm": lambda: resnet(False),
    "vgg": vgg,
    "conv-bn-relu of depth 2": lambda: convolutions(2),
    "conv-bn-relu of depth 4": lambda: convolutions(4),
    "conv-bn-relu of depth 10": lambda: convolutions(10),
    "group and instance norm": group_norm,
    "mobile net": mobile,
    "dense net": dense_net,
    "u-net": unet,
    "autoencoder": autoencoder,
    "operations in place": in_place,
    "channels last": channels_last,
    "gpt with tied weights": gpt,
    "transformer encoder": encoder,
    "transformer encoder with dropout": lambda: encoder(0.2),
    "multihead attention": attention,
    "vision transformer": vision_transformer,
    "lstm": lambda: recurrent(nn.LSTM),
    "gru": lambda: recurrent(nn.GRU),
    "elman": lambda: recurrent(nn.RNN),
    "embedding bag": embedding_bag,
    "graph network": graph_network,
    "batch and layer norm of vectors": normed,
    "orthogonal weights": orthogonal,
    "spectral norm": lambda: spectral(True),
    "spectral norm, old": lambda: spectral(False),
    "weight norm": lambda: weight_norm(nn.Tanh()),
    "weight norm with rectifiers": lambda: weight_norm(nn.ReLU()),
    "quantised by detach": lambda: straight_through(lambda w: w + ((8 * w).round() / 8 - w).detach()),
    "quantised by hand": lambda: straight_through(Rounded.apply),
    "stopped gradients": stopped,
    "lora": lora,
    "physics informed": physics_informed,
    "physics informed by transforms": physics_informed_by_transforms,
    "mixture of experts": experts,
    "equilibrium": equilibrium,
    "neural ode": neural_ode,
    "hyper network": hyper_network,
    "fourier": fourier,
    "variational autoencoder": variational,
    "frozen layers": frozen,
    "unused layer": unused,
    "checkpointed": checkpointed,
    "kernel that differentiates once": lambda: by_hand(OnceSquare, "cannot be differentiated again", nn.Tanh()),
    "kernel that forgets all": lambda: by_hand(DetachedSquare, "wrong", nn.Tanh()),
    "kernel that forgets a part": lambda: by_hand(PartSquare, "leaves out something", nn.Tanh()),
    "kernel that differentiates once, with rectifiers": lambda: by_hand(
        OnceSquare, "cannot be differentiated again", nn.ReLU()
    ),
    "gradient reversal": adversarial,
    "gradients clipped on the way": clipped,
}
