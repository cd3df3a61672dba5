"""Formulas: what is admitted means what SymPy and mathematicians read; everything else is refused with a sentence."""

import ast
import gc
import pkgutil
import re
import sys
import threading
import time
from pathlib import Path

import mpmath
import pytest
import sympy
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import landscapes
from landscapes import Formula
from landscapes.expression import ARITY, FUNCTIONS, Program, gradient, ordered, variable
from landscapes.formula import MAX_DEPTH, MAX_LENGTH, MAX_NODES, FormulaError, parse, typeset
from tests.latex import evaluate

X, Y = variable("x"), variable("y")
NAMES = {"x": X, "y": Y}
SYMBOLS = {"x": "x", "y": "y"}
POINTS = [(0.7, -1.3), (-0.4, 0.9), (1.6, 0.35), (2.25, 1.125)]


def value(text, x, y):
    return float(Formula(text).loss(torch.tensor([x, y], dtype=torch.float64)))


# Random formulas. Functions get an argument that varies and exponents stay small, so that the oracles' exact arithmetic
# never meets a tower of powers.


def varying(text):
    return text if re.search(r"\b[xy]\b", text) else f"{text} + x"


NUMBERS = ["2", "3", "0.5", "1.25", "0.1", "7"]
EXPONENTS = ["2", "3", "4", "5", "0.5", "1.5", "-1", "-2", "0", "1", "x", "(y/2)", "-x"]
ONE_ARGUMENT = sorted(name for name in FUNCTIONS if ARITY[name] == 1)
TWO_ARGUMENTS = sorted(name for name in FUNCTIONS if ARITY[name] == 2)


def compound(part):
    return st.one_of(
        st.tuples(part, st.sampled_from([" + ", "-", "*", " / ", "·", "×", " − "]), part).map("".join),
        st.tuples(part, st.sampled_from("+-*/"), part).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        st.tuples(part, st.sampled_from(EXPONENTS)).map(lambda t: f"({t[0]})^{t[1]}"),
        st.sampled_from(["x^2", "y^3", "-x^2", "x²", "2^x", "x^-1", "π*x", "y³"]),
        part.map(lambda a: f"-{a}"),
        part.map(lambda a: f"+({a})"),
        st.tuples(st.sampled_from(ONE_ARGUMENT), part).map(lambda t: f"{t[0]}({varying(t[1])})"),
        st.tuples(st.sampled_from(TWO_ARGUMENTS), part, part).map(lambda t: f"{t[0]}({varying(t[1])}, {t[2]})"),
    )


formulas = st.recursive(st.sampled_from(["x", "y", "x", "y", "pi", "e", *NUMBERS]), compound, max_leaves=6).filter(
    lambda text: len(text) <= 200
)


def python_spelling(text):
    for ours, theirs in {"^": "**", "²": "**2", "³": "**3", "·": "*", "×": "*", "−": "-", "π": "pi"}.items():
        text = text.replace(ours, theirs)
    return text


# Absolute value and maximum are built from roots: SymPy leaves derivatives of Abs and Max open where it cannot decide
# that the argument is real.
def root_abs(a):
    return sympy.sqrt(a**2)


SX, SY = sympy.symbols("x y", real=True)
SYMPY_NAMES = {
    "x": SX, "y": SY, "e": sympy.E, "pi": sympy.pi, "abs": root_abs,
    "sign": lambda a: 2 * sympy.Heaviside(a) - 1,
    "sigmoid": lambda a: 1 / (1 + sympy.exp(-a)), "softplus": lambda a: sympy.log(1 + sympy.exp(a)),
    "max": lambda a, b: (a + b + root_abs(a - b)) / 2, "min": lambda a, b: (a + b - root_abs(a - b)) / 2,
}  # fmt: skip


def sympy_values(text, point, derivatives):
    """Value, and gradient and Hessian entries xx, xy, yy if asked for, to twenty digits."""
    f = sympy.sympify(python_spelling(text), locals=SYMPY_NAMES, rational=True)
    entries = [f]
    if derivatives:
        fx, fy = sympy.diff(f, SX), sympy.diff(f, SY)
        entries += [fx, fy, sympy.diff(fx, SX), sympy.diff(fx, SY), sympy.diff(fy, SY)]
    at = {SX: sympy.Float(point[0], 50), SY: sympy.Float(point[1], 50)}
    return [complex(sympy.N(one.subs(at), 20)) for one in entries]


