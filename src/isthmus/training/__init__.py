"""The engine: one loop, the step it runs, the data it reads, what happens between epochs."""
