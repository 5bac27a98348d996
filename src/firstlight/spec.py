"""Names with settings, written as one short call: ``simclr(temperature=0.2)``.

A folder is a registry: ``methods/simclr.py`` is the method ``simclr``. Listing reads file names and docstrings
without importing anything, so it costs nothing.
"""

import ast
import difflib
import importlib
import inspect
import reprlib
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError, unknown
from .ranges import Range

Component = TypeVar("Component")
ROOT = Path(__file__).parent
MOST = sys.float_info.max


@dataclass(frozen=True)
class Spec:
    """A component chosen by name, plus the settings that differ from its defaults."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: "str | Spec") -> "Spec":
        """Reads ``name`` or ``name(key=value, ...)``; the values are Python literals.

        Raises:
            InputError: if the text has another form.
        """
        if isinstance(text, Spec):
            return text
        try:
            node = ast.parse(text.strip(), mode="eval").body
            if isinstance(node, ast.Call) and not node.args and all(k.arg for k in node.keywords):
                given = [str(k.arg) for k in node.keywords]
                if twice := {key for key in given if given.count(key) > 1}:
                    raise InputError(f"{text!r} sets {', '.join(sorted(twice))} twice")
                for keyword in node.keywords:
                    if isinstance(keyword.value, ast.Name):
                        word = keyword.value.id
                        raise InputError(f"{text!r}: {keyword.arg}={word} is no value; text needs quotes: '{word}'")
                return cls(ast.unparse(node.func), {str(k.arg): ast.literal_eval(k.value) for k in node.keywords})
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            if "(" in text:
                raise InputError(f"expected 'name' or 'name(key=value, ...)', got {text!r}: {error}") from None
        if "(" in text or not text.strip():
            raise InputError(f"expected 'name' or 'name(key=value, ...)', got {text!r}")
        return cls(text.strip())

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"{self.name}({inside})" if inside else self.name


def names(folder: str) -> list[str]:
    """Every component of a folder of the package: a file's name is its name, a leading underscore hides it."""
    return sorted(path.stem for path in (ROOT / folder).glob("[!_]*.py"))


def summary(folder: str, name: str) -> str:
    """The first line of a component's module docstring, read without importing it."""
    tree = ast.parse((ROOT / folder / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def find(folder: str, name: str, base: type[Component]) -> type[Component]:
    """The one subclass of ``base`` that ``folder/name.py`` defines.

    Raises:
        InputError: if there is no such file; the message names the nearest ones.
    """
    if name not in names(folder):
        raise unknown(base.__name__.lower(), name, names(folder))
    module = importlib.import_module(f"firstlight.{folder.replace('/', '.')}.{name}")
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, base) and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, found {len(found)}")
    return found[0]


def settings_of(component: type) -> dict[str, inspect.Parameter]:
    """The settings of a component: its constructor's keyword parameters with a default."""
    parameters = inspect.signature(component).parameters
    return {name: p for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def check(component: type, settings: dict[str, Any], name: str) -> None:
    """Refuses unknown settings, settings of the wrong type, and numbers outside the range that their type names.

    Raises:
        InputError: naming the setting, what was given, what is allowed, and the nearest match.
    """
    allowed = settings_of(component)
    hints = _hints(component)
    for key, value in settings.items():
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            listed = ", ".join(f"{k}={p.default!r}" for k, p in allowed.items()) or "none"
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(f"{name!r} has no setting {key!r}; {meant}its settings: {listed}")
        hint = hints.get(key, Any)
        fits = _fits(value, hint)
        nearest = _nearest(value, hint) if fits else value
        if not fits or nearest != value:
            expected = f"expected {_readable(hint)}, default {allowed[key].default!r}"
            close = difflib.get_close_matches(str(value), _words(hint), n=1)
            better = f"; nearest: {nearest!r}" if fits else f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{name}({key}={_short(value)}): {expected}{better}")


def build(folder: str, text: str | Spec, base: type[Component], *given: Any, **derived: Any) -> Component:
    """Finds a component by name and constructs it.

    Args:
        folder: the folder that lists the components, such as ``"methods"``.
        text: ``name`` or ``name(key=value)``.
        base: the class that the component inherits from.
        given: positional constructor arguments, such as the encoder.
        derived: settings that the caller works out; what ``text`` says wins, and those that the component does
            not have are left out.
    """
    spec = Spec.parse(text)
    component = find(folder, spec.name, base)
    check(component, spec.settings, spec.name)
    known = settings_of(component)
    extra = {key: value for key, value in derived.items() if key in known and key not in spec.settings}
    return component(*given, **extra, **spec.settings)


def _hints(component: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(component.__init__, include_extras=True)
    except (NameError, TypeError):  # a hint that only exists while type checking
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, whatever range the type names."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin is typing.Annotated:
        return _fits(value, inside[0])
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inside)
    if origin is typing.Literal:
        return any(value == option and type(value) is type(option) for option in inside)
    if origin is tuple and isinstance(value, (tuple, list)):
        if len(inside) == 2 and inside[1] is Ellipsis:
            return all(_fits(item, inside[0]) for item in value)
        return len(value) == len(inside) and all(_fits(v, h) for v, h in zip(value, inside))
    if hint is float:  # neither NaN nor infinite, nor an integer that no float can hold
        return isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST <= value <= MOST
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None) or hint is None:
        return value is None
    plain = origin or hint
    return isinstance(value, plain) if isinstance(plain, type) else True


def _nearest(value: Any, hint: Any) -> Any:
    """The value nearest to one of this type that is in the type's range: the same, if it is."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        for limits in inside[1:]:
            value = limits.nearest(value) if isinstance(limits, Range) else value
        return value
    if origin in (typing.Union, types.UnionType):
        return _nearest(value, next(option for option in inside if _fits(value, option)))
    if origin is tuple:
        each = inside[:1] * len(value) if inside[1:] == (Ellipsis,) else inside
        return type(value)(_nearest(item, option) for item, option in zip(value, each))
    return value


def _words(hint: Any) -> list[str]:
    """The words that a type lets in."""
    inside = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return [option for option in inside if isinstance(option, str)]
    return [word for option in inside for word in _words(option)]


def _readable(hint: Any) -> str:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = [str(more) for more in inside[1:] if isinstance(more, Range)]
        return " from ".join([_readable(inside[0]), *limits])
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("None" if option is type(None) else _readable(option) for option in inside)
    if origin is tuple:
        return f"tuple[{', '.join('...' if option is Ellipsis else _readable(option) for option in inside)}]"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _short(value: Any) -> str:
    return reprlib.repr(value) if isinstance(value, int) else repr(value)
