"""A user's module as a landscape, against torch's own backward pass and dense Hessians of the module as it stands."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from landscapes import LANDSCAPES, from_module, sharpness, slice_2d
from landscapes.selfcheck import Way
from optimizers import OPTIMIZERS, run
from tests.probing import every_probe


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, Y = randn(24, 3, seed=1), randn(24, 2, seed=2)
LABELS = torch.arange(24) % 2


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make()


def plain():
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))


def normed():
    net = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)))
    net[1].running_mean += 0.3
    net[1].running_var *= 2.0
    return net


def dropping():
    return seeded(lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 2)))


MSE = nn.MSELoss()


def made(module, loss=MSE, data=(X, Y), notes=0, **options):
    """The landscape, which must say exactly as many things about the module as expected, each with a warning."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        land = from_module(module, loss, data, **options)
    assert [str(one.message) for one in said] == list(land.notes)
    assert len(land.notes) == notes, land.notes
    return land


def reference(module, loss, inputs, targets):
    """Loss, gradient and dense Hessian of a module in float64 by torch alone."""
    module = copy.deepcopy(module).double()
    names = dict(module.named_parameters())
    sizes = [one.numel() for one in names.values()]
    flat = torch.cat([one.detach().flatten() for one in names.values()])

    def value(point):
        parts = {name: part.view_as(one) for (name, one), part in zip(names.items(), point.split(sizes), strict=True)}
        return loss(functional_call(module, parts, inputs.double()), targets)

    grad = torch.autograd.functional.jacobian(value, flat)
    return value(flat).detach(), grad, torch.autograd.functional.hessian(value, flat)


@pytest.mark.parametrize(
    ("make", "loss", "targets", "training"),
    [
        (plain, nn.MSELoss(), Y, None),
        (plain, nn.CrossEntropyLoss(), LABELS, None),
        (normed, nn.MSELoss(), Y, True),
        (normed, nn.MSELoss(), Y, False),
    ],
)
def test_loss_gradient_and_hessian_are_those_of_the_module(make, loss, targets, training):
    module = make()
    if training is not None:
        module.train(training)
    land = made(module, loss, (X, targets), notes=int(training is True), training=training)
    value, grad, hessian = reference(module, loss, X, targets.double() if targets.is_floating_point() else targets)
    params = land.start()[0]
    torch.testing.assert_close(land.loss(params), value)
    torch.testing.assert_close(land.grad(params), grad)
    products = land.hvp(params.expand(land.dim, -1), torch.eye(land.dim, dtype=torch.float64))
    torch.testing.assert_close(products, hessian)
    top, _ = sharpness(land, params)
    torch.testing.assert_close(top[0], torch.linalg.eigvalsh(hessian)[-1], rtol=1e-5, atol=0)


def test_many_runs_and_blocks_of_samples_give_what_one_run_gives(monkeypatch):
    monkeypatch.setattr("landscapes.model._BLOCK", 7)
    land = made(plain())
    assert len(land.model.blocks(land.start())) > 1
    assert land.model.together
    params = land.start(6, seed=3).reshape(2, 3, -1)
    vectors = randn(2, 3, land.dim).double()
    expected = functional.mse_loss(land.outputs(params, X.double()), Y.double().expand(2, 3, -1, -1), reduction="none")
    torch.testing.assert_close(land.loss(params), expected.mean((-1, -2)))
    for chunk in (1, 4, 6):
        monkeypatch.setattr(land.model, "chunk", lambda _, chunk=chunk: chunk)
        loss, grad = land.value_and_grad(params)
        product = land.hvp(params, vectors)
        assert loss.shape == (2, 3)
        for index in ((0, 0), (1, 2)):
            torch.testing.assert_close(loss[index], land.loss(params[index]))
            torch.testing.assert_close(grad[index], land.grad(params[index]))
            torch.testing.assert_close(product[index], land.hvp(params[index], vectors[index]))
    assert land.loss(params[:0]).shape == (0, 3)
    assert land.grad(params[:0]).shape == (0, 3, land.dim)