def well_conditioned(graph, point):
    """The size of the largest intermediate value, or None where float64 cannot be expected to follow exact arithmetic:
    out of the domain, values beyond 1e4, or a kink or a jump nearer than 1e-6."""
    nodes = ordered(graph)
    at = torch.tensor(point, dtype=torch.float64).unbind()
    values = dict(zip(nodes, map(float, Program(nodes, [X, Y])(*at)), strict=True))
    size = max(map(abs, values.values()))
    if not size <= 1e4 or any(v != v for v in values.values()):
        return None
    for node in nodes:
        args = [values[arg] for arg in node.args]
        if node.op in ("abs", "sign", "sqrt", "log", "pow") and abs(args[0]) < 1e-6:
            return None
        if node.op in ("max", "min") and abs(args[0] - args[1]) < 1e-6:
            return None
    return size


def test_random_formulas_agree_with_sympy_in_value_gradient_and_hessian():
    compared = set()

    @settings(max_examples=150)
    @given(formulas)
    @example("softplus(y*x)*x")
    @example("max(x*y, x^2)*min(x, y/3)")
    @example("sqrt(x^2 + y^2)^3 + abs(x)^2.5")
    @example("(x^2 + 1)^(y*x)/sigmoid(y)")
    def check(text):
        try:
            f = parse(text, NAMES)
        except FormulaError:  # a constant part that is not finite, or x²^3; counted below
            return
        fx, fy = gradient(f, [X, Y])
        (fxx, fxy), (_, fyy) = gradient(fx, [X, Y]), gradient(fy, [X, Y])
        graph = [f, fx, fy, fxx, fxy, fyy]
        for point in POINTS:
            size = well_conditioned(graph, point)
            if size is None:
                continue
            ours = [float(v) for v in Program(graph, [X, Y])(*torch.tensor(point, dtype=torch.float64).unbind())]
            # Each of some hundred operations errs by 1e-16 of a value of at most `size`, amplified by at most `size`.
            tolerance = 1e-13 * (1 + size) ** 2
            for mine, exact in zip(ours, sympy_values(text, point, derivatives=True), strict=True):
                assert abs(mine - exact) <= tolerance, (text, point, ours)
            compared.add(text)
            return

    check()
    assert len(compared) > 80


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_agrees_with_sympy(name):
    text = f"{name}(x/3)" if ARITY[name] == 1 else f"{name}(x^2, y*x)"
    for point in [(0.7, -1.3), (2.5, 0.4)]:
        p = torch.tensor(point, dtype=torch.float64)
        land, basis = Formula(text), torch.eye(2, dtype=torch.float64)
        hessian = land.hvp(p, basis)
        ours = [land.loss(p), *land.grad(p), hessian[0, 0], hessian[0, 1], hessian[1, 1]]
        assert [float(v) for v in ours] == pytest.approx(sympy_values(text, point, True), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("x", [-800.0, -30.0, 0.0, 19.0, 21.0, 35.0, 49.0, 51.0, 800.0])
def test_softplus_is_exact_far_from_zero(x):
    """torch's own softplus returns x beyond 20, which is wrong by up to 1e-10."""
    with mpmath.workdps(400):
        exact = float(mpmath.log(1 + mpmath.exp(mpmath.mpf(x))))
    assert value("softplus(x)", x, 0.0) == pytest.approx(exact, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x^2", -9.0),
        ("(-x)^2", 9.0),
        ("2^x^2", 512.0),
        ("2^-y", 0.25),
        ("x^2*y", 18.0),
        ("6/x/y", 1.0),
        ("6/x*y", 4.0),
        ("x - y - 1", 0.0),
        ("x-(y-1)", 2.0),
        ("x**2", 9.0),
        ("x²+y³", 17.0),
        ("(x²)^3", 729.0),
        ("x⁴ + y¹⁰", 1105.0),
        ("y⁻¹", 0.5),
        ("z = x*y", 6.0),
        ("f(x, y) = x - y", 1.0),
        ("ln(e^2) + arctan(0)*arcsin(0) + arccos(1)", 2.0),
        ("2·x×y − 1", 11.0),
        ("π/π", 1.0),
        ("x\n+\ty", 5.0),
        ("  x ", 3.0),
        ("e^0 + pi*0", 1.0),
        ("(1/2)*4", 2.0),
        ("min(x, max(y, 10))", 3.0),
        ("-2^2", -4.0),
        ("2^0.5*2^0.5", 2.0),
        ("y^-1", 0.5),
        ("1e-3*x", 0.003),
        ("+x", 3.0),
        ("sigmoid(0)", 0.5),
    ],
)
def test_operators_bind_as_in_mathematics(text, expected):
    assert value(text, 3.0, 2.0) == pytest.approx(expected, rel=1e-15)


