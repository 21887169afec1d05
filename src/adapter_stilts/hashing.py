"""What identifies content: the SHA-256 of files, texts, what JSON can write, and code."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import re
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str, digits: int = 64) -> str:
    """The first hex digits of the SHA-256 of a text as UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def json_digest(value: Any) -> str:
    """The SHA-256 of anything that JSON can write; the order of an object's keys does not count."""
    written = json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(written.encode()).hexdigest()


_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve())
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def package_digest(*packages: str) -> str:
    """A hash of the source files of packages, or of single modules; to be asked when imported.

    A process goes on with the code that it imported, whatever is edited meanwhile.
    """
    found = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        for path in sorted(origin.parent.glob("*.py")) if spec.parent == package else [origin]:
            found.update(f"{package}/{path.name}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def code_digest(function: Callable[..., Any]) -> str:
    """A hash of a function and of all that it uses: helpers, constants, what a closure holds.

    It is taken of the code as Python runs it, so a function typed into an interpreter has one,
    too. Of the standard library and of other installed packages only the names count.
    """
    return _Walk(function).digest


def source_digest(function: Callable[..., Any]) -> str:
    """As `code_digest`, but of what is written, so that it is the same in every Python.

    Compiled code differs from one Python to the next. Comments, docstrings and layout do not count.
    A file that is edited after it was imported gives the digest of what it says now, so this is
    nothing for a cache that outlives an edit.
    """
    return _SourceWalk(function).digest


class _Walk:
    """Goes through all that a function uses; everything is met once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        module = getattr(function, "__module__", None) or ""
        self._own = {__name__.partition(".")[0], module.partition(".")[0], "__main__"}
        self._seen: dict[int, Any] = {}
        self._modules: set[str] = set()
        found = hashlib.sha256()
        for part in self.parts(function):
            found.update(part.encode("utf-8", "surrogatepass"))
            found.update(b"\0")
        self.digest = found.hexdigest()

    def parts(self, value: Any) -> Iterator[str]:
        """All that decides what the value does, as texts."""
        if value is None or isinstance(value, (str, bytes, bool, int, float, complex)):
            yield f"{type(value).__name__} {value!r}"
            return
        # Equal constants may or may not be one object: these are gone through each time.
        if not isinstance(value, (tuple, frozenset)):
            if id(value) in self._seen:
                yield "again"
                return
            self._seen[id(value)] = value  # kept, so that no other object gets its number
        yield type(value).__qualname__
        yield from self._inside(value)

    def _inside(self, value: Any) -> Iterator[str]:
        if isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, CodeType):
            yield value.co_code.hex() + value.co_exceptiontable.hex()
            yield f"{value.co_names} {value.co_varnames} {value.co_freevars} {value.co_flags}"
            yield from self._each(value.co_consts)
        elif isinstance(value, MethodType):
            yield from self._each((value.__func__, value.__self__))
        elif isinstance(value, (staticmethod, classmethod)):
            yield from self.parts(value.__func__)
        elif isinstance(value, property):
            yield from self._each((value.fget, value.fset))
        elif isinstance(value, functools.partial):
            yield from self._each((value.func, value.args, value.keywords))
        elif isinstance(value, re.Pattern):
            yield f"{value.pattern!r} {value.flags}"
        elif isinstance(value, ModuleType):
            yield value.__name__
        else:
            yield from self._data(value)

    def _data(self, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            yield from self._each(part for item in value.items() for part in item)
        elif isinstance(value, (set, frozenset)):
            yield from self._each(sorted(value, key=repr))
        elif isinstance(value, (list, tuple)):
            yield str(len(value))
            yield from self._each(value)
        else:
            yield from self._object(value)

    def _each(self, values: Iterable[Any]) -> Iterator[str]:
        for value in values:
            yield from self.parts(value)

    def _function(self, function: FunctionType) -> Iterator[str]:
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            yield from self.parts(wrapped)
        if self._is_elsewhere(function.__module__, function.__code__.co_filename):
            yield f"{function.__module__}.{function.__qualname__}"
            return
        yield from self._written(function)
        yield from self._each((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            yield from self._cell(cell)
        names = dict.fromkeys(sorted(set(_names(function.__code__))))
        for name in names:
            if name in function.__globals__:
                yield name
                yield from self._used(function.__globals__[name], names)

    def _written(self, function: FunctionType) -> Iterator[str]:
        """What a function says."""
        yield from self.parts(function.__code__)

    def _cell(self, cell: Any) -> Iterator[str]:
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            return
        yield from self.parts(value)

    def _used(self, value: Any, names: Mapping[str, None]) -> Iterator[str]:
        """A global value; of a module of ours or the user's, what the function may read of it."""
        if not isinstance(value, ModuleType):
            yield from self.parts(value)
            return
        yield f"module {value.__name__}"
        if self._is_elsewhere(value.__name__, getattr(value, "__file__", None) or ""):
            return
        for name in names:
            # Another function may read another part of a module, but each part is met once.
            if hasattr(value, name) and f"{value.__name__}.{name}" not in self._modules:
                self._modules.add(f"{value.__name__}.{name}")
                yield name
                yield from self._used(getattr(value, name), names)

    def _object(self, value: Any) -> Iterator[str]:
        """A class with its methods, an object with its attributes, or what it shows of itself."""
        kind = value if isinstance(value, type) else type(value)
        yield f"{kind.__module__}.{kind.__qualname__}"
        place = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
        if not self._is_elsewhere(kind.__module__, place):
            yield from self._each(
                part
                for name, member in vars(kind).items()
                if not name.startswith("__") or isinstance(member, FunctionType)
                for part in (name, member)
            )
        if value is kind:
            return
        if state := getattr(value, "__dict__", None):
            yield from self.parts(state)
        else:
            yield re.sub(r" at 0x[0-9a-f]+", "", repr(value))

    def _is_elsewhere(self, module: str | None, file: str) -> bool:
        """Whether it is of the standard library, or of an installed package not concerned."""
        if file.startswith("<") and not file.startswith("<frozen"):
            return False  # typed into an interpreter
        top = (module or "").partition(".")[0]
        if top in self._own:
            return False
        if top in sys.stdlib_module_names or not file:
            return True
        return str(Path(file).resolve()).startswith(_LIBRARIES)


class _SourceWalk(_Walk):
    """Reads functions as they are written."""

    def _written(self, function: FunctionType) -> Iterator[str]:
        try:
            lines = inspect.getsource(function)
            tree = ast.parse(textwrap.dedent(lines))
        except (OSError, SyntaxError):  # typed into an interpreter, or a part of a longer line
            yield from super()._written(function)
            return
        yield from _shape(tree)


def _shape(node: Any) -> Iterator[str]:
    """A syntax tree without what differs between Pythons: empty fields, kinds of literals."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                yield name
                yield from _shape(value)
    elif isinstance(node, list):
        yield str(len(node))
        for each in node:
            is_text = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
            if not is_text:  # a docstring
                yield from _shape(each)
    else:
        yield repr(node)


def _names(code: CodeType) -> Iterator[str]:
    """The global names and attributes that a function reads, and those of functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