def test_batches_shared_and_one_a_run():
    land = made(plain())
    params = land.start(2)
    shared = torch.tensor([3, 3, 20])
    torch.testing.assert_close(
        land.loss(params[0], shared),
        functional.mse_loss(land.outputs(params[0], X[shared].double()), Y[shared].double()),
    )
    own = torch.tensor([[0, 1, 2], [7, 8, 8]])
    together = land.grad(params, own)
    for index in range(2):
        torch.testing.assert_close(together[index], land.grad(params[index], own[index]))
    with pytest.raises(ValueError, match=r"one set of samples a run"):
        land.loss(params, torch.zeros(3, 4, dtype=torch.long))


def test_a_graph_too_large_to_keep_gives_the_same_products(monkeypatch):
    land = made(plain())
    params, vectors = land.start(2), randn(2, land.dim).double()
    kept = land.hvp(params, vectors)
    monkeypatch.setattr("landscapes.module.KEPT_BYTES", 0)
    torch.testing.assert_close(land.hvp(params, vectors), kept)


def test_the_module_is_left_alone_and_the_landscape_does_not_follow_it():
    module = normed().train()
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    land = made(module, notes=1)
    params = land.start()[0]
    value = land.loss(params)
    land.hvp(params, params)
    assert module.training
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert all(one.grad is None for one in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        module[0].weight.add_(1.0)
    torch.testing.assert_close(land.loss(params), value)


def test_what_does_not_move_can_be_taken_over_again():
    module = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).double().eval()
    module[2].weight.requires_grad_(False)
    x, y = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None], torch.ones(6, 1, dtype=torch.float64)
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=torch.ones(1, dtype=torch.float64))
    land = from_module(module, loss_fn, (x, y))
    point = land.start()[0]
    before = land.loss(point)
    with torch.no_grad():
        module[2].weight += 1
        module[1].running_mean += 1
        loss_fn.pos_weight += 1
    assert torch.equal(land.loss(point), before)
    assert land.follow(module)
    torch.testing.assert_close(land.loss(point), loss_fn(module(x), y).detach())
    module[2].weight.requires_grad_(True)
    assert not land.follow(module)


def test_frozen_parameters_and_tied_ones():
    module = plain()
    module[0].weight.requires_grad_(False)
    land = made(module)
    assert [block.name for block in land.layout.blocks] == ["0.bias", "2.weight", "2.bias"]
    tied = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    tied[2].weight = tied[0].weight
    land = made(tied, data=(X, X))
    assert land.dim == 9 + 3 + 3
    _, grad, _ = reference(tied, nn.MSELoss(), X, X.double())
    torch.testing.assert_close(land.grad(land.start()[0]), grad)


def test_dropout_is_off_or_the_same_mask_every_time():
    module = dropping().train()
    off = made(module)
    params = off.start()[0]
    expected = functional.mse_loss(copy.deepcopy(module).eval().double()(X.double()), Y.double())
    torch.testing.assert_close(off.loss(params), expected)
    on = made(module, dropout=1)
    state = torch.random.get_rng_state()
    assert float(on.loss(params)) == float(on.loss(params)) != float(off.loss(params))
    assert torch.equal(torch.random.get_rng_state(), state)
    pair = torch.stack([params, params])
    assert on.model.together
    torch.testing.assert_close(on.loss(pair), on.loss(params).expand(2))  # all runs share the mask
    assert float(made(module, dropout=2).loss(params)) != float(on.loss(params))
    step = 1e-6 * on.grad(params)
    decrease = on.loss(params - step) - on.loss(params + step)  # the gradient is that of the loss with this mask
    torch.testing.assert_close(decrease, -2e-6 * on.grad(params).square().sum(), rtol=1e-4, atol=0)


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, x, y, scale=1.0):
        return self.left(x) + scale * self.right(y)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.out = (
            nn.Embedding(5, 8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 2),
        )

    def forward(self, input_ids, labels=None):
        signal = self.embed(input_ids)
        outputs = self.out(self.mix(signal, signal, signal, need_weights=False)[0].mean(1))
        return {"loss": functional.cross_entropy(outputs, labels)} if labels is not None else outputs


