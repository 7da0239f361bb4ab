"""The analyses by name."""

from collections.abc import Callable

from workers.quantization.analyses import (
    gradient_fidelity,
    gradient_histogram,
    measured_memory,
    measured_time,
    outliers,
    output_error,
    sharpness,
)
from workers.quantization.analyses.findings import Findings
from workers.quantization.analyses.subject import Subject
from workers.specs.analyze import Analysis, AnalyzeRecipe

ANALYSES: dict[Analysis, Callable[[Subject, AnalyzeRecipe], Findings]] = {
    "sharpness": sharpness.measure,
    "outliers": outliers.measure,
    "gradient_histogram": gradient_histogram.measure,
    "output_error": output_error.measure,
    "gradient_fidelity": gradient_fidelity.measure,
    "measured_memory": measured_memory.measure,
    "measured_time": measured_time.measure,
}
"""None of them changes a weight, or anything that another one sees."""
