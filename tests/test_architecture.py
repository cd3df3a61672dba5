"""The rules of DESIGN.md about what may import what, and where automatic differentiation lives."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import landscapes
from landscapes import LANDSCAPES, Landscape, ModuleLandscape

ROOT = Path(landscapes.__file__).parents[1]
PACKAGES = ("landscapes", "optimizers", "ravine", "pages")
FORBIDDEN = {
    "landscapes": {"optimizers", "ravine", "pages", "app", "streamlit", "plotly"},
    "optimizers": {"ravine", "pages", "app", "streamlit", "plotly"},
    "ravine": {"pages", "app"},
    "pages": {"app"},
}


def modules():
    """Dotted name -> syntax tree of every module of the project."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


MODULES = modules()


def imported(name, tree, *, at_import_time=False):
    """Dotted names that a module imports; with `at_import_time`, those outside functions and `if TYPE_CHECKING`."""
    names = set()
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    stack = [tree]
    while stack:
        node = stack.pop()
        if at_import_time and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if at_import_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *filter(None, [node.module])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
        stack.extend(ast.iter_child_nodes(node))
    return names


def test_modules_are_found():
    assert {"landscapes", "landscapes.surfaces", "landscapes.derivatives", "landscapes.landscape"} <= set(MODULES)
    assert imported("landscapes.surfaces", MODULES["landscapes.surfaces"]) >= {"torch", "landscapes.landscape.Layout"}


@pytest.mark.parametrize("package", PACKAGES)
def test_dependencies_point_one_way(package):
    wrong = [
        f"{name} imports {other}"
        for name, tree in MODULES.items()
        if name.split(".")[0] == package
        for other in imported(name, tree)
        if other.split(".")[0] in FORBIDDEN[package]
    ]
    assert wrong == []


def targets(name, tree):
    """The project's modules that run when this one is imported: those named, and the packages that hold them."""
    found = set()
    for dotted in imported(name, tree, at_import_time=True):
        if dotted in MODULES:
            found.add(dotted)
        elif dotted.rpartition(".")[0] in MODULES and "." in dotted:
            found.add(dotted.rpartition(".")[0])
    return found - {name}


def cycle(graph):
    """One cycle of a graph as a list of its nodes, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :] + [node]
        if node in done:
            return None
        path.append(node)
        for other in sorted(graph.get(node, ())):
            if found := visit(other):
                return found
        done.add(path.pop())
        return None

    return next((found for node in sorted(graph) if (found := visit(node))), None)


def test_cycles_are_recognised():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_no_import_cycles():
    graph = {name: targets(name, tree) for name, tree in MODULES.items()}
    assert "landscapes.landscape" in graph["landscapes.surfaces"]
    assert cycle(graph) is None


DIFFERENTIATING = {"grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "hessian", "linearize"}


def autograd_calls(name, tree):
    """Places where a module differentiates: anything of torch.autograd, the derivatives of torch.func, `.backward(...)`."""
    torch_func = {"torch.func", "torch._functorch", "functorch"}
    found = []
    for other in imported(name, tree):
        base, _, last = other.rpartition(".")
        if other.startswith("torch.autograd") or (base in torch_func and last in DIFFERENTIATING):
            found.append(f"{name} imports {other}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            base, _, last = dotted.rpartition(".")
            if dotted == "torch.autograd" or (base in {"torch.func", "func", "functorch"} and last in DIFFERENTIATING):
                found.append(f"{name}:{node.lineno} uses {dotted}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward":
            found.append(f"{name}:{node.lineno} calls backward")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.autograd.grad(a, b)",
        "from torch import autograd",
        "from torch.autograd import grad",
        "from torch.autograd.functional import hvp",
        "from torch.func import functional_call, jvp",
        "import torch\ntorch.func.hessian(f)",
        "from torch import func\nfunc.grad(f)",
        "loss.backward()",
    ],
)
def test_autograd_is_recognised(source):
    assert autograd_calls("module", ast.parse(source))


def test_autograd_is_called_in_one_place():
    assert autograd_calls("landscapes.derivatives", MODULES["landscapes.derivatives"])
    others = [
        call
        for name, tree in MODULES.items()
        if name != "landscapes.derivatives"
        for call in autograd_calls(name, tree)
    ]
    assert others == []


def test_every_landscape_is_registered():
    found = set()
    for info in pkgutil.walk_packages(landscapes.__path__, "landscapes."):
        module = importlib.import_module(info.name)
        found |= {
            kind
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if issubclass(kind, Landscape) and kind.__module__ == info.name and not inspect.isabstract(kind)
        }
    unregistered = {ModuleLandscape}  # holds a user's own module and data, which no link can name
    assert found - unregistered == {kind for kind in LANDSCAPES.values() if kind.__module__.startswith("landscapes.")}
    assert all(kind.name == name for name, kind in LANDSCAPES.items())
    assert len({kind.label for kind in LANDSCAPES.values()}) == len(LANDSCAPES)
