"""A small reader for the LaTeX that formulas are typeset in, so that tests can ask what an equation on the screen says."""

import re

import mpmath

FUNCTIONS = {
    r"\sin": mpmath.sin, r"\cos": mpmath.cos, r"\tan": mpmath.tan,
    r"\arcsin": mpmath.asin, r"\arccos": mpmath.acos, r"\arctan": mpmath.atan,
    r"\sinh": mpmath.sinh, r"\cosh": mpmath.cosh, r"\tanh": mpmath.tanh,
    r"\exp": mpmath.exp, r"\log": mpmath.log, r"\max": max, r"\min": min,
    r"\sigma": lambda a: 1 / (1 + mpmath.exp(-a)),
    r"\operatorname{sign}": mpmath.sign, r"\operatorname{softplus}": lambda a: mpmath.log(1 + mpmath.exp(a)),
}  # fmt: skip
TOKEN = re.compile(
    r"\s*(\\operatorname\{\w+\}|\\left[(|]|\\right[)|]|\\cdot|\\,|\\[A-Za-z]+|\d+(?:\.\d+)?|[A-Za-z]|[-+^{},])"
)


def evaluate(latex, names):
    """The value of a typeset formula by the usual rules of reading; `names` gives each symbol's value."""
    tokens, position = [], 0
    while position < len(latex):
        match = TOKEN.match(latex, position)
        assert match, f"unreadable: {latex[position:]!r} in {latex!r}"
        tokens.append(match[1])
        position = match.end()
    values = {r"\pi": mpmath.pi(), "e": mpmath.e()} | {key: mpmath.mpf(value) for key, value in names.items()}
    reader = _Reader(tokens, values)
    value = reader.sum()
    assert not reader.tokens, f"left over: {reader.tokens} in {latex!r}"
    return value


class _Reader:
    def __init__(self, tokens, values):
        self.tokens, self.values = tokens, values

    def next(self):
        return self.tokens[0] if self.tokens else None

    def take(self, *expected):
        token = self.tokens.pop(0)
        assert not expected or token in expected, f"{token} where {expected} should be"
        return token

    def sum(self):
        negative = self.next() == "-" and self.take()
        total = -self.product() if negative else self.product()
        while self.next() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self):
        total = self.power()
        while self.next() in (r"\cdot", r"\,"):
            self.take()
            total = total * self.power()
        return total

    def power(self):
        base = self.atom()
        if self.next() != "^":
            return base
        self.take()
        exponent = self.braces()
        assert self.next() != "^", "double superscript"
        return base**exponent

    def braces(self):
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def atom(self):
        token = self.take()
        if token[0].isdigit():
            return mpmath.mpf(token)
        if token == r"\left(":
            value = self.sum()
            self.take(r"\right)")
            return value
        if token == r"\left|":
            value = abs(self.sum())
            self.take(r"\right|")
            return value
        if token == r"\frac":
            return self.braces() / self.braces()
        if token == r"\sqrt":
            return mpmath.sqrt(self.braces())
        if token in FUNCTIONS:
            self.take(r"\left(")
            args = [self.sum()]
            while self.next() == ",":
                self.take()
                args.append(self.sum())
            self.take(r"\right)")
            return FUNCTIONS[token](*args)
        return self.values[token]
