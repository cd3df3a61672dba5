"""`python -m ravine`, where the folder of scripts is not on the path."""

import sys

from ravine.cli import main

sys.exit(main())
