"""A function and its options as a typed, overridable piece of a config."""

import dataclasses
import difflib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

_EMPTY = inspect.Parameter.empty


class Component:
    """Base of the dataclasses `component` makes: a target function and its keyword options as fields."""

    _target: ClassVar[str]  # an option may be called target

    def build(self, **runtime: Any) -> Any:
        """Calls the target with this component's options, nested components built first.

        Args:
          **runtime: Arguments known only at run time (the number of classes, say): those of the target's
            parameters that have no default and were not given to `component`.

        Raises:
          OptionError: If a nested component's target refuses its options; names the field.
          ValueError: If this one's does.
        """
        return resolve(self._target)(**options_of(self), **runtime)


def target_of(made: Component) -> str:
    """The function a component calls, as `module:name`."""
    return made._target


def options_of(made: Component) -> dict[str, Any]:
    """The arguments of a component's target that are known to it, nested components built."""
    names = [field.name for field in dataclasses.fields(made)]  # type: ignore[arg-type]
    options = {}
    for name in names:
        with within(name):
            options[name] = built(getattr(made, name))
    return options


class OptionError(ValueError):
    """A refused option; the message begins with its component's place in the config."""


@contextmanager
def within(field: str) -> Iterator[None]:
    """Lets a refusal say which field holds what is built inside the context: "model.weights: ...".

    Raises:
      OptionError: For any ValueError.
    """
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{field}.{error}") from error
    except ValueError as error:
        raise OptionError(f"{field}: {error}") from error


def component(target: Callable[..., Any], /, **options: Any) -> Any:
    """Describes a call of `target` as a mutable dataclass instance, one typed field per option.

    Parameters of `target` without a default, if not given here, are no options: they are supplied to `build`.

        model = component(models.resnet20, weights=component(binarizers.siman, code_rule="half"))
        model.weights.code_rule = "angle"           # or --config.model.weights.code_rule angle
        net = model.build(num_classes=10)

    Args:
      target: A module-level function or class.
      **options: Values other than the target's defaults; may be components themselves.

    Raises:
      TypeError: For an option that `target` does not have; names the nearest.
    """
    name = f"{target.__module__}:{target.__qualname__}"
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(inspect.unwrap(target))
    fields: list[Any] = []
    for key, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is _EMPTY and key not in options:
            continue
        value = options.get(key, parameter.default)
        kind = _declared(hints.get(key, type(value)), value)
        fields.append((key, kind, dataclasses.field(kw_only=True, **_default(value))))
    known = [field[0] for field in fields]
    for key in options:
        if key not in known:
            raise TypeError(f"{name} has no option {key!r}{nearest(key, known)}; its options: {', '.join(known)}")
    cls = dataclasses.make_dataclass(target.__name__, fields, bases=(Component,), namespace={"_target": name})
    return cls()


def _declared(hint: Any, value: Any) -> Any:
    """The type of a field: as annotated, but for components, and of several types (None aside) that of the value."""
    several = len([kind for kind in typing.get_args(hint) if kind is not type(None)]) > 1
    ambiguous = several and typing.get_origin(hint) in (typing.Union, types.UnionType)
    # Command lines give values of one type.
    return type(value) if isinstance(value, Component) or ambiguous else hint


def _default(value: Any) -> dict[str, Any]:
    # Dataclasses refuse unhashable defaults, components among them.
    return {"default_factory": lambda: value} if type(value).__hash__ is None else {"default": value}


def built(value: Any) -> Any:
    """Builds `value` where it is a component, and the components inside a list or tuple."""
    if isinstance(value, Component):
        return value.build()
    if isinstance(value, list | tuple):
        return type(value)(built(item) for item in value)
    return value


def resolve(target: str) -> Callable[..., Any]:
    """The function a component's `module:name` stands for.

    Raises:
      ValueError: If there is no such function.
    """
    module, _, qualname = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            # `import_module` is not shadowed by a function which bears its module's name.
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"config names {target!r}, which this installation does not have: {error}") from error
    return found


def nearest(name: str, known: list[str], cutoff: float = 0.5, shown: dict[str, str] | None = None) -> str:
    """` (did you mean 'x'?)` for the nearest of the known names (as `shown` spells it), or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f" (did you mean {(shown or {}).get(close[0], close[0])!r}?)" if close else ""
