"""The pages, one module each: views that read a snapshot, call the library and show a template."""

from importlib import import_module

MODULES = ("today", "offers", "recommendations", "why")

for module in MODULES:
    import_module(f"{__name__}.{module}")
