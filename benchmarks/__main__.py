"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, playback, room, trajectories, watch

for benchmark in (trajectories, watch, latency, playback, room):
    benchmark.main()
    print()
