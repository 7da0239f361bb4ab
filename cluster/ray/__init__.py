"""Ray as a backend: a driver that is a Ray job, warm actors, and searches by Ray Tune."""
