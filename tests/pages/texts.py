"""Which expressions in a page may become Markdown, read from its syntax tree.

Streamlit takes the first argument, the help and so on of most of its calls for Markdown. What may be put there is text in
the source itself, and what `pages._text` has made safe: all else may come from a link, a file, a log or a model.
"""

import ast

# What Streamlit draws as Markdown or HTML: of each call, the arguments by place and by name.
_LABEL = (0, "label")
_MARKDOWN = {
    "markdown": (0, "body"), "caption": (0, "body"), "title": (0, "body"), "header": (0, "body"), "subheader": (0, "body"),
    "error": (0, "body"), "warning": (0, "body"), "info": (0, "body"), "success": (0, "body"), "toast": (0, "body"),
    "html": (0, "body"), "latex": (0, "body"), "write": (0, "args"), "badge": _LABEL, "metric": (0, 1, 2, "label", "value", "delta"),
    "progress": (1, "text"), "spinner": (0, "text"), "status": _LABEL, "expander": _LABEL, "popover": _LABEL,
    "button": _LABEL, "download_button": _LABEL, "link_button": _LABEL, "page_link": ("label",), "form_submit_button": _LABEL,
    "toggle": _LABEL, "checkbox": _LABEL, "radio": (0, "label", "captions", "format_func"), "pills": (0, "label", "format_func"),
    "segmented_control": (0, "label", "format_func"), "selectbox": _LABEL, "multiselect": _LABEL, "slider": _LABEL,
    "select_slider": _LABEL, "number_input": _LABEL, "text_input": _LABEL, "text_area": _LABEL, "file_uploader": _LABEL,
    "date_input": _LABEL, "time_input": _LABEL, "color_picker": _LABEL, "chat_input": (0, "placeholder"), "menu_button": _LABEL,
    "tabs": (0, "tabs"), "dialog": (0, "title"), "feedback": (), "image": (1, "caption"), "exception": (0, "exception"),
    "audio_input": _LABEL, "camera_input": _LABEL, "data_editor": (0,), "table": (0,),
}  # fmt: skip
_EVERYWHERE = ("help", "icon")
# Calls that give what may be shown, and where they are imported from.
SAFE = dict.fromkeys(("plain", "code", "ours", "linked", "image", "color", "quoted"), "pages._text") | {
    "number": "ravine.picture",  # digits
    "spoken": "ravine.words",  # what a declared setting is called
}
_NUMERIC = tuple("dfgGeExXob%,n")  # formats that take no text


