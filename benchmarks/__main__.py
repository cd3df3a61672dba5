"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import latency, trajectories

for benchmark in (trajectories, latency):
    benchmark.main()
    print()
