"""The pages, one module each: views that read a snapshot, call the library and show a template."""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