HOSTILE = [
    "", " ", "\n", "\0", "x\0", "x\r+ y", "x\f", "\ud800", "\u202ex", "ｘ", "ſin(x)", "٣*x", "x # + y", "x \\\n + y", "#",
    "x.y", "x.__class__", "(1).__class__", "().__class__.__bases__[0]", "x.real", "__import__('os')", "__builtins__",
    "__import__('os').system('true')", "print(x)", "open('f')", "eval('1')", "exec('1')", "sin.__call__(x)", "x()", "x(2)",
    "2(x)", "(x+1)(y+1)", "sin(x)(y)", "sin", "sin()", "sin(x, y)", "max(x)", "max(x, y, x)", "sin(x=1)", "sin(*x)",
    "sin(**x)", "max(*x, y)", "max(x, y, key=x)", "sin(x for x in y)", "pow(x, y)", "lambda: x", "lambda x: x",
    "[x for x in y]", "{x for x in y}", "{x: y for x in y}", "(x for x in y)", "[x]", "{x}", "{x: y}", "(x, y)", "x, y",
    "()", "x[0]", "x[0:1]", "f'{x}'", "f'{x!r:>{y}}'", "'x'", "b'x'", "'a' 'b'", "'" + "a" * 480 + "'", '"""x"""',
    "x := 1", "(x := 1)", "x = 1", "x += 1", "x == y", "x < y", "x < y < 1", "x and y", "x or y", "not x", "x if y else 1",
    "x is y", "x in y", "x & y", "x | y", "x ^ ^ y", "~x", "x << 1", "x // y", "x % y", "x @ y", "!x", "x!", "x?", "$x",
    "`x`", "x;y", "x:y", "*x", "**x", "(*x,)", "await x", "(yield)", "(yield from x)", "import os", "del x", "pass",
    "True", "False", "None", "...", "1j", "x + 2j", "1e999", "-1e999", "9" * 400, "0x" + "f" * 300, "nan", "inf", "x + nan", "0777", "1__0", "1_", "1.2.3",
    "2x", "xy", "x y", "x²^3", "x²**3", "x² ** 2", "x²2", "x²y", "x²e5", "x^", "^x", "x+", "*", "((x)", "(x))", ")",
    "z", "X", "sin x", "a" * 500, "x" + "x" * 400, "(" * 250 + "x" + ")" * 249, "(" * 240 + "x" + ")" * 240, "[" * 500,
    "(" * 500, "-" * 499 + "x", "+-" * 249 + "x", "~" * 499 + "x", "x" + "**x" * 150, "x" + "^-x" * 120, "x" + "+x" * 240,
    "sin(" * 60 + "x" + ")" * 60, "not " * 100 + "x", "lambda:" * 70 + "x", "x if y else " * 40 + "x", "x." * 200 + "x",
    "x" * 10_000, "(" * 10_000, "9" * 10_000, "x+" * 5_000 + "x", "\n" * 10_000,
    "__import__('os')" + " " * 10_000, "1 if x else 2", "1if x else 2", "1or x", "0x1for x in y", "'\\d'", "'\\N{DIGIT ONE}'",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:24]) + f"-{len(text)}")
