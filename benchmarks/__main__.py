"""`python -m benchmarks`: every benchmark, one after the other, each with a small table."""

from benchmarks import classroom, latency, playback, room, slices, sweeps, trajectories, watch

for benchmark in (trajectories, slices, sweeps, watch, latency, playback, room):
    benchmark.main()
    print()
classroom.main(["--minutes", "1"])  # ten each are for whoever has the time
