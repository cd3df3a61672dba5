"""What is known beforehand of the pages in this folder."""

DELAY = 0.6  # seconds that a slow page takes to its picture
EVERY = 0.1  # seconds between two looks of a page that waits for its turn
PLACES = 3  # looks that it waits for
RUNS = 5  # looks that the computation then takes
EACH = 10.0  # seconds that a place is said to take
SAID = 2.0  # and the computation