@pytest.mark.parametrize("reader", [lambda t: parse(t, NAMES), lambda t: typeset(t, SYMBOLS)], ids=["parse", "typeset"])
def test_everything_but_arithmetic_is_refused_with_a_sentence(text, reader):
    with pytest.raises(FormulaError) as refusal:
        reader(text)
    sentence = str(refusal.value)
    assert len(sentence) < 420
    assert sentence.endswith(".")
    assert sentence.isprintable()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sin^2(x)", "write sin(x)^2"),
        ("|x| + y", "write absolute values as abs(x)"),
        ("log10(x)", "write log(x)/log(10)"),
        ("pow(x, 2)", "write powers as x^2"),
        ("X^2", "small letters, x and y"),
        ("xy", "write products as x*y"),
        ("x ♥ y", "the character “♥”"),
    ],
)
def test_spellings_of_other_programs_are_refused_with_the_one_to_use(text, hint):
    with pytest.raises(FormulaError) as refusal:
        Formula(text)
    assert hint in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "hessian"),
    [
        ("100*abs(y)^2", 200.0),
        ("abs(y)*abs(y)", 2.0),
        ("3*abs(y)*sign(y)*y", 6.0),
        ("abs(y)^4 + y^2", 2.0),
        ("abs(y)^3", 0.0),
    ],
)
def test_the_square_of_a_kink_is_as_smooth_as_it_is(text, hessian):
    """At its kink too, where a product of subgradients would give zero."""
    point = torch.tensor([1.0, 0.0], dtype=torch.float64)
    along_y = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert Formula(text).hvp(point, along_y).tolist() == [0.0, hessian]
    assert float(Formula(text).loss(torch.tensor([1.0, -2.0], dtype=torch.float64))) == pytest.approx(
        float(sympy.sympify(text.replace("^", "**"), locals={"abs": abs, "sign": sympy.sign}).subs({"y": -2})),
        rel=1e-15,
    )


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "1/0", "0/0", "log(0)", "sqrt(-1)", "x + 10^400", "x*(1e200*1e200)", "x^(9^9^9^9)"]
)
def test_constant_parts_must_be_finite(text):
    with pytest.raises(FormulaError, match="not a finite number"):
        Formula(text)


@pytest.mark.parametrize("text", [None, 3, b"x", ["x"], 1.5])
def test_what_is_not_a_text_is_refused(text):
    with pytest.raises(FormulaError):
        parse(text, NAMES)
    with pytest.raises(TypeError, match="expression"):
        Formula(text)


def test_a_refusal_is_a_value_error_of_the_landscape_too():
    with pytest.raises(ValueError, match="dot after a name"):
        Formula("x.y")
    with pytest.raises(ValueError, match="at most 500 characters|1 to 500"):
        Formula("x" * 501)


alphabet = st.lists(
    st.sampled_from(list("xye0123459.+-*/^()²³π·−, _#'[]{}:=!\n\\") + ["sin(", "max(", "**", "exp("]), max_size=60
).map("".join)


@settings(max_examples=400)
@given(st.one_of(alphabet, st.text(max_size=60), st.lists(alphabet, max_size=40).map("(".join)))
def test_any_text_is_a_bounded_formula_or_a_formula_error(text):
    try:
        parsed = parse(text, NAMES)
    except FormulaError:
        return
    # One part of the text makes at most four nodes (x^4 is two, a division two), whatever the text.
    assert len(ordered([parsed])) <= 4 * MAX_NODES
    assert len(text) <= MAX_LENGTH
    assert typeset(text, SYMBOLS)


