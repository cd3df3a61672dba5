"""The doors where something of others comes in."""

from tests.fuzz.formulas import FORMULAS
from tests.fuzz.links import LINKS
from tests.fuzz.logs import LOGS
from tests.fuzz.points import POINTS
from tests.fuzz.results import RESULTS

DOORS = {one.name: one for one in (LINKS, FORMULAS, RESULTS, POINTS, LOGS)}
