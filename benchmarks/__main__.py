"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, playback, trajectories

for benchmark in (trajectories, latency, playback):
    benchmark.main()
    print()
