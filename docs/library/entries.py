"""The reference of the library, as reStructuredText, from the source: a row for each public name.

A line `.. public:: Machine Order()` of a page stands for the entries of these names; () says that
programs make such objects themselves, so that the entry has the arguments.

Sphinx's autodoc is not used. It writes out what Python gives to every class, such as "Alias for
field number 0", and defaults such as `<function <lambda>>`, in each release in another way.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["PACKAGE", "entry", "expanded", "homes"]

PACKAGE: Final = Path(__file__).resolve().parents[2] / "common/memory_hotplug"

_DIRECTIVE: Final = re.compile(r"^\.\. public:: (.*)$", re.MULTILINE)


def expanded(page: str, role: str = "") -> str:
    """PAGE with the entries of the names in place of its lines `.. public::`.

    `Name` in a docstring gets the ROLE, such as ":py:obj:"; without one it becomes ``Name``.
    """
    return _DIRECTIVE.sub(
        lambda found: "\n".join(entry(name, role) for name in found[1].split()), page
    )


@cache
def _module(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def homes() -> dict[str, Path]:
    """Public name -> the file that it is in."""
    imports = (
        node
        for node in ast.walk(_module(PACKAGE / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("memory_hotplug.")
    )
    return {
        alias.name: PACKAGE.parent / ((node.module or "").replace(".", "/") + ".py")
        for node in imports
        for alias in node.names
    }


class Class(NamedTuple):
    path: Path
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return self.node.name


def _bases(found: Class) -> Iterator[Class | str]:
    """The bases of a class: those of the library, and the names of others."""
    for base in found.node.bases:
        module, _, name = ast.unparse(base).rpartition(".")
        path = _imported(found.path).get(module or name, found.path)
        yield _class_in(path, name) or ast.unparse(base)


@cache
def _imported(path: Path) -> dict[str, Path]:
    """Name -> the file of the library that it is imported from, or that it is."""
    found = {}
    for node in _module(path).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            home = PACKAGE.parent / node.module.replace(".", "/")
            for alias in node.names:
                inner = home / f"{alias.name}.py"
                found[alias.asname or alias.name] = (
                    inner if inner.exists() else home.with_suffix(".py")
                )
    return {name: file for name, file in found.items() if file.exists()}


def _class_in(path: Path, name: str) -> Class | None:
    for node in _module(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return Class(path, node)
    return None


class Row(NamedTuple):
    """An entry, or what belongs to one."""

    kind: str
    """The directive of Sphinx's domain of Python."""
    heading: str
    options: tuple[str, ...]
    text: str


def entry(called: str, role: str) -> str:
    """The entry of a public name, which may end with ()."""
    name = called.removesuffix("()")
    path = homes()[name]
    if found := _class_in(path, name):
        return _written([_class(found, made=called != name), *_members(found)], role)
    for node, text in _documented(_module(path).body):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _written([_function(node, "py:function")], role)
        if name in _assigned(node):
            return _written([_data(node, name, text, "py:data")], role)
    raise LookupError(name)


def _documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement with the string after it."""
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        match after:
            case ast.Expr(ast.Constant(str() as text)):
                yield node, text
            case _:
                yield node, ""


def _assigned(node: ast.stmt) -> list[str]:
    match node:
        case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
            return [name]
    return []


# Classes


def _is(found: Class, name: str) -> bool:
    """Whether a class is NAME, or made from it."""
    return name == found.name or any(
        _is(base, name) if isinstance(base, Class) else base == name for base in _bases(found)
    )


def _is_record(found: Class) -> bool:
    return _is(found, "NamedTuple") or any(
        ast.unparse(one).startswith("dataclass") for one in found.node.decorator_list
    )


def _class(found: Class, *, made: bool) -> Row:
    text = ast.get_docstring(found.node) or ""
    if _is(found, "MemoryHotplugError"):
        names = (base.name if isinstance(base, Class) else base for base in _bases(found))
        others = [name for name in names if name not in ("MemoryHotplugError", "Exception")]
        if others:
            text += f"\n\nIt is also {' and '.join(map(_with_article, others))}."
        return Row("py:exception", found.name, (), text)
    return Row("py:class", found.name + (_constructor(found) if made else ""), (), text)


def _with_article(name: str) -> str:
    return f"an `{name}`" if name[0] in "AEIOU" else f"a `{name}`"


def _constructor(found: Class) -> str:
    if _is_record(found):
        # Their types and meanings follow below.
        fields = [one for one in _body(found) if isinstance(one, ast.AnnAssign)]
        shown = (
            ast.unparse(one.target) + (f"={_default(one.value)}" if one.value else "")
            for one in fields
        )
        return f"({', '.join(shown)})"
    for one in _body(found):
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return _arguments(one)
    return "()"


def _body(found: Class) -> list[ast.stmt]:
    """What a class is made of. A base of the same name, but for an underscore, is the same class
    for whoever uses it."""
    bases = (base for base in _bases(found) if isinstance(base, Class))
    same = [base for base in bases if base.name.removeprefix("_") == found.name]
    return [one for base in same for one in _body(base)] + found.node.body


def _members(found: Class) -> Iterator[Row]:
    """The rows of what a class has itself, in the order of its source, without what its text calls
    not public."""
    for row in _all_members(found):
        if not row.text.startswith("Not public:"):
            yield row


def _all_members(found: Class) -> Iterator[Row]:
    for one, text in _documented(_body(found)):
        match one:
            case ast.FunctionDef(name="__init__"):
                yield from _set_in(one, _is(found, "MemoryHotplugError"))
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                yield _method(one)
            case _:
                for name in _assigned(one):
                    if not name.startswith("_"):
                        yield _data(one, name, text, "py:attribute")


def _set_in(init: ast.FunctionDef, each: bool) -> Iterator[Row]:
    """The attributes that a constructor sets; EACH, or those that a string explains."""
    given = {argument.arg: argument.annotation for argument in _all_arguments(init.args)}
    for one, text in _documented(init.body):
        match one:
            case ast.Assign(targets=[ast.Attribute(ast.Name("self"), name)], value=value):
                annotation = given.get(value.id) if isinstance(value, ast.Name) else None
            case ast.AnnAssign(target=ast.Attribute(ast.Name("self"), name), annotation=annotation):
                pass
            case _:
                continue
        if not name.startswith("_") and name != "args" and (each or text):
            yield Row("py:attribute", name, _typed(annotation), text)


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    return arguments.posonlyargs + arguments.args + arguments.kwonlyargs


class _Plainly(ast.NodeTransformer):
    """An annotation without the quotes, and the modules, that only the source needs."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:  # the name that ast asks for
        return node if ast.unparse(node.value) == "Literal" else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)  # type: ignore[no-any-return]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        private = isinstance(node.value, ast.Name) and node.value.id.startswith("_")
        return ast.Name(node.attr) if private else node


