"""Data as users have them: each landscape against the loss of the user's own batches, computed by torch alone."""

import random
import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from landscapes import from_module, top_eigenpairs


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, Y = randn(24, 3, seed=1), randn(24, 2, seed=2)
CLASSES = (torch.arange(24) // 8).int().long()  # sorted, as in many files


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make().double()


def net(outputs=2):
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs)))


def made(module, loss, data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return from_module(module, loss, data, **options)


def by_hand(module, value):
    """Loss, gradient and Hessian of `value(forward)`, where forward(*args) is the module at the parameters, by torch."""
    named = dict(module.named_parameters())
    flat = torch.cat([one.detach().flatten() for one in named.values()])

    def at(point):
        parts = {name: part.view_as(one) for (name, one), part in zip(named.items(), point.split([one.numel() for one in named.values()]), strict=True)}  # fmt: skip
        return value(lambda *args, **kwargs: functional_call(module, parts, args, kwargs))

    return at(flat), torch.autograd.functional.jacobian(at, flat), torch.autograd.functional.hessian(at, flat)


def agrees(land, module, value, batch=None):
    """Loss, gradient and dense Hessian, for one run and for several together."""
    params = land.start()[0]
    loss, grad, hessian = by_hand(module, value)
    torch.testing.assert_close(land.loss(params, batch), loss.detach())
    torch.testing.assert_close(land.grad(params, batch), grad)
    eye = torch.eye(land.dim, dtype=params.dtype)
    torch.testing.assert_close(land.hvp(params, eye, batch), hessian)
    torch.testing.assert_close(land.loss(params.expand(2, -1), batch), loss.detach().expand(2))


# ------------------------------------------------------------------ what is no tensor


class Tasks(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.heads = nn.Linear(3, 4), nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)})

    def forward(self, x, y=None, task="a", weight=1.0):
        return self.heads[task](self.body(x).tanh())


def of_mapping(outputs, batch):
    return batch.get("weight", 1.0) * functional.mse_loss(outputs, batch["y"])


def test_each_batch_keeps_the_name_of_its_task():
    module = seeded(Tasks)
    data = [{"x": X[:16], "y": Y[:16], "task": "a"}, {"x": X[16:], "y": Y[16:], "task": "b"}]
    land = made(module, of_mapping, data)
    double = [one | {"x": one["x"].double(), "y": one["y"].double()} for one in data]
    agrees(land, module, lambda forward: sum(len(one["x"]) / 24 * of_mapping(forward(**one), one) for one in double))
    heads = land.layout.unpack(land.grad(land.start()[0]))
    assert heads["heads.a.weight"].any()
    assert heads["heads.b.weight"].any()
    assert any("kept apart" in note for note in land.notes)
    same = made(module, of_mapping, [one | {"task": "b"} for one in data])  # one task: there is one set of samples
    assert same.samples == 24
    agrees(same, module, lambda f: of_mapping(f(X.double(), task="b"), {"y": Y.double()}))
    picked = torch.tensor([1, 20, 20])
    agrees(same, module, lambda f: of_mapping(f(X[picked].double(), task="b"), {"y": Y[picked].double()}), picked)
    each = same.loss(same.start()[0].expand(2, -1), torch.tensor([[1, 20], [3, 4]]))  # a batch for each run
    torch.testing.assert_close(each[1], same.loss(same.start()[0], torch.tensor([3, 4])))


def test_each_batch_keeps_its_weight():
    module = seeded(Tasks)
    data = [{"x": X[:16], "y": Y[:16], "weight": 0.3}, {"x": X[16:], "y": Y[16:], "weight": 2.0}]
    land = made(module, of_mapping, data)
    double = [one | {"x": one["x"].double(), "y": one["y"].double()} for one in data]
    agrees(land, module, lambda forward: sum(len(one["x"]) / 24 * of_mapping(forward(**one), one) for one in double))


