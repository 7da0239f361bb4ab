"""`yates bench`: a few steps of each stage of a grid on the machine at hand, beside what a plan says of them.

`shortening` makes recipes short and leaves their shapes, `chain` picks the stages, `machine` knows what is at hand,
`measurement` runs one stage, `report` has the figures, `table` prints them; `process` keeps the rest of the process out
of the way. docs/bench.md says how to read them.
"""
