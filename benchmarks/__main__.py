"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, playback, room, trajectories

for benchmark in (trajectories, latency, playback, room):
    benchmark.main()
    print()
