"""Every public name of cnnjax has an entry in the API reference: a name without one is a warning, an error under -W."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any

# The homes of names that `import cnnjax` gives, and a module that only pytest imports.
BESIDE_ALL = ("cnnjax.gradients.pytest_plugin", "cnnjax.operator.explanation", "cnnjax.operator.tuning")


def setup(app: Any) -> dict[str, bool]:
    """Check the environment once all pages are read."""
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _check(app: Any, env: Any) -> None:
    from sphinx.util import logging

    documented = env.get_domain("py").objects
    for name in undocumented(public_names(), documented):
        logging.getLogger(__name__).warning("the public name %s is not in the API reference (docs/api)", name)


def public_modules() -> dict[str, types.ModuleType]:
    """The modules that `__all__` leads to from cnnjax, and those of BESIDE_ALL."""
    found: dict[str, types.ModuleType] = {}
    waiting = [importlib.import_module(name) for name in ("cnnjax", *BESIDE_ALL)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            values = (getattr(module, name) for name in getattr(module, "__all__", ()))
            waiting += [value for value in values if isinstance(value, types.ModuleType)]
    return found


def public_names() -> dict[str, Any]:
    """Every name in the `__all__` of a public module, in full, with its value; and the modules themselves."""
    modules = public_modules()
    names: dict[str, Any] = dict(modules)
    for module_name, module in modules.items():
        names |= {f"{module_name}.{name}": getattr(module, name) for name in getattr(module, "__all__", ())}
    return names


def undocumented(public: Mapping[str, Any], documented: Iterable[str]) -> list[str]:
    """The public names whose value has no entry under this name or another public one, or has no docstring.

    >>> undocumented({"a.f": len, "b.f": len, "b.g": max}, {"a.f"})
    ['b.g']
    """
    documented = set(documented)
    entries = {id(value) for name, value in public.items() if name in documented}
    return sorted(name for name, value in public.items() if id(value) not in entries or not _has_words(value))


def _has_words(value: Any) -> bool:
    is_code = inspect.isroutine(value) or isinstance(value, type | types.ModuleType)
    return bool(inspect.getdoc(value)) if is_code else True
