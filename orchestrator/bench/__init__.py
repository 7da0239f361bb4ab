"""`yates bench`: a few steps of each stage of a grid on the machine at hand, beside what a plan says of them.

`shortening` makes recipes short and leaves their shapes, `chain` picks the stages, `measurement` runs one in this
process, `report` has the figures and prints them. docs/bench.md says how to read them.
"""
