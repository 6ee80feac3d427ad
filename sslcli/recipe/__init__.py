"""Recipes: TOML and `--set` to a checked `Recipe`, without torch."""

from sslcli.recipe.catalogue import Listed, find_recipe, list_recipes
from sslcli.recipe.loading import load_recipe, recipe_from_document, to_toml
from sslcli.recipe.mistakes import RecipeError
from sslcli.recipe.tables import Choice, Recipe

__all__ = [
    "Choice",
    "Listed",
    "Recipe",
    "RecipeError",
    "find_recipe",
    "list_recipes",
    "load_recipe",
    "recipe_from_document",
    "to_toml",
]
