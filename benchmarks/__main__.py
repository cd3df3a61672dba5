"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, playback, room, slices, sweeps, trajectories, watch

for benchmark in (trajectories, slices, sweeps, watch, latency, playback, room):
    benchmark.main()
    print()
