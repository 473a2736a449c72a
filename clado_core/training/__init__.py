"""Train the built-in networks, reproducibly on a CPU."""

from clado_core.training.loop import TrainingResult as TrainingResult
from clado_core.training.loop import recipe_for as recipe_for
from clado_core.training.loop import save_weights as save_weights
from clado_core.training.loop import train as train
from clado_core.training.recipes import RECIPES as RECIPES
from clado_core.training.recipes import Recipe as Recipe
