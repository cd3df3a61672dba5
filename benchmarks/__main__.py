"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, playback, room, sweeps, trajectories, watch

for benchmark in (trajectories, sweeps, watch, latency, playback, room):
    benchmark.main()
    print()
