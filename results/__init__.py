"""The Parquet results store: what every experiment produced, as pandas frames.

`results.load("runs")` is one row per experiment; `metrics`, `curves`, `samples`, `attempts` and
`experiments` are the tidy tables beside it. Importing this package is cheap: pandas and pyarrow are
imported by the first call that needs them.
"""