def test_several_inputs_by_position_and_by_name():
    module, more = seeded(Several), randn(24, 2, seed=9)
    expected = functional.mse_loss(module(X, more), Y).double()
    for data in (((X, more), Y), (X, more, Y), ({"x": X, "y": more}, Y)):
        land = made(module, data=data)
        torch.testing.assert_close(land.loss(land.start()[0]), expected, rtol=1e-6, atol=0)  # the module is float32
        assert land.samples == 24
    loader = DataLoader(TensorDataset(X, more, Y), batch_size=5, shuffle=True, generator=torch.Generator())
    state = loader.generator.get_state()
    land = made(module, data=loader)
    assert torch.equal(loader.generator.get_state(), state)
    torch.testing.assert_close(land.loss(land.start()[0]), expected, rtol=1e-6, atol=0)
    assert made(module, data=loader, limit=7).samples == 7


def test_attention_has_second_derivatives_in_a_mapping_as_data():
    ids = torch.randint(5, (6, 4), generator=torch.Generator().manual_seed(0))
    module = seeded(Attention)
    land = made(module, lambda outputs, _: outputs["loss"], {"input_ids": ids, "labels": LABELS[:6]})
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    params, vector = land.start()[0], randn(land.dim).double()
    step = 1e-5
    expected = (land.grad(params + step * vector) - land.grad(params - step * vector)) / (2 * step)
    torch.testing.assert_close(land.hvp(params, vector), expected, rtol=1e-6, atol=1e-8)


def test_batches_of_different_shapes_are_weighted_by_their_samples():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            return self.out(x.mean(1))

    module = seeded(Pooled)
    batches = [(randn(4, 5, 3), randn(4, 2)), (randn(2, 7, 3), randn(2, 2))]
    land = made(module, data=batches, notes=1)
    assert "kept apart" in land.notes[0]
    expected = sum(len(y) / 6 * functional.mse_loss(module(x), y) for x, y in batches)
    torch.testing.assert_close(land.loss(land.start()[0]), expected.double().detach(), rtol=1e-6, atol=0)
    assert land.samples is None
    with pytest.raises(ValueError, match="kept apart"):
        land.training_set(land.start())


