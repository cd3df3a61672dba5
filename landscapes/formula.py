"""A formula typed by a user, or carried by a link: parsed against a whitelist, never evaluated as Python.

`parse` walks Python's syntax tree, admits + - * / ^, a list of functions and the given names, and builds an `Expr`;
everything else is refused with a sentence. `typeset` writes the same tree as LaTeX.
"""

from __future__ import annotations

import ast
import math
import re
import threading
from collections.abc import Mapping

from landscapes.expression import ARITY, FUNCTIONS, Expr, call, constant, ordered

MAX_LENGTH, MAX_NODES, MAX_DEPTH = 500, 200, 40
CONSTANTS = {"pi": math.pi, "e": math.e}
ALLOWED = (
    "Allowed are numbers, x, y, pi, e, the operators + - * / ^, parentheses, and the functions "
    + ", ".join(FUNCTIONS)
    + "."
)

# Python 3.11 counts the depth of the tree that it builds in one place for all threads: if one gives way to another meanwhile,
# as a garbage collection may make it, both can end in a SystemError (gh-106905 of CPython).
_ONE_AT_A_TIME = threading.Lock()
_SPELLINGS = {"^": "**", "−": "-", "·": "*", "×": "*", "π": "pi", "\n": " ", "\t": " "}
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_POWERS = re.compile(f"⁻?[{_RAISED}]+")
_STACKED = re.compile(
    rf"[{_RAISED}]\s*(\^|\*\s*\*|⁻)|[{_RAISED}]\s+[{_RAISED}]"
)  # as Python reads it, x²^3 would be x^(2^3)
_NAMED_Z = re.compile(r"\s*(z|f\s*\(\s*x\s*,\s*y\s*\))\s*=(?!=)")  # what the formula is the value of
_SYNONYMS = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_SYNONYM = re.compile(rf"\b({'|'.join(_SYNONYMS)})(?=\s*\()")
_HINTS = {
    "log10": "write log(x)/log(10).", "log2": "write log(x)/log(2).", "pow": "write powers as x^2.",
    "X": "the variables are small letters, x and y.", "Y": "the variables are small letters, x and y.",
    "xy": "write products as x*y.", "z": "the variables are x and y.",
}  # fmt: skip
_POWER_OF_A_NAME = re.compile(rf"\b({'|'.join(FUNCTIONS)})\s*\^")
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "^"}
_NAMED = {
    ast.Compare: "a comparison", ast.BoolOp: "and / or", ast.Attribute: "a dot after a name", ast.Lambda: "a lambda",
    ast.Subscript: "square brackets", ast.IfExp: "if / else", ast.Tuple: "a comma outside a function",
    ast.ListComp: "a comprehension", ast.Call: "a call it cannot make (write products as 2*x)", ast.NamedExpr: "an assignment", ast.JoinedStr: "a text", ast.List: "a list",
}  # fmt: skip


class FormulaError(ValueError):
    """What is wrong with a formula, as a sentence for its author."""


def parse(text: str, names: Mapping[str, Expr]) -> Expr:
    """The expression of a formula over the given names.

    Raises FormulaError (a ValueError) for anything but an arithmetic formula of at most 500 characters, 200 parts and
    40 levels.
    """
    built = _build(_tree(text, names), names)
    if any(node.op == "const" and not math.isfinite(float(node.value)) for node in ordered([built])):
        raise FormulaError("A part of the formula without x and y is not a finite number, as in 1/0 or 9^9^9.")
    return built


def _tree(text: str, names: Mapping[str, object]) -> ast.expr:
    """The checked syntax tree: only nodes that `_build` and `_latex` know are left."""
    if not isinstance(text, str) or not text.strip():
        raise FormulaError("The formula is empty. " + ALLOWED)
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"The formula has {len(text)} characters; at most {MAX_LENGTH} are allowed.")
    if _STACKED.search(text):
        raise FormulaError("The formula raises a power to a power without parentheses: write (x²)^3, or x^(2^3).")
    if named := _POWER_OF_A_NAME.search(text):
        raise FormulaError(f"The formula raises {named[1]} itself to a power: write {named[1]}(x)^2.")
    if "|" in text:
        raise FormulaError("The formula contains a bar: write absolute values as abs(x).")
    source = _SYNONYM.sub(lambda found: _SYNONYMS[found[1]], _NAMED_Z.sub("", text, count=1))
    source = _POWERS.sub(_power, source)
    for spelling, python in _SPELLINGS.items():
        source = source.replace(spelling, python)
    odd = next((one for one in source if not " " <= one <= "~" or one in "#\\"), None)
    if odd is not None:
        shown = f"“{odd}”" if odd.isprintable() else ascii(odd)
        raise FormulaError(f"The formula contains the character {shown}. {ALLOWED}")
    try:
        with _ONE_AT_A_TIME:
            tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise FormulaError(
            f"“{_short(' '.join(text.split()))}” is not a formula: write products as 2*x and powers as x^2. {ALLOWED}"
        ) from None
    count = 0
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise FormulaError(
                f"The formula is too large: at most {MAX_NODES} parts in {MAX_DEPTH} levels are allowed."
            )
        stack.extend((child, depth + 1) for child in _children(node, names))
    return tree


