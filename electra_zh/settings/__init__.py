"""Settings: declared once as dataclass fields, filled from recipes, flags and `key=value` words."""

from electra_zh.settings.build import build_settings, parse_overrides
from electra_zh.settings.declaration import Declaration, Setting, Settings, declared, setting
from electra_zh.settings.recipes import load_recipe, recipe_names

__all__ = [
    "Declaration",
    "Setting",
    "Settings",
    "build_settings",
    "declared",
    "load_recipe",
    "parse_overrides",
    "recipe_names",
    "setting",
]