class Square(torch.autograd.Function):
    """A square that cannot be differentiated twice, as many hand-written kernels."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class Once(nn.Module):
    def __init__(self, twice):
        super().__init__()
        self.inner, self.twice = plain(), twice

    def forward(self, x):
        hidden = self.inner(x)
        return hidden * hidden if self.twice else Square.apply(hidden)


def test_what_cannot_be_differentiated_twice_gets_finite_differences_and_says_so():
    land = made(Once(twice=False), notes=2)
    assert land.model.curvature.way is Way.DIFFERENCES
    assert any(
        "central differences" in note and "double backward of the module is wrong" in note for note in land.notes
    )
    exact = made(Once(twice=True))
    params, vectors = land.start(2), randn(2, land.dim).double()
    torch.testing.assert_close(land.hvp(params, vectors), exact.hvp(params, vectors), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(sharpness(land, params)[0], sharpness(exact, params)[0], rtol=1e-6, atol=0)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = plain()

    def forward(self, x):
        outputs = self.inner(x)
        return outputs if outputs.sum().item() > 1e9 else 2 * outputs


def test_what_cannot_be_batched_over_runs_is_looped_and_says_so():
    land = made(Branching(), notes=1)
    assert not land.model.together
    assert "one after the other" in land.notes[0]
    params = land.start(3)
    torch.testing.assert_close(land.loss(params), torch.stack([land.loss(one) for one in params]))
    assert land.chunk(params) == 1


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = plain()

    def forward(self, x):
        return self.inner(x.float())


def test_a_module_of_one_precision_says_so():
    land = made(Single(), notes=1)
    assert "float32 only" in land.notes[0]
    params = land.start()[0]
    assert land.loss(params).dtype == land.grad(params).dtype == torch.float64
    torch.testing.assert_close(land.loss(params), made(plain()).loss(params), rtol=1e-6, atol=0)


def test_starts():
    module = normed().eval()
    land = made(module)
    own = torch.cat([one.detach().flatten() for one in module.parameters()]).double()
    many = land.start(3, seed=4)
    torch.testing.assert_close(many[0], own)
    assert torch.equal(land.start(seed=9)[0], many[0])
    assert torch.equal(land.start(2, seed=4), many[:2])
    assert not torch.equal(land.start(2, seed=5)[1], many[1])
    assert not torch.equal(many[1], many[2])
    named = land.layout.unpack(many[1])
    assert float(named["0.weight"].abs().max()) <= 3**-0.5  # torch's initial weights of three inputs
    assert torch.equal(named["1.weight"], torch.ones(4, dtype=torch.float64))
    assert land.start(0).shape == (0, land.dim)
    assert land.start(dtype=torch.float32).dtype == torch.float32


def test_threads_do_not_disturb_each_other():
    land = made(normed().eval())
    params = land.start(8, seed=1)
    expected = [land.loss(one) for one in params]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(land.loss, params.repeat(5, 1)))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected).repeat(5))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_rule_runs_on_a_module(name):
    land = LANDS["plain"]
    path = run(land, OPTIMIZERS[name](lr=1e-3), steps=2, batch_size=8)
    assert torch.isfinite(path.loss).all()
    assert not torch.equal(path.params[0], path.final)


LANDS = {"plain": made(plain())}


def test_probes_and_slices_work_on_a_module():
    land = LANDS["plain"]
    rule = OPTIMIZERS["gd"](lr=0.1)
    kinds = every_probe(land, rule)
    assert {"sharpness", "trace", "update_ratio"} <= {kind.name for kind in kinds}
    path = run(land, rule, steps=3, probes=kinds)
    finite = {name for name, values in path.probes.items() if bool(torch.isfinite(values[-1]).all())}
    assert set(path.probes) - finite == {"gfs_sharpness"}  # given up
    plane = slice_2d(land, path.final, points=5)
    torch.testing.assert_close(plane.loss[2, 2], land.loss(path.final))
    assert plane.directions.shape == (2, land.dim)


def test_agrees_with_the_same_network_of_the_registry():
    mlp = LANDSCAPES["mlp"](data="chebyshev", hidden=(5,), objective="squared")
    twin = seeded(lambda: nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)))
    inputs, targets = mlp.training_set(torch.zeros(1, dtype=torch.float64))
    land = made(twin.double(), lambda out, y: (out - y).square().sum(-1).mean() / 2, (inputs, targets))
    params = land.start(3, seed=2)
    torch.testing.assert_close(land.loss(params), mlp.loss(params))
    torch.testing.assert_close(land.grad(params), mlp.grad(params))
    torch.testing.assert_close(land.hvp(params, params), mlp.hvp(params, params))


def test_equality_is_by_origin_and_held_out_data_are_kept():
    land, other = made(plain(), test=(X[:5], Y[:5])), made(plain())
    assert land == land
    assert land != other
    inputs, targets = land.test_set(torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(inputs, X[:5].double())
    torch.testing.assert_close(targets, Y[:5].double())
    assert other.test_set(torch.zeros(1)) is None


class Turning(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.turns = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def forward(self, inputs):
        return (super().forward(inputs) * self.turns).abs()


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = plain()

    def forward(self, x):
        return self.inner(x).detach()


def frozen():
    return plain().requires_grad_(False)


@pytest.mark.parametrize(
    ("module", "loss", "data", "error", "sentence"),
    [
        (torch.tanh, nn.MSELoss(), (X, Y), TypeError, "must be a torch.nn.Module"),
        (plain(), "mse", (X, Y), TypeError, "loss_fn must be callable"),
        (frozen(), nn.MSELoss(), (X, Y), ValueError, "no parameter that requires a gradient"),
        (plain(), nn.MSELoss(), 3, TypeError, "data is a int: it must be a pair"),
        (plain(), nn.MSELoss(), X, ValueError, "cannot be evaluated on the data"),
        (plain(), nn.MSELoss(), [], ValueError, "holds no tensors"),
        (plain(), nn.MSELoss(), (X[:0], Y[:0]), ValueError, "empty tensor"),
        (plain(), nn.MSELoss(), [3], TypeError, "A batch of data is a int"),
        (plain(), nn.MSELoss(), (X[:, :2], Y), ValueError, "cannot be evaluated on the data: RuntimeError: mat1"),
        (plain(), nn.MSELoss(reduction="none"), (X, Y), ValueError, "one number, the mean"),
        (Detached(), nn.MSELoss(), (X, Y), ValueError, "does not depend on the module's parameters"),
        (Turning(), nn.MSELoss(), (X, Y), ValueError, "The parameter turns is complex: .*view_as_real"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(module, loss, data, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        from_module(module, loss, data)
    assert str(raised.value).endswith(".")
