"""A network and a training that fit the data to begin with, each choice with its reason: ``sc.recipe(x, y)``.

Of the core it uses public names, and what checks samples. Begin with ``rules.py``, which chooses; ``look.py`` reads off
the data what it chooses by, ``result.py`` is what a user gets.
"""

from spikecore.recipes.look import Facts as Facts
from spikecore.recipes.look import look as look
from spikecore.recipes.result import Recipe as Recipe
from spikecore.recipes.result import of_facts as of_facts
from spikecore.recipes.result import recipe as recipe
from spikecore.recipes.rules import Choice as Choice