# Derivatives must not grow faster than the formula: one node has at most 12 operations in the gradient (a power with
# varying base and exponent: two partial derivatives of five operations, two sums).
NESTED = [
    lambda n: "sin(" * n + "x" + ")" * n,
    lambda n: "exp(x*" * n + "y" + ")" * n,
    lambda n: "x^" * n + "y",
    lambda n: "(" * n + "x + y" + ")^x" * n,
    lambda n: "(" * n + "x + y" + ")^4" * n,
    lambda n: "(" * n + "x" + "/y + x)" * n,
    lambda n: "*".join(f"(x - {i}*y)" for i in range(n)),
    lambda n: "max(x, y*" * n + "x" + ")" * n,
    lambda n: "tanh(sigmoid(" * (n // 2) + "x*y" + "))" * (n // 2),
]


def operations(text):
    f = parse(text, NAMES)
    fx, fy = gradient(f, [X, Y])
    (fxx, fxy), (_, fyy) = gradient(fx, [X, Y]), gradient(fy, [X, Y])
    return len(ordered([f])), len(Program([f, fx, fy], [X, Y])), len(Program([fxx, fxy, fyy], [X, Y]))


@pytest.mark.parametrize("nested", NESTED, ids=lambda nested: nested(3))
def test_derivatives_grow_in_proportion_to_the_formula(nested):
    sizes = [operations(nested(n)) for n in (6, 12, 18)]
    for nodes, first, second in sizes:
        assert first <= 12 * nodes
        assert second <= 12 * 12 * nodes
    (_, g6, h6), (_, g12, h12), (_, g18, h18) = sizes  # equal steps in depth cost equal steps in operations
    assert g18 - g12 <= 1.05 * (g12 - g6) + 4
    assert h18 - h12 <= 1.05 * (h12 - h6) + 8


@settings(max_examples=100)
@given(formulas)
def test_gradients_of_random_formulas_are_of_bounded_length(text):
    try:
        nodes, first, second = operations(text)
    except FormulaError:
        return
    assert first <= 12 * nodes
    assert second <= 12 * 12 * nodes


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("x^2 + y", "x^{2} + y"),
        ("2*x*y", r"2 \, x \, y"),
        ("x*2", r"x \cdot 2"),
        ("(x + y)*2^x", r"\left(x + y\right) \cdot 2^{x}"),
        ("x/(y + 1)", r"\frac{x}{y + 1}"),
        ("2*(x/y)", r"2 \cdot \frac{x}{y}"),
        ("sqrt(x)*abs(y)", r"\sqrt{x} \, \left|y\right|"),
        ("-x^2", "-x^{2}"),
        ("(-x)^2", r"\left(-x\right)^{2}"),
        ("x - -y", r"x - \left(-y\right)"),
        ("--x", r"-\left(-x\right)"),
        ("x - (y - 1)", r"x - \left(y - 1\right)"),
        ("x^y^2", "x^{y^{2}}"),
        ("(x^y)^2", r"\left(x^{y}\right)^{2}"),
        ("sin(pi*x)^2", r"\left(\sin\left(\pi \, x\right)\right)^{2}"),
        ("max(x, 0)", r"\max\left(x, 0\right)"),
        ("1e-7*x", r"1 \cdot 10^{-7} \, x"),
        ("3.14159265358979*x", r"3.14159265358979 \, x"),
        ("12345678*x", r"12345678 \, x"),
        ("2.50*x", r"2.5 \, x"),
        ("a*x + kappa", r"a \, x + \kappa"),
    ],
)
def test_typeset(text, latex):
    assert typeset(text, SYMBOLS | {"a": "a", "kappa": r"\kappa"}) == latex