def declared(tree):
    """The functions of a module that take Markdown, as name -> the arguments which are, and those that return it."""
    takes, gives = {}, set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            every = enumerate([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
            found = [(place, one.arg) for place, one in every if _is_markdown(one.annotation)]
            if found:
                takes[node.name] = tuple(part for one in found for part in one)
            if _is_markdown(node.returns):
                gives.add(node.name)
    return takes, gives


def _is_markdown(annotation):
    return annotation is not None and ast.unparse(annotation) == "Markdown"


class Texts(ast.NodeVisitor):
    """Collects in `wrong` the places of a module where something else than literals and safe text is shown."""

    def __init__(self, name, tree, takes=None, gives=()):
        self.name, self.wrong, self.seen = name, [], 0
        self._takes = takes or {}
        came = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        self._safe = {one for one, origin in came.items() if origin == (SAFE.get(one), one)} | set(gives)
        self._scopes, self._called = [tree], set()
        self.visit(tree)

    def visit_FunctionDef(self, node):
        self._scopes.append(node)
        self.generic_visit(node)
        if _is_markdown(node.returns):
            for one in ast.walk(node):
                if isinstance(one, ast.Return) and one.value is not None:
                    self._check(node.name, one.value)
        self._scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute) and self._of_streamlit(node.func):
            self._called.add(node.func)
            taken, always = _MARKDOWN[node.func.attr], _EVERYWHERE
        elif isinstance(node.func, ast.Name) and node.func.id in self._takes:
            taken, always = self._takes[node.func.id], ()
        else:
            taken = None
        if taken is not None:
            called = ast.unparse(node.func)
            for place, one in enumerate(node.args):
                if place in taken or isinstance(one, ast.Starred):
                    self._check(called, one)
            for one in node.keywords:
                if one.arg in taken or one.arg in always or one.arg is None:
                    self._check(called, one.value)
        self.generic_visit(node)

    def visit_Attribute(self, node):
        """A call of Streamlit's under another name would escape us."""
        if (
            node not in self._called
            and isinstance(node.value, ast.Name)
            and node.value.id == "st"
            and node.attr in _MARKDOWN
        ):
            self.wrong.append(f"{self.name}:{node.lineno}: {ast.unparse(node)} is handed on")
        self.generic_visit(node)

    def _check(self, called, given):
        self.seen += 1
        if not self.fits(given):
            self.wrong.append(f"{self.name}:{given.lineno}: {called}({ast.unparse(given)})")

    def _of_streamlit(self, func):
        """Not the methods of the same name of texts, settings and other objects of ours."""
        if func.attr in ("title", "write", "table", "image", "status", "html"):
            return isinstance(func.value, ast.Name) and func.value.id == "st"
        return func.attr in _MARKDOWN

    def fits(self, node, names=()):
        """Can nothing but a literal or safe text come of this expression?"""
        fits = lambda one: self.fits(one, names)  # noqa: E731
        match node:
            case ast.Constant():
                return True
            case ast.JoinedStr(values=values):
                return all(map(fits, values))
            case ast.FormattedValue(value=value, format_spec=spec, conversion=-1):
                return fits(value) or (spec is not None and ast.unparse(spec)[2:-1].endswith(_NUMERIC))
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return fits(left) and fits(right)
            case ast.BinOp(op=ast.Mult(), left=ast.Constant(), right=ast.Constant()):
                return True
            case ast.Name(id="number"):  # as a format
                return "number" in self._safe
            case ast.IfExp(body=body, orelse=orelse):
                return fits(body) and fits(orelse)
            case ast.BoolOp(values=values):
                return all(map(fits, values))
            case ast.Lambda(body=body) | ast.Starred(value=body) | ast.NamedExpr(value=body):
                return fits(body)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return all(map(fits, elements))
            case ast.Dict(values=values):
                return all(map(fits, values))
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return fits(element)
            case ast.Subscript(value=ast.Dict() as table):
                return fits(table)
            case ast.Subscript(value=ast.Name() as table):
                return fits(table)
            case ast.Call(func=ast.Attribute(attr="join", value=glue), args=[parts]):
                return fits(glue) and fits(parts)
            case ast.Call(func=ast.Name(id=called)):
                return called in self._safe
            case ast.Call(func=ast.Attribute(attr="replace", value=value), args=parts):
                return fits(value) and all(map(fits, parts))
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str() as file)):
                return file.endswith(".css")  # a file of ours
            case ast.Name(id=name):
                return name not in names and self._bound(name, (*names, name))
        return False

    def _bound(self, name, names):
        """Is a name, in the innermost scope that binds it, bound to nothing but what fits?"""
        for scope in reversed(self._scopes):
            if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
                every = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
                for one in every:
                    if one.arg == name:
                        return _is_markdown(one.annotation)
            values = list(self._values(scope, name))
            if values:
                return all(one is not None and self.fits(one, names) for one in values)
        return False

    def _values(self, scope, name):
        """What a scope binds to a name; None for what is not followed: of a loop, an import, a `with`, a pattern."""
        stack = list(scope.body)
        while stack:
            node = stack.pop()
            match node:
                case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
                    if bound == name:
                        yield None
                    continue
                case ast.Lambda() | ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                    continue
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        yield from self._assigned(target, value, name)
                    stack.append(value)
                    continue
                case ast.AnnAssign(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                    continue
                case ast.For(target=target, iter=iterated):
                    yield from self._iterated(target, iterated, name)
                    stack.extend([*node.body, *node.orelse])
                    continue
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=bound), attr="append" | "insert" | "extend"), args=values
                ) if bound == name:
                    yield from values
                case ast.AugAssign(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                    continue
                case ast.NamedExpr(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                    continue
                case ast.Name(id=bound, ctx=ast.Store()) if bound == name:
                    yield None
                case ast.alias(name=full, asname=short) if (short or full.partition(".")[0]) == name:
                    yield None
                case ast.ExceptHandler(name=bound) if bound == name:
                    yield None
            stack.extend(ast.iter_child_nodes(node))

    def _iterated(self, target, iterated, name):
        """What a loop binds to a name."""
        if not any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(target)):
            return
        match target, iterated:
            case ast.Tuple(elts=targets), ast.Call(func=ast.Name(id="zip"), args=parts):
                for one, part in zip(targets, parts, strict=True):
                    yield from self._iterated(one, part, name)
            case ast.Tuple(elts=[key, value]), ast.Call(func=ast.Attribute(attr="items", value=ast.Name(id=table))):
                for written in [one for scope in self._scopes for one in self._values(scope, table)]:
                    if not isinstance(written, ast.Dict):
                        yield from self._assigned(target, ast.Constant(None), name)
                        continue
                    for one, part in zip(written.keys, written.values, strict=True):
                        yield from self._assigned(key, one, name)
                        yield from self._assigned(value, part, name)
            case ast.Tuple(), ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    yield from (
                        self._iterated(target, part, name)
                        if isinstance(part, ast.Starred)
                        else self._assigned(target, part, name)
                    )
            case ast.Tuple(), ast.Starred(value=value):
                yield from self._iterated(target, value, name)
            case _:
                yield from self._assigned(target, iterated, name)

    def _assigned(self, target, value, name):
        match target, value:
            case ast.Name(id=bound), _:
                if bound == name:
                    yield value
            case (ast.Tuple(elts=targets), ast.Tuple(elts=values)) if len(targets) == len(values):
                for one, part in zip(targets, values, strict=True):
                    yield from self._assigned(one, part, name)
            case ast.Tuple(), ast.IfExp(body=body, orelse=orelse):
                for one in (body, orelse):
                    yield from self._assigned(target, one, name)
            case _:
                if any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(target)):
                    yield None