def _type(annotation: ast.expr | None) -> str:
    if annotation is None:
        return ""
    copied = ast.parse(ast.unparse(annotation), mode="eval").body
    return ast.unparse(_Plainly().visit(copied))


def _typed(annotation: ast.expr | None) -> tuple[str, ...]:
    shown = _type(annotation)
    while found := re.fullmatch(r"(?:Final|ClassVar)\[(.*)\]", shown):
        shown = found[1]
    return () if shown in ("", "Any", "Final") else (f":type: {shown}",)


def _data(node: ast.stmt, name: str, text: str, kind: str) -> Row:
    assert isinstance(node, ast.Assign | ast.AnnAssign)
    options = _typed(node.annotation) if isinstance(node, ast.AnnAssign) else ()
    value = node.value and _default(node.value)
    if value not in (None, "..."):
        options += (f":value: {value}",)
    return Row(kind, name, options, text)


# Functions


def _decorated(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}


def _method(node: ast.FunctionDef) -> Row:
    decorators = _decorated(node)
    if decorators & {"property", "cached_property"}:
        text = ast.get_docstring(node) or ""
        return Row("py:attribute", node.name, _typed(node.returns), text)
    kinds = tuple(f":{one}:" for one in ("classmethod", "staticmethod") if one in decorators)
    return _function(node, "py:method", kinds)


def _function(node: ast.FunctionDef, kind: str, options: tuple[str, ...] = ()) -> Row:
    returned = _type(node.returns) or "None"
    if "contextmanager" in _decorated(node):
        returned = re.sub(r"^\w+(?=\[)", "AbstractContextManager", returned)
    heading = f"{node.name}{_arguments(node)} -> {returned}"
    return Row(kind, heading, options, ast.get_docstring(node) or "")


def _arguments(node: ast.FunctionDef) -> str:
    """The arguments of a function as its source has them, without self."""
    arguments = ast.parse(ast.unparse(node)).body[0].args  # type: ignore[attr-defined]  # a copy
    for places in (arguments.posonlyargs, arguments.args):
        if places and places[0].arg in ("self", "cls"):
            del places[0]
    for one in ast.walk(arguments):
        if isinstance(one, ast.arg) and one.annotation:
            one.annotation = ast.Name(_type(one.annotation))
    for defaults in (arguments.defaults, arguments.kw_defaults):
        defaults[:] = [one and ast.Name(_default(one)) for one in defaults]
    return f"({ast.unparse(arguments)})"


def _default(value: ast.expr) -> str:
    """A default as the source has it, or "..." if names in it are not public."""
    named = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    inner = any(isinstance(node, ast.Lambda | ast.Call) for node in ast.walk(value))
    return "..." if inner or named - {*homes(), "errno"} else ast.unparse(value)


# Writing


def _written(rows: list[Row], role: str) -> str:
    """The first row, and the others below it."""
    lines: list[str] = []
    for place, row in enumerate(rows):
        margin = "   " if place else ""
        lines += ["", f"{margin}.. {row.kind}:: {row.heading}"]
        # What is indexed is a link; in a man page, its address would stand beside it.
        options = row.options if role else (":no-index:", *row.options)
        lines += [f"{margin}   {option}" for option in options]
        text = _marked(row.text, role)
        lines += [
            "",
            *(f"{margin}   {line}".rstrip() for line in inspect.cleandoc(text).splitlines()),
        ]
    return "\n".join([*lines, ""])


def _marked(text: str, role: str) -> str:
    """`Name` is a name, as in Markdown."""
    ticks = "`" if role else "``"
    named = re.sub(r"(?<!`)`([^`]+)`(?!`)", rf"{role}{ticks}\1{ticks}", text)
    return re.sub(r"`(?=s\b)", r"`\\ ", named)