def test_random_formulas_are_typeset_as_what_they_are():
    """Python reads the text and a LaTeX reader the equation, both to 40 digits."""
    names = {
        "x": mpmath.mpf("0.7"), "y": mpmath.mpf("1.3"), "e": mpmath.e(), "pi": mpmath.pi(),
        "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)), "softplus": lambda a: mpmath.log(1 + mpmath.exp(a)),
        "max": max, "min": min, "abs": abs,
    } | {name: getattr(mpmath, name) for name in ["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "sign"]}  # fmt: skip
    compared = set()

    @settings(max_examples=200)
    @given(formulas)
    @example("2*(1/2)")
    @example("-(x - y)*-(x + -y)^-2")
    @example("x - (+(-y)) - (-x*y)")
    @example("123456.789*x + 0.0000012*y - 1e22")
    def check(text):
        latex = typeset(text, SYMBOLS)
        assert latex.count("{") == latex.count("}")
        assert latex.count(r"\left") == latex.count(r"\right")
        numbers = re.sub(r"(?<![\w.])(\d+\.?\d*(?:e[-+]?\d+)?)", r"mpmath.mpf(\1)", python_spelling(text))
        try:
            expected = eval(numbers, {"mpmath": mpmath}, names)
            shown = evaluate(latex, {"x": "0.7", "y": "1.3"})
        except (ZeroDivisionError, OverflowError, TypeError, ValueError):  # poles; the order of complex numbers
            return
        if mpmath.isfinite(expected):
            # 1e-15: Python reads 0.1 as the float next to it.
            assert abs(shown - expected) <= 1e-13 * (1 + abs(expected)), (text, latex)
            compared.add(text)

    with mpmath.workdps(40):
        check()
    assert len(compared) > 100


def test_limits_are_sharp():
    assert parse("x" + " " * (MAX_LENGTH - 1), NAMES) is X
    with pytest.raises(FormulaError, match=f"at most {MAX_LENGTH}"):
        parse("x" + " " * MAX_LENGTH, NAMES)
    assert parse("-" * (MAX_DEPTH - 1) + "x", NAMES)
    with pytest.raises(FormulaError, match=f"{MAX_DEPTH} levels"):
        parse("-" * MAX_DEPTH + "x", NAMES)
    balanced = ["x"] * 100  # 100 leaves and 99 sums
    while len(balanced) > 1:
        pairs = zip(balanced[::2], balanced[1::2], strict=False)
        balanced = [f"({a}+{b})" for a, b in pairs] + balanced[len(balanced) // 2 * 2 :]
    assert parse(balanced[0], NAMES)
    with pytest.raises(FormulaError, match=f"{MAX_NODES} parts"):
        parse(f"{balanced[0]}+x", NAMES)


def test_constants_beyond_the_dtype_overflow_quietly():
    point = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float32)
    for text in ("1e200*x + y", "x - 1e200*x*y", "max(x, 1e200)", "1e200", "x/1e-200", "x + y*x*1e200"):
        land = Formula(text)
        loss, grad = land.value_and_grad(point)
        assert loss.dtype == grad.dtype == land.hvp(point, point).dtype == torch.float32
        assert torch.equal(loss, land.loss(point.double()).float())


def test_a_loss_does_not_share_memory_with_params():
    point = torch.zeros(3, 2)
    land = Formula("x")
    loss, also = land.loss(point), land.value_and_grad(point)[0]
    point += 1
    assert loss.tolist() == also.tolist() == [0.0, 0.0, 0.0]


def test_no_module_of_the_package_evaluates_text():
    forbidden = {"eval", "exec", "compile", "sympify", "parse_expr", "__import__", "literal_eval"}
    modules = [module.name for module in pkgutil.iter_modules(landscapes.__path__)]
    assert {"formula", "expression"} <= set(modules)
    for path in sorted(Path(landscapes.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)
                regex = ast.unparse(node.func) == "re.compile"
                compiled = regex or ast.unparse(node.func) == "torch.compile"
                assert called not in forbidden or compiled, f"{path.name}:{node.lineno} calls {called}"


def test_a_refusal_is_one_line_whatever_the_formula():
    with pytest.raises(FormulaError) as refusal:
        parse(":\n\t:", {})
    assert str(refusal.value).isprintable()
    assert "“: :” is not a formula" in str(refusal.value)


class _Littering:
    """Garbage that the collector finds, and that gives way to other threads when it goes."""

    def __init__(self):
        self.me = self

    def __del__(self):
        time.sleep(0)


@pytest.fixture
def restless():
    """The collector runs all the time, and threads give way at each step: what Python 3.11 shares between them is mixed up."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(20)
    sys.setswitchinterval(1e-5)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_visitors_who_type_at_once_read_their_own_formulas():
    text = "sin(3*x)*cos(3*y) + x^2 + y^2 + " + " + ".join(["(x*y)"] * 10)
    expected, found = parse(text, NAMES), []

    def read():
        for _ in range(300):
            _Littering()
            try:
                found.append(parse(text, NAMES) == expected)
            except SystemError as failure:
                found.append(failure)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [True] * 2400
