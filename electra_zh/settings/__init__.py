"""Settings: declared once as dataclass fields, filled from recipes, flags and `key=value` words."""

from electra_zh.settings.coercion import build_settings
from electra_zh.settings.command_line import parse_overrides
from electra_zh.settings.declaration import Settings, declared, setting
from electra_zh.settings.recipes import load_recipe, own_keys, recipe_names
from electra_zh.settings.resolution import COMMAND_LINE, Layer, Resolved, flat, place, resolve

__all__ = [
    "COMMAND_LINE",
    "Layer",
    "Resolved",
    "Settings",
    "build_settings",
    "declared",
    "flat",
    "load_recipe",
    "own_keys",
    "parse_overrides",
    "place",
    "recipe_names",
    "resolve",
    "setting",
]