def test_a_number_that_speaks_of_its_batch_is_not_believed_of_another():
    def per_sample(outputs, batch):  # the number of samples stands beside them, the same in every batch
        return (outputs - batch["y"]).square().sum() / batch["count"]

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x, y, count):
            return self.out(x)

    module = seeded(Plain)
    mean = (module.out(X.double()) - Y.double()).square().sum(1).mean().detach()
    for parts in (1, 3):
        data = [{"x": x, "y": y, "count": 24 // parts} for x, y in zip(X.chunk(parts), Y.chunk(parts), strict=True)]
        land = made(module, per_sample, data)
        torch.testing.assert_close(land.loss(land.start()[0]), mean)


class Mean(nn.Module):
    """The mean of embedded tokens, one sequence or a batch of them."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(self.embed(ids).mean(-2))


def labelled(outputs, label):
    return functional.cross_entropy(outputs, torch.as_tensor(label))


TOKENS = torch.randint(9, (12, 6), generator=torch.Generator().manual_seed(3))


def test_single_samples_with_a_plain_label():
    module = seeded(Mean)
    pairs = [(ids, index % 2) for index, ids in enumerate(TOKENS)]
    expected = [labelled(module(ids), label) for ids, label in pairs]
    for data in (pairs, [(ids, torch.tensor(label)) for ids, label in pairs]):
        land = made(module, labelled, data)
        agrees(land, module, lambda forward: sum(labelled(forward(ids), label) for ids, label in pairs) / 12)
    torch.testing.assert_close(land.loss(land.start()[0]), torch.stack(expected).mean().detach())
    with pytest.raises(ValueError, match=r"plain numbers and the inputs differ in length.*torch.tensor\(\[label\]\)"):
        made(module, labelled, [(ids[: 3 + index % 2], 1) for index, ids in enumerate(TOKENS)])


def test_lists_with_an_entry_for_each_sample_are_never_cut():
    module = seeded(Mean)
    labels = [index % 2 for index in range(12)]
    whole = made(module, labelled, (TOKENS, labels))
    agrees(whole, module, lambda forward: labelled(forward(TOKENS), labels))
    assert whole.samples is None
    batches = [(TOKENS[a : a + 5], labels[a : a + 5]) for a in (0, 5, 10)]  # the last is shorter
    agrees(made(module, labelled, batches), module, lambda forward: labelled(forward(TOKENS), labels))


class Boxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(x)


@pytest.mark.parametrize("counts", [(3, 1, 2, 3), (4, 4, 4, 4)])
def test_targets_that_are_a_list_of_things_for_each_sample(counts):
    targets = [{"boxes": randn(count, 2, seed=place)} for place, count in enumerate(counts)]

    def nearest(outputs, targets):
        assert isinstance(targets, list)
        return torch.stack([(one["boxes"] - out).square().sum(1).amin() for out, one in zip(outputs, targets, strict=True)]).mean()  # fmt: skip

    module = seeded(Boxes)
    data = [(X[:3], targets[:3]), (X[3:4], targets[3:])]
    double = [{"boxes": one["boxes"].double()} for one in targets]
    for given in (data, (X[:4], targets)):
        land = made(module, nearest, given)
        agrees(land, module, lambda forward: nearest(forward(X[:4].double()), double))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, sequences):
        return self.out(self.cell(sequences)[1][0])


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, sequences):
        assert isinstance(sequences, list)
        return torch.stack([self.out(one).mean(0) for one in sequences])


def test_sequences_of_different_lengths_packed_or_in_a_list():
    """As one argument; a list of columns, as a DataLoader makes them of tuples, is several."""
    sequences = [randn(length, 3, seed=length) for length in (5, 3, 2)]
    double = [one.double() for one in sequences]
    module = seeded(Recurrent)
    land = made(module, nn.MSELoss(), (pack_sequence(sequences), Y[:3]))
    agrees(land, module, lambda forward: functional.mse_loss(forward(pack_sequence(double)), Y[:3].double()))
    module = seeded(Pooled)
    for lists in (sequences, [X[:4], X[4:8], X[8:12]]):
        land = made(module, nn.MSELoss(), (lists, Y[:3]))
        agrees(land, module, lambda f, given=lists: functional.mse_loss(f([one.double() for one in given]), Y[:3].double()))  # fmt: skip
    module = seeded(Graph)
    land = made(module, nn.MSELoss(), [[[X, torch.eye(24)], Y]])
    agrees(land, module, lambda f: functional.mse_loss(f(X.double(), torch.eye(24).double()), Y.double()))


def test_named_tuples_stay_what_they_are():
    Pair = namedtuple("Pair", "left right")

    def loss(outputs, targets):
        return functional.mse_loss(outputs, targets.left + targets.right)

    module = net()
    land = made(module, loss, (X, Pair(Y, 2 * Y)))
    agrees(land, module, lambda forward: functional.mse_loss(forward(X.double()), 3 * Y.double()))


# ------------------------------------------------------------------ sums, weights, and what needs all samples


def squares(outputs, targets):
    return (outputs - targets).square().sum()


SEVERAL = [(X[:10], Y[:10]), (X[10:15], Y[10:15]), (X[15:], Y[15:])]


@pytest.mark.parametrize("loss", [nn.MSELoss(reduction="sum"), squares])
@pytest.mark.parametrize("data", [(X, Y), SEVERAL, [(X[:20, None], Y[:20, None]), (X[20:], Y[20:])]])
def test_a_sum_is_a_sum_over_all_samples(loss, data):
    module = net()
    land = made(module, loss, data)
    assert land.reduction == "sum"
    assert any("is a sum over samples" in note for note in land.notes)
    assert land.equation.startswith(r"\sum")
    agrees(land, module, lambda forward: squares(forward(X.double()), Y.double()))
    if land.samples:
        agrees(land, module, lambda forward: squares(forward(X[3:7].double()), Y[3:7].double()), torch.arange(3, 7))


def test_blocks_of_a_sum_are_added(monkeypatch):
    inputs, targets = randn(1200, 3), randn(1200, 2, seed=1)
    module = net()
    for loss, reduction in ((squares, "sum"), (nn.MSELoss(), "mean")):
        land = made(module, loss, (inputs, targets))
        assert (land.reduction, land.coupled) == (reduction, False)
        assert len(land.model.blocks(land.start())) > 1
        agrees(land, module, lambda forward, loss=loss: loss(forward(inputs.double()), targets.double()))


def test_a_sum_over_normalized_samples_is_known_for_a_sum():
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))).train()
    for loss, reduction in ((squares, "sum"), (nn.MSELoss(), "mean")):
        land = made(module, loss, (X, Y))
        assert (land.reduction, land.coupled) == (reduction, True)


WEIGHTS = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)


def weighted(outputs, targets):
    return functional.cross_entropy(outputs, targets, weight=WEIGHTS.to(outputs))


@pytest.mark.parametrize("repeats", [1, 60])
@pytest.mark.parametrize("order", ["sorted", "alternating"])
@pytest.mark.parametrize("zero_head", [False, True])
def test_class_weights_are_seen_however_the_classes_lie(repeats, order, zero_head):
    labels = CLASSES if order == "sorted" else torch.arange(24) % 3
    module = net(outputs=3)
    if zero_head:  # all samples have the same loss at the start
        nn.init.zeros_(module[2].weight)
        nn.init.zeros_(module[2].bias)
    inputs, labels = X.repeat(repeats, 1) + randn(24 * repeats, 3, seed=7), labels.repeat_interleave(repeats)
    land = made(module, weighted, (inputs, labels))
    assert land.coupled
    assert land.reduction == "mean"
    agrees(land, module, lambda forward: weighted(forward(inputs.double()), labels))


@pytest.mark.parametrize("rare", ["class", "padding"])
def test_rare_samples_that_weigh_otherwise_are_looked_for(rare, monkeypatch):
    """In a model too large to be looked at on all samples."""
    monkeypatch.setattr("landscapes.reduction._NUMBERS", 1 << 8)
    inputs, labels = randn(1200, 3), torch.arange(1200) % 2
    labels[[701, 933]] = 2 if rare == "class" else -100
    loss = (lambda z, y: functional.cross_entropy(z, y, weight=torch.tensor([1.0, 1.0, 900.0]).to(z))) if rare == "class" else nn.CrossEntropyLoss()  # fmt: skip
    module = net(outputs=3)
    land = made(module, loss, (inputs, labels))
    assert land.coupled
    torch.testing.assert_close(land.loss(land.start()[0]), loss(module(inputs.double()), labels).detach())


def test_means_over_tokens_that_leave_padding_out():
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)))
    inputs, labels = randn(600, 7, 3), torch.randint(5, (600, 7), generator=torch.Generator().manual_seed(0))
    labels[500:, 2:] = -100  # late in the data alone

    def tokens(outputs, targets):
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    land = made(module, tokens, (inputs, labels))
    assert land.coupled
    torch.testing.assert_close(land.loss(land.start()[0]), tokens(module(inputs.double()), labels).detach())


def worst(outputs, targets):
    return (outputs - targets).square().sum(1).topk(20).values.mean()


def test_a_loss_of_the_worst_samples_takes_the_full_batch():
    inputs, targets = randn(50, 3), randn(50, 2, seed=1)
    module = net()
    land = made(module, worst, (inputs, targets))
    assert (land.reduction, land.coupled) == ("other", True)
    assert any("neither the mean nor the sum" in note for note in land.notes)
    agrees(land, module, lambda forward: worst(forward(inputs.double()), targets.double()))
    batches = [(inputs[:30], targets[:30]), (inputs[30:], targets[30:])]  # the worst of each batch, as in training
    expected = lambda forward: sum(len(x) / 50 * worst(forward(x.double()), y.double()) for x, y in batches)  # noqa: E731
    agrees(made(module, worst, batches), module, expected)
    with pytest.raises(ValueError, match=r"cannot be evaluated on the data.*out of range.*at most limit = 10 samples"):
        made(module, worst, (inputs, targets), limit=10)


def fixed(outputs, targets):
    return (outputs.reshape(8, -1, 2) - targets.reshape(8, -1, 2))[:, 0].square().mean()


def test_a_loss_of_a_fixed_number_of_samples():
    module = net()
    land = made(module, fixed, DataLoader(TensorDataset(X, Y), batch_size=8))
    agrees(land, module, lambda forward: nn.functional.mse_loss(forward(X.double()), Y.double()))
    land = made(module, fixed, (X[:8], Y[:8]))
    agrees(land, module, lambda forward: nn.functional.mse_loss(forward(X[:8].double()), Y[:8].double()))


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x, adjacency):
        return self.second(adjacency @ self.first(adjacency @ x).tanh())


def test_a_graph_is_evaluated_whole():
    adjacency = torch.softmax(randn(24, 24, seed=4), 1)
    module = seeded(Graph)
    land = made(module, nn.MSELoss(), (X, adjacency, Y))
    agrees(land, module, lambda f: functional.mse_loss(f(X.double(), adjacency.double()), Y.double()))


def test_a_sparse_graph_and_names_of_its_nodes():
    adjacency = torch.softmax(randn(24, 24, seed=4), 1).double()

    class Named(Graph):
        def forward(self, x, adjacency, names):
            assert len(names) == len(x)
            return super().forward(x, adjacency)

    module = seeded(Named)
    names = [f"node {place}" for place in range(24)]
    land = made(
        module, nn.MSELoss(), ({"x": X.double(), "adjacency": adjacency.to_sparse(), "names": names}, Y.double())
    )
    agrees(land, module, lambda f: functional.mse_loss(f(X.double(), adjacency, names), Y.double()))
    assert land.samples is None


# ------------------------------------------------------------------ the forms in which data come


class Pairs(Dataset):
    def __init__(self, *columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        row = tuple(column[index] for column in self.columns)
        return row if len(row) > 1 else row[0]


class Stream(IterableDataset):
    def __init__(self, endless):
        self.endless = endless

    def __iter__(self):
        while True:
            yield from zip(X, Y, strict=True)
            if not self.endless:
                return


class Noisy(Pairs):
    def __getitem__(self, index):
        return super().__getitem__(index)[0] + 0.0 * np.random.rand() * random.random(), self.columns[1][index]


@pytest.mark.parametrize(
    "data",
    [
        TensorDataset(X, Y),
        Pairs(X, Y),
        Pairs(X.numpy(), Y.numpy()),
        Stream(endless=False),
        (X.numpy(), Y.numpy()),
        [X.numpy(), Y.numpy()],
        ((x, y) for x, y in zip(X.split(5), Y.split(5), strict=True)),
        [(x.numpy(), y) for x, y in zip(X.split(5), Y.split(5), strict=True)],
    ],
)
def test_forms_of_data(data):
    module = net()
    land = made(module, nn.MSELoss(), data)
    assert land.samples == 24
    agrees(land, module, lambda forward: functional.mse_loss(forward(X.double()), Y.double()))


def test_what_drawing_samples_takes_from_generators_is_put_back():
    own = torch.Generator().manual_seed(1)
    loader = DataLoader(Noisy(X, Y), batch_size=5, sampler=torch.utils.data.RandomSampler(X, generator=own))
    before = random.getstate(), np.random.get_state()[1].tolist(), own.get_state(), torch.random.get_rng_state()
    for limit in (None, 7):
        made(net(), nn.MSELoss(), loader, limit=limit)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(own.get_state(), before[2])
    assert torch.equal(torch.random.get_rng_state(), before[3])


@pytest.mark.parametrize("data", [X, X.numpy(), TensorDataset(X), Pairs(X), DataLoader(TensorDataset(X), batch_size=7)])
def test_a_tensor_alone_is_its_own_target(data):
    module = net(outputs=3)
    agrees(made(module, nn.MSELoss(), data), module, lambda f: functional.mse_loss(f(X.double()), X.double()))


def test_data_are_copied():
    inputs, targets = X.double().clone(), Y.double().clone()
    buffer = torch.zeros(6, 3, dtype=torch.float64)
    module = net()

    def refilled():
        for rows in inputs.clone().split(6):
            yield buffer.copy_(rows), targets[:6]

    whole, again = made(module, nn.MSELoss(), (inputs, targets)), made(module, nn.MSELoss(), refilled())
    params = whole.start()[0]
    expected = functional.mse_loss(module(inputs), targets).detach()
    of_buffer = functional.mse_loss(module(inputs), targets[:6].repeat(4, 1)).detach()
    inputs.zero_()
    torch.testing.assert_close(whole.loss(params), expected)
    torch.testing.assert_close(again.loss(params), of_buffer)


def test_at_most_so_many_samples_are_taken():
    module = net()
    for data in (DataLoader(Pairs(X, Y), batch_size=5), Pairs(X, Y), Stream(endless=True), (X, Y)):
        land = made(module, nn.MSELoss(), data, limit=12)
        agrees(land, module, lambda forward: functional.mse_loss(forward(X[:12].double()), Y[:12].double()))
        assert land.samples == 12
    apart = [(X[:8, None], Y[:8, None]), (X[8:], Y[8:])]
    agrees(
        made(module, nn.MSELoss(), apart, limit=12),
        module,
        lambda forward: functional.mse_loss(forward(X[:12].double()), Y[:12].double()),
    )


class Ragged(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[: index + 1], Y[0]


class Boundless(Dataset):
    def __getitem__(self, index):
        return X[0], Y[0]


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (Stream(endless=True), ValueError, "did not end: pass limit"),
        (Ragged(), ValueError, "cannot be put into batches.*collate_fn"),
        (Boundless(), TypeError, "no length"),
        ("x.csv", TypeError, "data is a str"),
        (np.array(["a", "b"]), TypeError, "batch of data is a ndarray"),
        ([("a", "b")], ValueError, "holds no tensors"),
        (({"x": X}, object()), ValueError, "cannot be evaluated on the data"),
    ],
)
def test_what_is_not_data_gets_a_sentence(data, error, sentence, monkeypatch):
    monkeypatch.setattr("landscapes.batches._MOST_BATCHES", 10)
    with pytest.raises(error, match=sentence):
        from_module(net(), nn.MSELoss(), data)


def test_a_loss_that_differentiates_in_its_inputs():
    """The residual of u'' = -u, as a loss of physics."""
    module = seeded(lambda: nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)))
    points = torch.linspace(-1, 1, 12)[:, None].requires_grad_(True)

    def residual(outputs, x):
        (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return (bend + outputs).square().mean()

    free = points.detach().double().requires_grad_(True)
    for data in (points, (points, points), DataLoader(TensorDataset(points), batch_size=5)):
        land = made(module, residual, data)
        agrees(land, module, lambda forward: residual(forward(free), free))
    with torch.no_grad():
        assert not land.loss(land.start()[0]).requires_grad
    top = torch.linalg.eigvalsh(by_hand(module, lambda forward: residual(forward(free), free))[2])[-1]
    torch.testing.assert_close(top_eigenpairs(land, land.start()[0], tol=1e-8).values[0], top)
