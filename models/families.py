"""Finds the families of networks: importing a module of the zoo registers its networks."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from edgeconv.models import registry


def find_families(package: ModuleType) -> tuple[ModuleType, ...]:
    """Import the modules that lie directly in ``package``; return those that register networks."""
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
        if not module.ispkg
    ]
    registering = registry.registering_modules()
    return tuple(module for module in modules if module.__name__ in registering)