def _children(node: ast.expr, names: Mapping[str, object]) -> list[ast.expr]:
    """The operands of an admitted node. Raises FormulaError for any other node."""
    match node:
        case ast.Constant(value=bool() | complex() | str() | bytes() | None):
            raise FormulaError(
                f"The formula contains {_short(ascii(node.value))}, which is not a real number. {ALLOWED}"
            )
        case ast.Constant(value=int() | float() as number):
            if not _is_finite(number):
                raise FormulaError("The formula contains a number too large for floating point.")
            return []
        case ast.Name():
            if node.id not in names and node.id not in CONSTANTS:
                hint = f" {node.id} is a function: write {node.id}(...)." if node.id in FUNCTIONS else _hint(node.id)
                raise FormulaError(f"The formula contains the unknown name {_short(node.id)!r}.{hint} {ALLOWED}")
            return []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            return [node.operand]
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return [node.left, node.right]
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            if len(node.args) != ARITY[name] or any(isinstance(arg, ast.Starred) for arg in node.args):
                raise FormulaError(f"{name} takes {ARITY[name]} argument{'s' if ARITY[name] > 1 else ''}.")
            return node.args
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            raise FormulaError(
                f"The formula calls {_short(name)!r}, which is not a function it may use.{_hint(name)} {ALLOWED}"
            )
    raise FormulaError(f"The formula contains {_NAMED.get(type(node), 'something that is not arithmetic')}. {ALLOWED}")


def _power(raised: re.Match[str]) -> str:
    """x⁻¹² as x**-12."""
    return "**" + "".join("-" if one == "⁻" else str(_RAISED.index(one)) for one in raised[0]) + " "


def _hint(name: str) -> str:
    return f" For {name}: {_HINTS[name]}" if name in _HINTS else ""


def _is_finite(number: int | float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _build(node: ast.expr, names: Mapping[str, Expr]) -> Expr:
    match node:
        case ast.Constant(value=int() | float() as number):
            return constant(float(number))
        case ast.Name():
            return names[node.id] if node.id in names else constant(CONSTANTS[node.id])
        case ast.UnaryOp():
            inner = _build(node.operand, names)
            return -inner if isinstance(node.op, ast.USub) else inner
        case ast.Call(func=ast.Name(id=name)):
            return call(name, *(_build(arg, names) for arg in node.args))
        case ast.BinOp():
            left, right = _build(node.left, names), _build(node.right, names)
            match _OPERATORS[type(node.op)]:
                case "+":
                    return left + right
                case "-":
                    return left - right
                case "*":
                    return left * right
                case "/":
                    return left / right
                case _:
                    return left**right
    raise AssertionError("_tree admits no other node")


_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = range(5)


def typeset(text: str, symbols: Mapping[str, str]) -> str:
    """The formula as LaTeX; `symbols` gives the LaTeX of each name. Raises FormulaError as `parse`."""
    return _latex(_tree(text, symbols), symbols)[0]


def _latex(node: ast.expr, symbols: Mapping[str, str]) -> tuple[str, int]:
    """LaTeX and how tightly it binds."""

    def inside(part: ast.expr, least: int, follows: bool = False) -> str:
        latex, binding = _latex(part, symbols)
        bare = binding >= least and not (follows and latex.startswith("-"))  # no two signs in a row
        return latex if bare else rf"\left({latex}\right)"

    match node:
        case ast.Constant(value=int() | float() as number):
            mantissa, _, exponent = repr(float(number)).removesuffix(".0").partition("e")
            return (rf"{mantissa} \cdot 10^{{{int(exponent)}}}", _PRODUCT) if exponent else (mantissa, _ATOM)
        case ast.Name():
            return symbols.get(node.id, r"\pi" if node.id == "pi" else node.id), _ATOM
        case ast.UnaryOp():
            sign = "-" if isinstance(node.op, ast.USub) else ""
            return sign + inside(node.operand, _PRODUCT, follows=bool(sign)), _NEGATION if sign else _PRODUCT
        case ast.Call(func=ast.Name(id="sqrt")):
            return rf"\sqrt{{{_latex(node.args[0], symbols)[0]}}}", _ATOM
        case ast.Call(func=ast.Name(id="abs")):
            return rf"\left|{_latex(node.args[0], symbols)[0]}\right|", _ATOM
        case ast.Call(func=ast.Name(id=name)):
            inner = ", ".join(_latex(arg, symbols)[0] for arg in node.args)
            return rf"{FUNCTIONS[name].latex}\left({inner}\right)", _POWER
        case ast.BinOp(op=ast.Add()):
            return f"{inside(node.left, _SUM)} + {inside(node.right, _PRODUCT, follows=True)}", _SUM
        case ast.BinOp(op=ast.Sub()):
            return f"{inside(node.left, _SUM)} - {inside(node.right, _PRODUCT, follows=True)}", _SUM
        case ast.BinOp(op=ast.Div()):
            return rf"\frac{{{_latex(node.left, symbols)[0]}}}{{{_latex(node.right, symbols)[0]}}}", _POWER
        case ast.BinOp(op=ast.Pow()):
            return f"{inside(node.left, _ATOM)}^{{{_latex(node.right, symbols)[0]}}}", _POWER
        case ast.BinOp(op=ast.Mult()):
            left, right = inside(node.left, _PRODUCT), inside(node.right, _NEGATION, follows=True)
            mixed = left[-1].isdigit() and right.startswith(r"\frac")  # 2 1/2 reads as two and a half
            joint = r" \cdot " if right[0].isdigit() or mixed else r" \, "
            return left + joint + right, _PRODUCT
    raise AssertionError("_tree admits no other node")
